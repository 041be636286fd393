"""A model in a GGUF file, unpacked to plain weights by transformers' loader."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast, modeling_gguf_pytorch_utils
from transformers.utils import logging as transformers_logging
from transformers.utils.quantization_config import GgufConfig

from intravisto_core.architectures import auto_class
from intravisto_core.errors import IntravistoError, ModelError
from intravisto_core.models.files.folder import hash_edges
from intravisto_core.models.files.guard import is_of_a_library
from intravisto_core.models.files.settings import in_one_line
from intravisto_core.models.files.tokenizer_limits import limit_tokenizer
from intravisto_core.models.free_memory import is_short
from intravisto_core.models.gguf.header import GgufHeader, read_header
from intravisto_core.models.gguf.settings import FACTORS, read_settings
from intravisto_core.models.placement import Placement, empty
from intravisto_core.progress import Report
from intravisto_core.request import ModelSpec

_ALONE = "model.gguf"
# of transformers' ways to split a text before its pieces are looked up; a file may name another one
KNOWN_SPLITS = ("default", "gpt-2", "smollm")
# of these llama.cpp takes a word that is a token as it is, and puts BOS first where a file does not say otherwise
_OF_LLAMA3 = ("llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano")


@dataclass(frozen=True, slots=True)
class GgufModel:
    """A file whose header was read and found good. name: what messages call it. settings: transformers'
    configuration."""

    file: Path
    name: str
    header: GgufHeader
    settings: Any

    def digest(self) -> str:
        """A short hash of the file, as of a folder's weights."""
        digest = hashlib.sha256(str(self.header.nbytes).encode())
        hash_edges(digest, self.file)
        return digest.hexdigest()[:16]

    @property
    def notes(self) -> tuple[str, ...]:
        """What its card says of it."""
        counts = ", ".join(f"{kind} {n}" for kind, n in self.header.kinds.items())
        found = [f"read from GGUF, unpacked; tensors by quantisation: {counts}"]
        split = str(self.header.metadata.get("tokenizer.ggml.pre", "default"))
        if self.header.metadata.get("tokenizer.ggml.model") == "gpt2" and split not in _splits():
            found.append(f"its way to split a text ({split}) is not known here, and GPT-2's is used: ids may differ")
        return tuple(found)


def open_file(file: Path, name: str) -> GgufModel:
    """Read what a file says of itself, and nothing of its weights.

    Raises:
        ModelError: it is damaged, or its model cannot be shown, with the reason.
        MissingProgramError: the package gguf is not installed.
    """
    header = read_header(file, name)
    check_kinds(header, name)
    return GgufModel(file, name, header, read_settings(header, name, _factors(file, header)))


def check_asked(spec: ModelSpec, name: str) -> None:
    """Raises:
    ModelError: what is asked for cannot be done with a GGUF file.
    """
    if spec.quantisation:
        raise ModelError(
            f"{name}: expected quantisation=None for a GGUF file, which is quantised already; got "
            f"{spec.quantisation!r}. Open it without, or choose the original model"
        )
    if spec.device_map == "offload":
        raise ModelError(
            f"{name}: expected device_map 'auto', 'cpu' or 'cuda' for a GGUF file, which is not read piece by piece; "
            "got 'offload'. Open it without, or choose the original model"
        )


def check_kinds(header: GgufHeader, name: str) -> None:
    """Raises:
    ModelError: some tensors are quantised in a way that is not unpacked here.
    """
    if unknown := [kind for kind in header.kinds if not _unpacks(kind)]:
        first = next(t for t in header.tensors if t.kind == unknown[0])
        raise ModelError(
            f"{name}: expected kinds of quantisation that can be unpacked; {first.name} is {first.kind}, which the "
            "package gguf cannot. Choose a file of another kind (Q8_0, Q4_K_M, …), or the original model"
        )


@lru_cache(maxsize=64)
def _unpacks(kind: str) -> bool:
    """Whether the package gguf unpacks a kind, tried on one block of zeros."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, dequantize

    _, nbytes = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    plain = {"F32": np.float32, "F16": np.float16}
    block = np.zeros((1, 1), plain[kind]) if kind in plain else np.zeros((1, nbytes), np.uint8)
    try:
        dequantize(block, GGMLQuantizationType[kind])
    except NotImplementedError:
        return False
    return True


@lru_cache(maxsize=1)
def _splits() -> frozenset[str]:
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    return frozenset({*GGUF_PRE_TOKENIZER_SPLITS, *KNOWN_SPLITS})


def _factors(file: Path, header: GgufHeader) -> list[float]:
    found = next((t for t in header.tensors if t.name == FACTORS and t.kind == "F32"), None)
    if found is None:
        return []
    start = header.data_start + found.start
    return [float(f) for f in np.fromfile(file, "<f4", count=found.numel, offset=start)]


@contextmanager
def _alone(file: Path) -> Iterator[Path]:
    """A folder with nothing but the file, under a usual name: what lies beside it, a tokenizer of another model
    perhaps, is not read, and Ollama's names have no ending."""
    with tempfile.TemporaryDirectory(prefix="intravisto-") as made:
        folder = Path(made)
        try:
            (folder / _ALONE).symlink_to(file.resolve())
        except OSError:
            (folder / _ALONE).hardlink_to(file.resolve())
        yield folder


def read_tokenizer(model: GgufModel) -> Any:
    """The tokenizer that the file brings, with its chat template.

    Raises:
        ModelError: it has none, or transformers cannot make one of it.
    """
    with _alone(model.file) as folder:
        try:
            found: Any = PreTrainedTokenizerFast.from_pretrained(folder, gguf_file=_ALONE, local_files_only=True)
            _as_llama3(found, model.header)
            return limit_tokenizer(found)
        except BaseException as error:
            if not is_of_a_library(error):
                raise
            raise ModelError(
                f"{model.name}: expected a vocabulary that transformers can make a tokenizer of; it cannot "
                f"({type(error).__name__}: {in_one_line(error)}). Choose another file of it, or the original one"
            ) from error


def _as_llama3(tokenizer: Any, header: GgufHeader) -> None:
    """What the name of Llama 3's way to split a text means besides, and transformers leaves out."""
    if header.metadata.get("tokenizer.ggml.pre") not in _OF_LLAMA3:
        return
    tokenizer.backend_tokenizer.model.ignore_merges = True
    if "tokenizer.ggml.add_bos_token" not in header.metadata and tokenizer.bos_token is not None:
        tokenizer.add_bos_token = True


def read_network(
    model: GgufModel, dtype: torch.dtype, where: Placement, kernel: str, report: Report
) -> PreTrainedModel:
    """The model with its weights unpacked. kernel: of attention. Within `construction.loading` alone.

    Raises:
        ModelError: tensors and configuration do not belong together.
    """
    transformers_logging.disable_progress_bar()
    with _alone(model.file) as folder, _reading_quickly(), _with_heads(model), _telling(report, model):
        _check_tensors(model)
        try:
            loaded: Any = auto_class(model.settings).from_pretrained(
                folder,
                gguf_file=_ALONE,
                quantization_config=GgufConfig(dequantize=True),
                config=model.settings,
                local_files_only=True,
                attn_implementation=kernel,
                dtype=dtype,
                # they are told by name
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **where.options,
            )
        except Exception as error:
            if is_short(error) or isinstance(error, IntravistoError):
                raise
            raise ModelError(
                f"{model.name}: transformers could not load it ({type(error).__name__}: {in_one_line(error)}). "
                "Download it again, or choose the original model"
            ) from error
    network, info = loaded
    check_filled(info, model.name)
    found: PreTrainedModel = network.eval().requires_grad_(False)
    return found


def check_filled(info: Any, name: str) -> None:
    """Raises:
    ModelError: a weight of the model was not in the file in its shape; transformers fills these at random.
    """
    wrong = {key: f"is {tuple(stored)} and should be {tuple(w)}" for key, stored, w in info.get("mismatched_keys", ())}
    wrong |= dict.fromkeys(info.get("missing_keys", ()), "is missing")
    if wrong:
        first = min(wrong)
        raise ModelError(
            f"{name}: expected all weights that its own description asks for; {first} {wrong[first]} ({len(wrong)} "
            "such in all). Download it again, or choose the original model"
        )


def _check_tensors(model: GgufModel) -> None:
    """Refuse a file with tensors that transformers has no place for, which it would leave out without a word, or of
    another size than the model that its description asks for."""
    network, named = empty(model.settings), model.header.architecture
    utilities = modeling_gguf_pytorch_utils
    processor = utilities.TENSOR_PROCESSORS.get(named, utilities.TensorProcessor)(config=model.settings.to_dict())
    places = utilities.get_gguf_hf_weights_map(network, processor)
    # of an untied GPT-2 transformers knows this one by a way of its own
    places = {*places, FACTORS, "output.weight"}
    tensors = [t for t in model.header.tensors if t.name not in places and t.name.removesuffix(".weight") not in places]
    if tensors:
        raise ModelError(
            f"{model.name}: expected tensors that a {named} model has; {tensors[0].name} has no place in it "
            f"({len(tensors)} such in all). Choose the original model in safetensors"
        )
    wanted = sum(p.numel() for p in {id(p): p for p in network.parameters()}.values())
    there = sum(t.numel for t in model.header.tensors if t.name != FACTORS)
    if wanted != there:
        raise ModelError(
            f"{model.name}: expected tensors of {wanted:,} numbers in all, as its own description asks for; they have "
            f"{there:,}. Download it again, or choose the original model"
        )


@contextmanager
def _telling(report: Report, model: GgufModel) -> Iterator[None]:
    """Within this context, what transformers unpacks is told in bytes, and what `report` raises ends it.

    transformers has no hook for this loop, so its progress bar is replaced.
    """
    total, done = sum(t.nbytes for t in model.header.tensors), 0

    def told(tensors: Iterable[Any], **options: Any) -> Iterator[Any]:
        nonlocal done
        for tensor in tensors:
            yield tensor
            done += int(tensor.n_bytes)
            report(done, total, f"unpacking {model.name}")

    with _replaced(modeling_gguf_pytorch_utils, "tqdm", told):
        yield


@contextmanager
def _with_heads(model: GgufModel) -> Iterator[None]:
    """Within this context the rows of Llama's queries and keys are put in order also where a file does not say how many
    key and value heads there are, which means as many as heads; transformers leaves them as they are then."""
    utilities, heads = modeling_gguf_pytorch_utils, getattr(model.settings, "num_key_value_heads", None)

    def processor(config: dict[str, Any]) -> Any:
        return utilities.LlamaTensorProcessor(config={**config, "num_key_value_heads": heads})

    with _replaced(utilities, "TENSOR_PROCESSORS", {**utilities.TENSOR_PROCESSORS, "llama": processor}):
        yield


@contextmanager
def _reading_quickly() -> Iterator[None]:
    """Within this context the table of tensor names is made once, and not again for every module of the model, and the
    vocabulary is left out; each takes longer than unpacking."""
    import gguf

    from intravisto_core.models.gguf.tensor_reader import TensorReader

    once = lru_cache(gguf.get_tensor_name_map)
    with _replaced(gguf, "get_tensor_name_map", once), _replaced(gguf, "GGUFReader", TensorReader):
        yield


@contextmanager
def _replaced(module: Any, name: str, value: Any) -> Iterator[None]:
    """Within this context a function of another package is ours; safe as models are read one at a time."""
    earlier = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, earlier)
