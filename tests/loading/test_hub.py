"""Models from the Hub, against a server that speaks its endpoints: what arrives, what goes wrong, and what is said."""

from __future__ import annotations

import errno
import json
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import constants

import intravisto_core as iv
from intravisto_core.errors import HubError
from intravisto_core.models.remote import download, hub_errors, repository
from intravisto_core.models.remote import hub as hub_module
from intravisto_core.models.remote.hub import snapshot
from intravisto_core.progress import quiet
from tests.loading import search
from tests.loading.fake_hub import COMMIT, GOOD_TOKEN, Faults
from tests.reference.equal import assert_close


@pytest.fixture
def refused(hub):
    """`refused(kind, source, revision, token)`: the message of that refusal. The good token goes along, unless another
    or None is given, and is searched for in the error afterwards."""

    def ask(kind: str, source: str = "tiny", revision: str | None = None, token: str | None = GOOD_TOKEN) -> str:
        asked = len(hub.requests)
        with pytest.raises(HubError) as caught:
            snapshot(source, revision, token, quiet)
        error = caught.value
        hub.told.append(error)
        message = str(error)
        assert error.kind == kind, message
        assert "\n" not in message
        assert message.startswith(f"{source}: ")
        assert len(message) < 300
        assert error.__cause__ is None, "the Hub's own error, with its headers, is not carried along"
        assert error.__context__ is None
        sent = [headers.get("Authorization", "") for _, path, headers in hub.requests[asked:] if "storage" not in path]
        assert set(sent) <= {f"Bearer {token}" if token else ""}
        return message

    return ask


@pytest.mark.parametrize("source", ["tiny", "owner/sharded"])
def test_a_model_comes_from_the_hub(hub, case, source):
    engine = iv.open_model(source)
    kept = case("llama")
    trace = engine.trace(kept.trace.request.prompt, max_new_tokens=2)
    assert engine.model.name == source
    assert_close(trace.logits(3), kept.trace.logits(3))
    engine.close()
    asked = len(hub.requests)
    assert iv.open_model(source).model.name == source
    assert not any("/resolve/" in path for _, path, _ in hub.requests[asked:]), "nothing is downloaded twice"


def test_only_what_is_read_is_downloaded(hub, tiny_llama, tmp_path):
    folder = Path(shutil.copytree(tiny_llama, tmp_path / "repository"))
    extra = ("pytorch_model.bin", "modeling_own.py", "README.md", "onnx/model.onnx", "consolidated.safetensors")
    for name in extra:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x" * 5000)
    hub.repositories["full"] = folder
    here = snapshot("full", None, None, quiet)
    assert sorted(p.name for p in here.iterdir()) == sorted(p.name for p in tiny_llama.iterdir())
    assert not any(name in path for name in extra for _, path, _ in hub.requests)


def test_progress_tells_file_and_bytes(hub, sharded):
    told: list[tuple[int, int, str]] = []
    snapshot("owner/sharded", None, None, lambda *step: told.append(step))
    steps = [step for step in told if step[1]]
    assert [s[0] for s in steps] == sorted(s[0] for s in steps)
    assert (
        steps[-1][0]
        == steps[-1][1]
        == sum(p.stat().st_size for p in sharded.iterdir() if p.name not in ("config.json",))
    )
    assert any("model-00002-of" in text and "file" in text for _, _, text in steps)


def test_no_such_model_or_revision(hub, refused):
    assert "private" in refused("not_found", "nobody/nothing", token=None)
    assert "may not see it" in refused("not_found", "nobody/nothing")
    assert "'v9'" in refused("not_found", revision="v9")
    assert snapshot("tiny", COMMIT, None, quiet) == snapshot("tiny", "main", None, quiet)


def test_a_private_model_needs_a_token(hub, refused):
    hub.private.add("tiny")
    refused("not_found", token=None)
    assert snapshot("tiny", None, GOOD_TOKEN, quiet).is_dir()


def test_a_gated_model_says_where_to_accept(hub, refused):
    hub.gated.add("owner/sharded")
    assert "https://huggingface.co/owner/sharded" in refused("gated", "owner/sharded", token=None)
    hub.let_in = False
    assert "owner's answer" in refused("gated", "owner/sharded")
    hub.let_in = True
    assert snapshot("owner/sharded", None, f" {GOOD_TOKEN}\n", quiet).is_dir()
    assert all("Authorization" not in headers for _, _, headers in hub.asked("/storage/"))
    assert hub.asked("/storage/")


def test_the_token_of_the_environment_serves(hub, monkeypatch):
    hub.gated.add("tiny")
    hub.let_in = False
    monkeypatch.setenv("HF_TOKEN", GOOD_TOKEN)
    with pytest.raises(HubError, match=r"account of this machine's token \(HF_TOKEN\)") as caught:
        snapshot("tiny", None, None, quiet)
    hub.told.append(caught.value)
    hub.let_in = True
    assert snapshot("tiny", None, None, quiet).is_dir()
    monkeypatch.setenv("HF_TOKEN", "hf_wrongWRONGwrong")
    with pytest.raises(HubError, match="does not accept this machine's token") as caught:
        snapshot("owner/sharded", None, None, quiet)
    assert "hf_wrong" not in str(caught.value)


def test_a_wrong_token(hub, refused):
    message = refused("token", token="hf_wrongWRONGwrong")
    assert "hf_wrong" not in message
    assert "that was given" in message
    for text in ("two words", "hf_abc\nX-Header: 1", "hf_ä", ""):
        with pytest.raises(iv.RequestError) as caught:
            snapshot("tiny", None, text, quiet)
        assert text == "" or text not in str(caught.value)


def test_a_token_stays_out_of_requests_and_records(hub, tmp_path):
    hub.gated.add("tiny")
    engine = iv.open_model("tiny", token=GOOD_TOKEN)
    trace = engine.trace("ab")
    grid = trace.heatmap()
    for kind in ("html", "json", "csv"):
        grid.save(tmp_path / f"grid.{kind}")
    flow = trace.flow()
    edited = trace.edit(iv.Ablate("attn_out", 1, -1))
    texts = [iv.to_json(engine.spec), iv.to_json(trace.request), iv.diagnostics(engine), trace.fingerprint]
    texts += [grid.html(), flow.html(), repr(engine.spec), repr(engine.model), repr(vars(engine)), repr(trace)]
    search.nowhere(GOOD_TOKEN, texts, [engine, trace, edited, grid, flow], tmp_path)
    assert any("Authorization" in headers for _, _, headers in hub.requests)
    engine.close()


@pytest.mark.parametrize("where", ["/api/models/", "/resolve/", "/storage/"])
def test_too_many_requests_say_when(hub, where, refused):
    hub.faults = Faults(limited=where)
    assert "17 s" in refused("rate_limited")
    assert "with a token" in refused("rate_limited", token=None)


def test_a_hub_in_trouble(hub, refused):
    hub.faults = Faults(broken="/api/models/")
    assert "503" in refused("unreachable")
    hub.faults = Faults(broken="/storage/")
    assert "kept" in refused("interrupted")
    hub.faults = Faults(closed=True)
    assert "proxy" in refused("unreachable")
    hub.faults = Faults()
    here = snapshot("tiny", None, None, quiet)
    hub.faults = Faults(broken="/")
    assert snapshot("tiny", None, None, quiet) == here, "what is cached serves"


def test_offline(hub, monkeypatch, refused):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in refused("offline")
    assert not hub.requests
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    here = snapshot("owner/sharded", None, None, quiet)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    asked = len(hub.requests)
    assert snapshot("owner/sharded", None, None, quiet) == here
    assert len(hub.requests) == asked
    next(here.glob("model-00002*")).unlink()
    refused("offline", "owner/sharded")


def test_nobody_there(hub, monkeypatch, refused):
    for name in ("ENDPOINT", "HUGGINGFACE_CO_URL_TEMPLATE"):
        monkeypatch.setattr(constants, name, getattr(constants, name).replace(hub.url, "http://127.0.0.1:9"))
    assert "HF_ENDPOINT" in refused("unreachable")


def test_an_address_that_has_expired_is_asked_for_again(hub, tiny_llama):
    """The storage signs its addresses for a while; a long download outlives them."""
    hub.faults = Faults(cut_after=30_000, cuts=2, expires=True)
    here = snapshot("tiny", None, GOOD_TOKEN, quiet)
    assert (here / "model.safetensors").read_bytes() == (tiny_llama / "model.safetensors").read_bytes()
    asked = [path for _, path, _ in hub.asked("/storage/tiny/model.safetensors")]
    assert len(asked) == len(set(asked)) == 3


@pytest.mark.parametrize("no_ranges", [False, True])
def test_a_connection_that_breaks_goes_on_where_it_was(hub, tiny_llama, no_ranges):
    hub.faults = Faults(cut_after=30_000, cuts=3 if not no_ranges else 1, no_ranges=no_ranges)
    here = snapshot("tiny", None, None, quiet)
    assert (here / "model.safetensors").read_bytes() == (tiny_llama / "model.safetensors").read_bytes()
    ranges = [headers["Range"] for _, _, headers in hub.asked("/storage/tiny/model.safetensors") if "Range" in headers]
    assert ranges[0] == "bytes=30000-"


def test_a_download_that_broke_off_resumes_the_next_time(hub, tiny_llama, monkeypatch, refused):
    monkeypatch.setattr(download, "RETRIES", 0)
    hub.faults = Faults(cut_after=0, cuts=1)
    refused("interrupted")
    hub.faults = Faults(cut_after=20_000, cuts=1)

    def stopped(done: int, total: int, text: str) -> None:
        if hub.faults.cuts == 0 and done:
            raise iv.Cancelled("cancelled")

    with pytest.raises(iv.Cancelled):
        snapshot("tiny", None, None, stopped)
    asked = len(hub.requests)
    here = snapshot("tiny", None, None, quiet)
    again = [r for r in hub.requests[asked:] if r[1].startswith("/storage/tiny/model.safetensors")]
    assert [r[2].get("Range") for r in again] == ["bytes=20000-"]
    assert (here / "model.safetensors").read_bytes() == (tiny_llama / "model.safetensors").read_bytes()


def test_what_is_not_what_its_checksum_says_is_thrown_away(hub, refused):
    hub.faults = Faults(spoilt=True)
    assert "checksum" in refused("damaged")
    blobs = Path(constants.HF_HUB_CACHE) / "models--tiny" / "blobs"
    assert not [p for p in blobs.iterdir() if p.stat().st_size > 2000]
    hub.faults = Faults()
    assert snapshot("tiny", None, None, quiet).is_dir()


def test_a_slow_download_stops_at_once(hub):
    hub.faults = Faults(trickle=0.05)
    begun, wanted, told = threading.Event(), threading.Event(), []

    def report(done: int, total: int, text: str) -> None:
        told.append(done)
        if done > 4000:
            begun.set()
        if wanted.is_set():
            raise iv.Cancelled("cancelled")

    ended: list[object] = []

    def work() -> None:
        try:
            snapshot("tiny", None, None, report)
        except iv.Cancelled as error:
            ended.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(60)
    wanted.set()
    seen = len(told)
    thread.join(5)
    assert ended
    assert len(told) <= seen + 3, "it stops within a piece"


def test_a_full_disk(hub, monkeypatch, refused):
    monkeypatch.setattr(repository.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    assert "HF_HOME" in refused("disk_full")
    assert not hub.asked("/storage/")
    monkeypatch.undo()


def test_a_disk_that_fills_up_during_the_download(hub, monkeypatch, refused):
    append, room = download._append, [40_000]

    def short(asked, part, start, report):
        def full(done: int, doing: str) -> None:
            if room and done > room[0]:
                raise OSError(errno.ENOSPC, "No space left on device")
            report(done, doing)

        append(asked, part, start, full)

    monkeypatch.setattr(download, "_append", short)
    hub.faults = Faults(trickle=0.0001)
    assert "kept" in refused("disk_full")
    room.clear()
    asked = len(hub.requests)
    assert snapshot("tiny", None, None, quiet).is_dir()
    again = [r for r in hub.requests[asked:] if r[1].startswith("/storage/tiny/model.safetensors")]
    assert int(again[0][2]["Range"].removeprefix("bytes=").removesuffix("-")) >= 40_000
    error = hub_errors.explained(PermissionError(errno.EACCES, "Permission denied"), "tiny", "main", "")
    assert "cache folder" in str(error)


def test_what_is_refused_is_not_downloaded(hub, tiny_llama, tmp_path):
    config = json.loads((tiny_llama / "config.json").read_text())
    for name, changes, said in (
        ("own", {"model_type": "strange", "auto_map": {"AutoModelForCausalLM": "own.Own"}}, "own code"),
        ("t5", {"model_type": "t5"}, "encoder-decoder"),
        *((m, {"quantization_config": {"quant_method": m}}, f"packed by {m}") for m in ("gptq", "awq", "fp8", "mxfp4")),
    ):
        folder = Path(shutil.copytree(tiny_llama, tmp_path / name))
        (folder / "config.json").write_text(json.dumps(config | changes))
        hub.repositories[name] = folder
        with pytest.raises(iv.ModelError, match=f"^{name}: .*{said}.* Choose "):
            snapshot(name, None, None, quiet)
    folder = Path(shutil.copytree(tiny_llama, tmp_path / "pickled"))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    hub.repositories["pickled"] = folder
    with pytest.raises(iv.ModelError, match="refs/pr/1"):
        snapshot("pickled", None, None, quiet)
    (folder / "adapter_config.json").write_text("{}")
    (folder / "config.json").unlink()
    with pytest.raises(iv.ModelError, match=r"adapter.* Choose "):
        snapshot("pickled", None, None, quiet)
    assert not hub.asked("/storage/")


def test_a_repository_without_weights_or_config(hub, tiny_llama, tmp_path):
    for name, gone, said in (
        ("weightless", "model.safetensors", "expected safetensors weights; this repository has none"),
        ("formless", "config.json", "expected config.json; this repository has none"),
    ):
        folder = Path(shutil.copytree(tiny_llama, tmp_path / name))
        (folder / gone).unlink()
        hub.repositories[name] = folder
        with pytest.raises(iv.ModelError, match=f"^{name}: {said}. Choose another model"):
            snapshot(name, None, None, quiet)
        with pytest.raises(iv.ModelError, match=f"^{name}: {said}"):
            iv.estimate_memory(name)


def test_pickled_weights_that_somebody_converted(hub, tiny_llama, tmp_path):
    folder = Path(shutil.copytree(tiny_llama, tmp_path / "pickled"))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    hub.repositories["owner/pickled"] = folder
    hub.pull_requests["owner/pickled"] = ("Fix a typo", "Adding `safetensors` variant of this model")
    with pytest.raises(iv.ModelError, match=r"pull request 2 \(by SFconvertbot\).*owner/pickled@refs/pr/2"):
        snapshot("owner/pickled", None, None, quiet)
    hub.faults = Faults(broken="/discussions")
    with pytest.raises(iv.ModelError, match="Look on its page"):
        snapshot("owner/pickled", None, None, quiet)
    hub.revisions = ("refs/pr/2",)
    here = snapshot("tiny", "refs/pr/2", None, quiet)
    assert here == snapshot("tiny", COMMIT, None, quiet)
    assert hub.asked("refs%2Fpr%2F2")


def test_what_is_packed_already_is_taken_as_it_is(hub, tiny_llama, tmp_path):
    folder = Path(shutil.copytree(tiny_llama, tmp_path / "packed"))
    config = json.loads((folder / "config.json").read_text())
    packed = {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}
    (folder / "config.json").write_text(json.dumps(config | packed))
    hub.repositories["packed"] = folder
    for options in ({"quantisation": "nf4"}, {"dtype": "float16"}, {"device_map": "offload"}):
        with pytest.raises(iv.ModelError, match=f"^packed: expected {next(iter(options))}.* packed"):
            iv.open_model("packed", **options)
    assert not hub.asked("/storage/")


@pytest.mark.parametrize(("index", "said"), [("{", "damaged"), ('{"weight_map": {"a": "b.safetensors"}}', "not there")])
def test_an_index_that_names_nothing(hub, sharded, tmp_path, index, said):
    folder = Path(shutil.copytree(sharded, tmp_path / "index"))
    (folder / "model.safetensors.index.json").write_text(index)
    hub.repositories["index"] = folder
    with pytest.raises(iv.ModelError, match=said):
        snapshot("index", None, None, quiet)


def test_names_that_cannot_be_the_hubs():
    for source in ("../etc", "a/b/c", "-x", "owner/", "a--b", ""):
        assert not hub_module.is_id(source)
    for source in ("gpt2", "openai-community/gpt2", "mistralai/Mistral-7B-Instruct-v0.2"):
        assert hub_module.is_id(source)
    with pytest.raises(iv.RequestError, match="revision"):
        iv.open_model("demo", revision="main")
