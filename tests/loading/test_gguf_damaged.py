"""Damaged GGUF files: each refused by name, with nothing large allocated and no exception of another package."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import pytest

import intravisto_core as iv
from intravisto_core.models.files import tokenizer_limits
from intravisto_core.models.gguf import gguf as gguf_models
from intravisto_core.models.gguf import gguf_files
from intravisto_core.models.gguf import header as gguf_header
from intravisto_core.models.gguf.header import read_begun, read_header
from tests.loading.gguf_writing import of_folder

MOST_BYTES = 16 << 20


@pytest.fixture(scope="module")
def content(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A whole small file."""
    return of_folder(tiny_llama, tmp_path_factory.mktemp("whole") / "tiny.gguf").read_bytes()


def _count(number: int, at: int, wide: str = "<Q"):
    return lambda content: content[:at] + struct.pack(wide, number) + content[at + struct.calcsize(wide) :]


def _after(key: bytes, number: int, skip: int = 4, wide: str = "<Q"):
    """Puts a number behind a key and its type."""
    return lambda content: _count(number, content.index(key) + len(key) + skip, wide)(content)


def _offset(number: int):
    """Puts an offset at the end of the entry of the tensor output_norm.weight."""
    return _after(b"output_norm.weight", number, skip=4 + 8 + 4)


TOKENS = b"tokenizer.ggml.tokens"
DAMAGED = {
    "nothing in it": (lambda c: b"", "it ends at 0 bytes|beyond its end at 0"),
    "the magic alone": (lambda c: c[:4], "beyond its end"),
    "another magic": (lambda c: b"GGML" + c[4:], "begins with b'GGML'"),
    "a pickle": (lambda c: b"\x80\x02}q\x00." + c, "begins with"),
    "an old version": (_count(1, 4, "<I"), "version 1; versions 2 and 3"),
    "the other order": (lambda c: c[:4] + struct.pack(">I", 3) + c[8:], "bytes in the other order"),
    "many tensors": (_count(1 << 40, 8), "says that it has 1,099,511,627,776 tensors"),
    "many keys": (_count((1 << 64) - 1, 16), "18,446,744,073,709,551,615 keys"),
    "some keys more": (_count(60_000, 16), "beyond its end|unknown type|a text of"),
    "a long key": (_count(1 << 60, 24), "a text of"),
    "a long text": (_after(b"general.architecture", 1 << 50), "a text of"),
    "a long list": (_after(TOKENS, 1 << 61, skip=8), "elements"),
    "a longer list": (_after(TOKENS, 1 << 21, skip=8), "beyond its end|a text of"),
    "a list of lists": (_after(TOKENS, 9, wide="<I"), "array of an unknown type 9"),
    "an unknown value": (_after(TOKENS, 77, skip=0, wide="<I"), "unknown type 77"),
    "many dimensions": (_after(b"output_norm.weight", 1 << 31, skip=0, wide="<I"), "dimensions"),
    "no rows": (_after(b"output_norm.weight", 0), "does not consist of blocks"),
    "many rows": (_after(b"output_norm.weight", 1 << 61), "the file has"),
    "an unknown kind": (_after(b"output_norm.weight", 999, skip=4 + 8, wide="<I"), "unknown way, number 999"),
    "rows of no blocks": (_after(b"token_embd.weight", 12, skip=4 + 16, wide="<I"), "blocks of 256 numbers .Q4_K"),
    "a lying offset": (_offset(1 << 62), "the file has"),
    "an odd offset": (_offset(33), "no multiple of 32"),
    "an offset twice": (_offset(0), "within the tensor before it"),
    "cut in the header": (lambda c: c[:2000], "beyond its end"),
    "cut in the tensors": (lambda c: c[:-4000], "bytes, the file has"),
    "a text of no text": (
        lambda c: c.replace(b"tokenizer.ggml.model", b"tokenizer.ggml.\xff\xfe\xfd\xfc\xfb"),
        "utf-8",
    ),
    "a key twice": (lambda c: c.replace(b"tokenizer.ggml.eos_token_id", b"tokenizer.ggml.bos_token_id"), "twice"),
    "a tensor twice": (lambda c: c.replace(b"blk.1.attn_q.weight", b"blk.1.attn_k.weight"), "is there twice"),
    "no architecture": (lambda c: c.replace(b"general.architecture", b"general.architectura"), "it is not named"),
    "no tensor": (_count(0, 8), "no tensors|no power of two|multiple"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_refused_by_name(name, content, tmp_path):
    damage, said = DAMAGED[name]
    file = tmp_path / "damaged.gguf"
    file.write_bytes(damage(content))
    tracemalloc.start()
    try:
        with pytest.raises(iv.ModelError, match=f"(?s)damaged.*({said})") as caught:
            iv.open_model(file)
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)


def test_any_byte_of_the_header_may_be_wrong(content, tmp_path):
    """Whatever is read then is refused by name, or found good."""
    file = tmp_path / "flipped.gguf"
    file.write_bytes(content)
    end = read_header(file).data_start
    said = []
    for at in range(0, end, 7):
        file.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
        try:
            gguf_models.open_file(file, "flipped.gguf")
        except iv.ModelError as error:
            said.append(str(error))
    assert len(said) > end / 7 / 4
    assert all(text.startswith("flipped.gguf: expected") for text in said)


def test_numbers_that_are_none_in_the_weights(content, tmp_path):
    file = tmp_path / "nan.gguf"
    start = read_header(_written(file, content)).data_start
    file.write_bytes(content[:start] + b"\xff" * 4096 + content[start + 4096 :])
    with pytest.raises(iv.IntravistoError, match="finite numbers"):
        iv.open_model(file)


class PanicException(BaseException):
    """As the libraries in Rust have it: no `Exception`."""


@pytest.mark.parametrize("error", [KeyError("rope"), PanicException("index out of bounds"), RecursionError("deep")])
@pytest.mark.parametrize("step", ["read_tokenizer", "read_network", "open_file"])
def test_whatever_fails_while_it_is_opened_is_a_refusal(content, tmp_path, monkeypatch, step, error):
    def fail(*_: object, **__: object) -> None:
        raise error

    file = _written(tmp_path / "tiny.gguf", content)
    monkeypatch.setattr(gguf_models, step, fail)
    with pytest.raises(iv.ModelError, match=type(error).__name__):
        iv.open_model(file)


def test_what_transformers_cannot_load_and_what_it_would_fill_at_random(content, tmp_path, monkeypatch):
    file = _written(tmp_path / "tiny.gguf", content)

    class Loader:
        @staticmethod
        def from_pretrained(*_: object, **__: object) -> None:
            raise ValueError("no such\n layout")

    monkeypatch.setattr(gguf_models, "auto_class", lambda _: Loader)
    with pytest.raises(iv.ModelError, match=r"tiny: transformers could not load it \(ValueError: no such layout\)"):
        iv.open_model(file)
    for told, said in (
        ({"missing_keys": {"b.weight", "a.weight"}}, r"a.weight is missing \(2 such in all\)"),
        ({"mismatched_keys": [("c.weight", (2, 3), (4, 3))]}, r"c.weight is \(2, 3\) and should be \(4, 3\) \(1 such"),
    ):
        with pytest.raises(iv.ModelError, match=f"expected all weights that its own description asks for; {said}"):
            gguf_models.check_filled(told, "tiny")
    gguf_models.check_filled({"missing_keys": set(), "mismatched_keys": []}, "tiny")


def test_a_file_that_may_not_be_read(content, tmp_path, monkeypatch):
    file = _written(tmp_path / "tiny.gguf", content)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        for read in (gguf_files.by_path, read_header):
            with pytest.raises(iv.ModelError, match=r"expected a file that can be read \(Permission denied\)"):
                read(file)


@pytest.mark.parametrize("alignment", [0, 4, 24, 1 << 20])
def test_an_alignment_that_is_none(alignment, tiny_llama, tmp_path):
    file = of_folder(tiny_llama, tmp_path / "a.gguf")
    raw = file.read_bytes()
    n_keys = struct.unpack_from("<Q", raw, 16)[0]
    key = b"general.alignment"
    added = struct.pack("<Q", len(key)) + key + struct.pack("<II", 4, alignment)
    file.write_bytes(raw[:16] + struct.pack("<Q", n_keys + 1) + added + raw[24:])
    with pytest.raises(iv.ModelError, match=f"its alignment of {alignment} is no power of two from 8 to 65,536"):
        iv.open_model(file)


def test_a_header_elsewhere_that_does_not_end(content, monkeypatch):
    with pytest.raises(iv.ModelError, match=r"x: expected a GGUF file; it is damaged .*beyond its end at 2,000"):
        read_begun(lambda start, stop: content[start:stop], 2000, "x")
    monkeypatch.setattr(gguf_header, "FIRST_PIECE", 100)
    monkeypatch.setattr(gguf_header, "LARGEST_HEADER", 1000)
    fetched = []

    def fetch(start: int, stop: int) -> bytes:
        fetched.append(stop)
        return content[start:stop]

    with pytest.raises(iv.ModelError, match="within its header"):
        read_begun(fetch, len(content), "x")
    assert fetched == [100, 400, 1600], "no more than a header may take"


def test_a_file_without_a_number_or_a_table(content, tiny_llama, tmp_path):
    file = of_folder(tiny_llama, tmp_path / "a.gguf", leave_out=["block_count"])
    with pytest.raises(iv.ModelError, match=r"a: expected a number for llama.block_count; got 'none'"):
        iv.open_model(file)
    file = _written(tmp_path / "b.gguf", content.replace(b"token_embd.weight", b"token_embx.weight"))
    with pytest.raises(iv.ModelError, match=r"b: expected a table token_embd.weight of tokens by width; got \(\)"):
        iv.open_model(file)


def test_a_tokenizer_with_rules_that_could_explode_is_limited(content, tmp_path, monkeypatch):
    """Its way to split a text is named in the file, and an expression of transformers stands behind the name."""
    file = _written(tmp_path / "tiny.gguf", content)
    plain = iv.open_model(file)
    assert not plain.kept_traces.model.reader.is_limited
    ids = [t.id for t in plain.tokenize("ab cd!")]
    plain.close()
    monkeypatch.setattr(tokenizer_limits, "is_harmless", lambda _: False)
    monkeypatch.setattr(tokenizer_limits, "_patterns", lambda rules: iter([{"pattern": {"Regex": "(a+)+"}}]))
    limited = iv.open_model(file)
    assert limited.kept_traces.model.reader.is_limited
    assert [t.id for t in limited.tokenize("ab cd!")] == ids
    limited.close()


def _written(file: Path, content: bytes) -> Path:
    file.write_bytes(content)
    return file
