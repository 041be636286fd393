"""Changed but not run, failed, cancelled: the page says so, and what was there stays."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from intravisto_core.errors import Cancelled, IntravistoError
from intravisto_ui.parts import frame, problems
from intravisto_ui.session import workspace
from intravisto_ui.session.jobs import Run
from intravisto_ui.sidebar import model_choice, sidebar
from tests.pages.conftest import App


def test_changed_but_not_run(app: App) -> None:
    app.set("text_area", "prompt", "1 2 3")
    assert "Changed, not run" in app.html()
    app.click("run")
    assert "Changed, not run" not in app.html()
    assert app.workspace.shown.request.prompt == "1 2 3"
    app.assert_calm()


def test_example_runs_at_once_and_says_what_to_look_for(app: App) -> None:
    app.tester.button_group(key="example").set_value("Sequence").run()
    app.settle().assert_calm()
    assert app.workspace.shown.request.prompt == "1 2 3 4 5 6"
    assert app.workspace.shown.request.generation.max_new_tokens == 4
    assert "says the number after" in app.html()


def fails(app: App, *words: str) -> None:
    """The box says these words; the last trace is still there and can still be looked at."""
    assert isinstance(app.workspace.problem, IntravistoError)
    text = app.html()
    for word in words:
        assert word in text
    assert not app.tester.exception
    before = app.workspace.shown.trace.id
    app.pick("colour", 1)
    assert app.workspace.shown.trace.id == before
    assert "box inline" not in app.html()
    assert "intravisto_grid" in app.components()


def test_empty_prompt(app: App) -> None:
    app.set("text_area", "prompt", "")
    assert "The prompt is empty" in app.html()
    fails(app.click("run"), "cannot be run", "at least one token")


def test_prompt_beyond_the_context_names_both_lengths(app: App) -> None:
    app.set("text_area", "prompt", "the " * 200)
    context = app.workspace.engine.model.context
    assert f"at most {context}" in app.html()
    fails(app.click("run"), str(context), "20")


def test_running_again_clears_the_box(app: App) -> None:
    app.set("text_area", "prompt", "").click("run")
    app.set("text_area", "prompt", "1 2 3").click("run").assert_calm()


def test_box_can_be_put_away(app: App) -> None:
    app.set("text_area", "prompt", "").click("run").click("dismiss")
    assert "cannot be run" not in app.html()


def broken(folder: Path, kind: str, tiny: Path) -> Path:
    """A folder that cannot be opened, for one reason."""
    if kind == "unknown":
        return folder / "nowhere"
    config = json.loads((tiny / "config.json").read_text())
    if kind == "family":
        config |= {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]}
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_text((tiny / name).read_text())
    if kind == "pickle":
        (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    if kind == "corrupt":
        (folder / "model.safetensors").write_bytes(b"not weights")
    if kind == "family":
        (folder / "model.safetensors").write_bytes((tiny / "model.safetensors").read_bytes())
    return folder


@pytest.mark.parametrize("kind", ["unknown", "empty", "family", "pickle", "corrupt"])
def test_folder_that_cannot_be_opened(app: App, kind: str, tmp_path: Path, tiny_llama: Path) -> None:
    app.type_model(str(broken(tmp_path, kind, tiny_llama)))
    fails(app)
    app.set("selectbox", "model", model_choice.DEMO).click("run").assert_calm()


def test_local_folder_opens_and_runs(app: App, tiny_llama: Path) -> None:
    app.type_model(str(tiny_llama))
    app.assert_calm()
    assert app.workspace.engine.model.n_layers == 3
    assert "Changed, not run" in app.html()
    app.click("run").assert_calm()
    assert app.workspace.shown.engine.model.n_layers == 3
    assert app.tester.select_slider(key="rows_3").value == (0, 4)


def test_sampling_goes_into_the_request(app: App) -> None:
    app.tester.button_group(key="decoding").set_value("sample").run()
    app.set("number_input", "temperature", 0.7).set("number_input", "top_k", 5).set("number_input", "seed", 3)
    app.click("run").assert_calm()
    generation = app.workspace.shown.request.generation
    assert (generation.temperature, generation.top_k, generation.top_p, generation.seed) == (0.7, 5, None, 3)


def test_greedy_has_no_sampling_options(app: App) -> None:
    assert app.tester.number_input(key="temperature").disabled
    assert app.workspace.shown.request.generation.temperature is None


def test_forced_text_and_stop(app: App) -> None:
    app.set("text_input", "forced", " Paris.").set("text_area", "stop", "\\n").click("run").assert_calm()
    shown = app.workspace.shown
    assert shown.request.generation.stop == ("\n",)
    assert shown.trace.text.endswith("Paris.") or " Paris" in shown.trace.text


def test_no_generation_shows_the_prompt_alone(app: App) -> None:
    app.set("number_input", "max_new_tokens", 0).click("run").assert_calm()
    assert len(app.workspace.shown.trace.tokens) == app.workspace.shown.trace.prompt_length


def test_one_token_alone(app: App) -> None:
    app.set("number_input", "max_new_tokens", 0).set("toggle", "add_special_tokens", False)
    app.set("text_area", "prompt", "the").click("run").assert_calm()


class Endless(Run):
    """A run that goes on until it is cancelled."""

    def _open_and_run(self) -> None:
        while not self._cancelled.is_set():
            time.sleep(0.005)
        raise Cancelled("cancelled")


def test_running_dims_the_picture_and_can_be_cancelled(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "Run", Endless)
    before = app.workspace.shown
    app.tester.button(key="run").click().run()
    assert frame.DIMMED in app.html()
    assert 'role="progressbar"' in app.html()
    assert "intravisto_grid" in app.components()
    app.tester.selectbox(key="colour").select_index(1).run()
    assert app.workspace.run is not None, "an option does not end a run"
    app.tester.button(key="cancel").click().run()
    app.settle()
    assert "Cancelled before there was anything to show" in app.html()
    assert frame.DIMMED not in app.html()
    assert app.workspace.shown is before


def test_a_run_that_was_cut_short_says_so(app: App) -> None:
    shown = app.workspace.shown
    short = SimpleNamespace(cancelled=True, tokens=shown.trace.tokens[:14], prompt_length=shown.trace.prompt_length)
    shown.trace, whole = short, shown.trace
    try:
        assert "Cancelled after 2 of 10 tokens: 14 positions" in sidebar._status_html(app.workspace)
    finally:
        shown.trace = whole


def test_a_new_run_cancels_the_one_before(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "Run", Endless)
    app.tester.button(key="run").click().run()
    first = app.workspace.run
    app.workspace.start(first.spec, first.request)
    assert first.wait(120)
    app.workspace.run.cancel()
    app.settle()


def test_unforeseen_error_names_its_kind_only(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    from intravisto_ui.heatmap import picture

    def fall(*_: object, **__: object) -> None:
        raise KeyError("a secret detail")

    monkeypatch.setattr(picture, "_draw_grid", fall)
    app.pick("lens", 2)
    assert "KeyError" in app.html()
    assert "secret detail" not in app.html()
    assert not app.tester.exception
    monkeypatch.undo()
    app.pick("lens", 3).assert_calm()


def test_token_text_stays_literal(app: App) -> None:
    app.set("text_area", "prompt", "<s> <br> %{y} $x$ <script>alert(1)</script>").click("run").assert_calm()
    assert "<script>" not in app.html()
    assert "<br>" not in app.html()


def test_lapsed_workspaces_are_closed(open_app: Callable[..., App]) -> None:
    from intravisto_ui.session.workspaces import Workspaces

    store = Workspaces(lifetime_s=-1.0)
    old = store.new()
    assert store.find(old.id) is None


def test_every_error_kind_has_words() -> None:
    for kind, _ in problems.TITLES:
        title, text = problems.describe_error(kind("why"))
        assert title
        assert text == "why"
