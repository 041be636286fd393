"""The sidebar's way to a model: sized before it is loaded, with progress, refusals that say what to do, and release."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import intravisto_core as iv
from intravisto_core.models import reading
from intravisto_core.records import Check, MemoryEstimate
from intravisto_core.request import ModelSpec
from intravisto_core.sites import Capability
from intravisto_ui.session import estimates, settings, text
from intravisto_ui.session.jobs import Run
from intravisto_ui.session.pool import pool
from intravisto_ui.sidebar import cost, model_badges, model_choice, model_list
from tests.loading import fake_hub, search
from tests.loading.conftest import hub, sharded  # noqa: F401  (fixtures)
from tests.pages.conftest import App

PATIENCE_S = 60


def until(app: App, words: str) -> App:
    """Draw again until the page says these words, as a browser that polls does."""
    end = time.monotonic() + PATIENCE_S
    while words not in app.html():
        assert time.monotonic() < end, app.html()
        time.sleep(0.05)
        app.tester.run()
    return app


def ask_for(app: App, source: str) -> App:
    return app.type_model(source)


def keys(app: App, kind: str) -> set[str]:
    return {widget.key for widget in getattr(app.tester, kind)}


def test_a_model_of_the_hub_is_sized_then_loaded_then_released(app: App, hub: fake_hub.Hub) -> None:  # noqa: F811
    before = app.workspace.shown.trace.id
    until(ask_for(app, "owner/sharded@main"), "Needs ")
    assert "It fits" in app.html()
    assert app.workspace.spec == ModelSpec("demo"), "nothing is loaded before it is asked for"
    app.click("load").assert_calm()
    wanted = ModelSpec("owner/sharded", "main")
    assert app.workspace.spec == wanted
    assert "3 layers" in app.html()
    assert app.workspace.shown.trace.id == before, "the picture stays until something is run"
    app.set("text_area", "prompt", "ab").click("run").assert_calm()
    assert "This run: under 0.1 s, " in app.html() or "This run: about " in app.html()
    app.click("release")
    assert "released" in app.html()
    assert app.workspace.engine is None
    assert wanted not in pool().specs
    app.click("run").assert_calm()
    assert app.workspace.spec == wanted, "Run opens it again"


def test_a_gated_model_asks_for_a_token_that_nobody_sees_again(app: App, hub: fake_hub.Hub) -> None:  # noqa: F811
    hub.gated.add("tiny")
    until(ask_for(app, "tiny"), "gives access on request").assert_calm()
    assert [w.key for w in app.tester.text_input].count("hub_token") == 1
    app.set("text_input", "hub_token", "no token at all")
    assert "token" in str(app.workspace.problem)
    app.set("text_input", "hub_token", f" {fake_hub.GOOD_TOKEN} ")
    until(app, "Needs ")
    assert app.workspace.token == fake_hub.GOOD_TOKEN
    app.click("load").assert_calm()
    search.nowhere(fake_hub.GOOD_TOKEN, [*visible(app), iv.diagnostics(app.workspace.engine)], [app.workspace.engine])
    app.type_model("owner/none")
    app.workspace.problem = None
    until(app, "owner/none")
    app.workspace.token = ""


def visible(app: App) -> list[str]:
    """What a user, an address or a log of the session could show: the page, its address, options and session state."""
    state = app.tester.session_state
    kept = state._state.filtered_state
    return [app.html(), repr(app.workspace), str(app.workspace.options), str(dict(app.tester.query_params)), str(kept)]


STATES: tuple[tuple[str, fake_hub.Faults, str], ...] = (
    ("owner/states", fake_hub.Faults(limited="/api/models/"), "Try again in 17 s"),
    ("owner/states", fake_hub.Faults(broken="/api/models/"), "trouble of its own"),
    ("owner/none", fake_hub.Faults(), "no model of that name"),
    ("owner/states@v9", fake_hub.Faults(), "expected a branch, tag or commit of it"),
    ("owner/closed", fake_hub.Faults(), "https://huggingface.co/owner/closed</a> with that account"),
)
WHEN_LOADED: tuple[tuple[fake_hub.Faults, str], ...] = (
    (fake_hub.Faults(limited="/storage/"), "Try again in 17 s"),
    (fake_hub.Faults(broken="/storage/"), "start it again to go on from there"),
    (fake_hub.Faults(spoilt=True), "checksum"),
)


def test_what_the_hub_says_is_told_and_the_token_is_nowhere(
    app: App,
    hub: fake_hub.Hub,  # noqa: F811
    tiny_llama: Path,
) -> None:
    before, here = app.workspace.shown.trace.id, app.workspace
    here.token = fake_hub.GOOD_TOKEN
    hub.repositories |= {"owner/closed": tiny_llama, "owner/states": tiny_llama}
    hub.gated.add("owner/closed")
    hub.let_in = False
    for source, faults, words in STATES:
        hub.faults = faults
        until(ask_for(app, source), words).assert_calm()
        answer = here.estimates.ask(model_choice.build_spec(here), 1, 1, here.token)
        assert app.tester.button(key="load").label == "Try again"
        search.nowhere(fake_hub.GOOD_TOKEN, [*visible(app), search.of_error(answer.error)], [answer])
        hub.faults = fake_hub.Faults()
        here.estimates.forget(model_choice.build_spec(here))
    until(ask_for(app, "owner/states"), "Needs ")
    for faults, words in WHEN_LOADED:
        hub.faults = faults
        app.click("load")
        assert words in app.html()
        search.nowhere(fake_hub.GOOD_TOKEN, [*visible(app), search.of_error(here.problem)], [here.problem, here.engine])
    hub.faults = fake_hub.Faults()
    ask_for(app, "owner/other")
    assert here.problem is None, "it was about another model"
    assert app.workspace.shown.trace.id == before
    assert any("Authorization" in headers for _, _, headers in hub.requests)
    here.token = ""


def test_reading_is_told_and_can_be_cancelled(app: App, sharded: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    read, go_on = reading._Weights.read, threading.Event()

    def slow(weights: Any, names: Any) -> None:
        read(weights, names)
        if weights._done > 50_000:
            assert go_on.wait(PATIENCE_S)

    monkeypatch.setattr(reading._Weights, "read", slow)
    app.type_model(str(sharded), settle=False)
    run = app.workspace.run
    end = time.monotonic() + PATIENCE_S
    while "reading model-00002-of" not in run.progress()[1]:
        assert time.monotonic() < end, run.progress()
        time.sleep(0.02)
    app.tester.run()
    assert "reading model-00002-of-00005.safetensors, file 2 of 5" in app.html()
    assert 0.2 < run.progress()[0] < 0.9
    app.tester.button(key="cancel").click().run()
    assert run.wait(PATIENCE_S)
    go_on.set()
    app.tester.run()
    assert "Cancelled. What was downloaded is kept" in app.html()
    assert app.workspace.spec == ModelSpec("demo")
    app.click("run").assert_calm()


def test_a_download_is_told_and_can_be_cancelled(app: App, hub: fake_hub.Hub) -> None:  # noqa: F811
    hub.faults.trickle = 0.05
    until(ask_for(app, "owner/sharded"), "Needs ")
    app.tester.button(key="load").click().run()
    run = app.workspace.run
    end = time.monotonic() + PATIENCE_S
    while " of " not in run.progress()[1]:
        assert time.monotonic() < end, run.progress()
        time.sleep(0.02)
    assert "file" in run.progress()[1]
    assert "kB" in run.progress()[1]
    app.tester.button(key="cancel").click().run()
    assert run.wait(PATIENCE_S)
    app.tester.run()
    assert "Cancelled" in app.html()
    assert app.workspace.spec == ModelSpec("demo")
    app.click("run")


def estimate(weights: int, free: int, remedies: tuple[str, ...] = ()) -> MemoryEstimate:
    return MemoryEstimate(weights, 0, 10**6, 2 * 10**6, 10**6, "cpu", {"cpu": free}, remedies=remedies)


def test_what_does_not_fit_is_told_before_loading(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    large = estimate(16 * 10**9, 10**9, ("4 bits (nf4) (5.2 GB)",))
    monkeypatch.setattr(estimates.iv, "estimate_memory", lambda *_, **__: large)
    until(ask_for(app, "owner/large"), "does not fit")
    assert "4 bits (nf4)" in app.html()
    assert app.tester.button(key="load").disabled


def test_addresses_on_the_hub_can_be_clicked_and_nothing_else() -> None:
    said = "Accept the terms on https://huggingface.co/owner/name-1.5. Not https://huggingface.com/x or <b>x</b>"
    shown = text.link_html(said)
    assert ">https://huggingface.co/owner/name-1.5</a>. Not" in shown
    assert shown.count("<a ") == 1
    assert "&lt;b&gt;" in shown
    assert "<a " not in text.link_html('https://huggingface.co/"onclick="x')


def test_words_of_the_cost_line() -> None:
    assert cost.describe_cost(estimate(0, 10**9), None) == "This run: 4 MB"
    assert cost.describe_cost(estimate(0, 10**9), 2.4) == "This run: about 2 s, 4 MB"
    told = cost.describe_cost(estimate(0, 3 * 10**6, ("a prompt of 5 tokens (1.0 MB)",)), 200.0)
    assert "about 3 min, 4 MB; 3 MB are free on cpu" in told
    assert told.endswith("It is too large: try a prompt of 5 tokens (1.0 MB).")


def test_how_it_is_loaded_goes_into_the_spec(app: App) -> None:
    app.type_model("owner/name@v2")
    for key, value in (("dtype", "bfloat16"), ("quantisation", "int8"), ("device_map", "cpu")):
        app.set("selectbox", key, value)
    assert model_choice.build_spec(app.workspace) == ModelSpec("owner/name", "v2", "bfloat16", "int8", "cpu")
    app.set("selectbox", "device_map", "offload")
    assert app.tester.selectbox(key="quantisation").disabled
    app.workspace.options["model"] = "owner/name"
    assert model_choice.build_spec(app.workspace).quantisation is None
    app.workspace.options["model"] = "/a/folder@home"
    assert model_choice.build_spec(app.workspace).source == "/a/folder@home"


def test_what_was_typed_is_remembered_and_opens_at_once(app: App, tiny_llama: Path, tiny_gpt2: Path) -> None:
    app.type_model(str(tiny_llama)).assert_calm()
    assert app.workspace.engine.model.n_layers == 3
    app.type_model(str(tiny_gpt2)).assert_calm()
    app.set("selectbox", "model", model_choice.DEMO)
    box = app.tester.selectbox(key="model")
    assert box.options[:3] == ["Demo model", tiny_gpt2.name, tiny_llama.name]
    assert f"Now: `{tiny_llama}`" not in box.help
    app.set("selectbox", "model", str(tiny_llama)).assert_calm()
    assert app.workspace.spec == ModelSpec(str(tiny_llama))
    assert f"Now: `{tiny_llama}`" in app.tester.selectbox(key="model").help


def test_paths_are_listed_by_their_last_part_where_that_says_which() -> None:
    names = ["demo", "/a/x.gguf", "/b/y", "/c/y", "~/z", "owner/name", "ollama:w"]
    assert model_choice._label(names, {"demo": "Demo model"}) == {
        "demo": "Demo model",
        "/a/x.gguf": "x",
        "/b/y": "/b/y",
        "/c/y": "/c/y",
        "~/z": "z",
        "owner/name": "owner/name",
        "ollama:w": "ollama:w",
    }


def test_an_old_picture_says_whose_it_is(app: App, tiny_llama: Path) -> None:
    assert '<span class="model" title=' in app.html()
    app.type_model(str(tiny_llama))
    assert f"still {app.workspace.shown.engine.model.name}<" in app.html()
    assert "the page shows what " in app.html()
    app.click("run").assert_calm()
    assert 'class="model old"' not in app.html()
    assert f">{tiny_llama.name}</span>" in app.html()
    assert app.tester.button(key="recent0").label.replace("\\", "").endswith(f"· {tiny_llama.name} · shown now")


def test_the_list_offers_known_models_and_any_other(app: App) -> None:
    listed = model_list.read_models()
    box = app.tester.selectbox(key="model")
    assert next(iter(listed.specs)) == model_choice.DEMO
    assert len(box.options) == len(listed.specs) > 7
    assert box.options[0] == "Demo model"
    packed = next(key for key, spec in listed.specs.items() if spec.quantisation == "nf4")
    app.set("selectbox", "model", packed)
    assert model_choice.build_spec(app.workspace) == listed.specs[packed]


def test_the_quicker_dtype_is_told_and_one_click_opens_the_model_in_it(
    app: App, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speeds = {"float32": ("bfloat16", 0.25), "bfloat16": ("float32", 4.0)}
    monkeypatch.setattr(cost, "SMALL", 0)
    monkeypatch.setattr(cost, "is_measured", lambda: True)
    monkeypatch.setattr(cost, "compare_dtypes", lambda dtype, *_: speeds[dtype])
    app.type_model(str(tiny_llama)).assert_calm()
    assert "about 4.0 times as fast in bfloat16" in app.html()
    app.click("other_dtype").assert_calm()
    assert app.workspace.spec == ModelSpec(str(tiny_llama), dtype="bfloat16")
    assert app.workspace.engine.model.dtype == "bfloat16"
    assert "times as fast" not in app.html(), "nothing is said where the other one is slower"


@pytest.fixture
def fixed(tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "models.toml"
    file.write_text(f'[[model]]\nsource = "{tiny_llama}"\nname = "Tiny"\n\n[[model]]\nsource = "demo"\n')
    monkeypatch.setenv("INTRAVISTO_MODELS_FILE", str(file))


def test_a_deployment_can_fix_the_list(fixed: None, open_app: Callable[..., App], tiny_llama: Path) -> None:
    app = open_app()
    app.assert_calm()
    assert app.workspace.spec == ModelSpec(str(tiny_llama))
    assert app.tester.selectbox(key="model").options == ["Tiny", "demo"]
    assert "hub_token" not in keys(app, "text_input")
    app.workspace.options.update(model="/etc")
    app.tester.run()
    app.settle().assert_calm()
    with pytest.raises(iv.ModelError, match="this server offers"):
        settings.read().check_model(ModelSpec("demo", dtype="float16"))


def test_badges_tell_only_what_a_model_lacks(app: App) -> None:
    assert 'class="lacks"' not in app.html()
    engine = app.workspace.engine
    failed = Check(False, 0.031, "heads are mixed after they were split.", 1e-5)
    capabilities = {**engine.model.capabilities, Capability.HEADS: failed}
    app.workspace.engine = SimpleNamespace(
        model=replace(engine.model, inferred=True, capabilities=capabilities),
        tokenize=engine.tokenize,
        estimate=engine.estimate,
        expected_seconds=engine.expected_seconds,
    )
    app.tester.run()
    app.workspace.engine = engine
    html = app.html()
    assert html.count('class="lacks"') == 1
    assert "heads are mixed after they were split. Measured error 0.0310, allowed 1e-05." in html
    assert ">inferred<" in html
    assert model_badges.describe_lack(Check(False, None, "no such part")) == "no such part."


def test_a_check_that_goes_on_is_told_and_a_model_refused_by_it_too(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = app.workspace.engine
    pending = {c: Check(False, None, "not checked yet", pending=True) for c in (Capability.HEADS, Capability.NEURONS)}
    card = replace(engine.model, capabilities={**engine.model.capabilities, **pending})
    ends: list[Exception] = [TimeoutError()]

    def finish(self: object, timeout: float | None = None) -> None:
        raise ends[0]

    monkeypatch.setattr(engine, "_card", card)
    monkeypatch.setattr(type(engine), "finish_check", finish)
    app.tester.run()
    app.assert_calm()
    assert ">still checking<" in app.html()
    assert "heads add up to attention; neurons add up to the MLP" in app.html()
    assert 'class="lacks"' not in app.html()
    ends[0] = iv.ModelError("demo: refused: a position sees a later one")
    app.tester.run()
    assert ">refused<" in app.html()
    assert ">still checking<" not in app.html()


def test_progress_in_words() -> None:
    run = Run(ModelSpec("owner/name"), None, "")
    assert run.progress() == (0.0, "Opening owner/name …")
    run._opening = SimpleNamespace(progress=iv.Progress(120_000_000, 480_000_000, "model.safetensors, file 2 of 3"))
    assert run.progress() == (0.25, "owner/name: model.safetensors, file 2 of 3 · 120 MB of 480 MB")
    run._opening = SimpleNamespace(progress=iv.Progress(text="reading the weights"))
    assert run.progress() == (0.0, "Opening owner/name … reading the weights")


def test_the_card_tells_what_is_particular(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = app.workspace.engine
    features = ("sliding window of 5 <positions>", "soft-cap 30")
    monkeypatch.setattr(engine, "_card", replace(engine.model, features=features))
    app.tester.switch_page("pages/model.py").run()
    app.assert_calm()
    assert "sliding window of 5 &lt;positions&gt;; soft-cap 30" in app.html()
