"""The page of saved runs: keep, find, open without the model, rename, delete with undo, import; and who may not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import intravisto_core as iv
from intravisto_ui.parts.frame import is_dimmed
from intravisto_ui.saved import run_file
from intravisto_ui.session import kept_runs
from intravisto_ui.session.jobs import Run
from intravisto_ui.session.kept_runs import KeptRuns, find_kept_runs
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.workspace import Workspace
from tests.pages.conftest import App
from tests.pages.test_attention import packets

PAGE = "pages/saved.py"


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeptRuns:
    monkeypatch.setenv("INTRAVISTO_HOME", str(tmp_path / "home"))
    found = find_kept_runs()
    assert found is not None
    return found


def words(app: App) -> str:
    return " ".join(str(element.proto.body) for element in app.tester.get("html"))


def visit(app: App) -> App:
    app.tester.switch_page(PAGE).run()
    assert not app.tester.exception
    return app


def press(app: App, label: str) -> App:
    next(button for button in app.tester.button if button.label == label).click().run()
    assert not app.tester.exception
    return app


def test_a_run_is_kept_found_opened_renamed_and_deleted(shelf: KeptRuns) -> None:
    app = visit(App())
    assert "No run is kept yet" in words(app)
    app.tester.text_input(key="saved_name").set_value("Italy <b>")
    app.tester.text_input(key="saved_tags").set_value("capitals,  a fact ,capitals")
    press(app, "Keep this run")
    (kept,) = shelf.list_runs()
    assert (kept.name, kept.tags, kept.model, kept.edited) == ("Italy <b>", ("capitals", "a fact"), "demo", False)
    assert kept.text.startswith("Q: What is the capital of Italy?")
    visit(app)
    assert "Italy &lt;b&gt;" in words(app)
    assert "<b>Italy <b>" not in words(app)

    app.tester.text_input(key="saved_search").set_value("FACT italy").run()
    assert "Italy &lt;b&gt;" in words(app)
    app.tester.text_input(key="saved_search").set_value("Berlin").run()
    assert "No saved run holds “Berlin”" in words(app)
    app.tester.text_input(key="saved_search").set_value("").run()

    shelf.change(kept, "Rome", "the answer comes in layer 4", kept.tags)
    visit(app)
    assert "the answer comes in layer 4" in words(app)

    app.tester.button(key=f"saved_delete_{kept.id}").click().run()
    assert shelf.list_runs() == []
    app.tester.button(key="saved_undo_it").click().run()
    assert [run.name for run in shelf.list_runs()] == ["Rome"]


def test_a_saved_run_is_shown_without_its_model(shelf: KeptRuns, tmp_path: Path, tiny_llama: Path) -> None:
    engine = iv.open_model(str(tiny_llama))
    trace = engine.trace("ab c!ab", max_new_tokens=2)
    path = trace.save(tmp_path / "tiny.intravisto", ["heatmap", "shares", "logits", "attention"])
    engine.close()
    kept = shelf.take_in(path.read_bytes(), path.name)
    assert kept.name == "tiny"
    app = visit(App())
    app.tester.button(key=f"saved_open_{kept.id}").click().run()
    assert not app.tester.exception
    workspace = app.workspace
    assert workspace.shows_saved
    assert workspace.base is not None
    assert workspace.base.trace.tokens == trace.tokens
    assert app.tester.text_area(key="prompt").value == "ab c!ab"
    assert "A saved run, without its model" in words(app)
    app.tester.switch_page("pages/heatmap.py").run()
    assert any(each.key == "grid" for each in app.tester.get("bidi_component"))
    app.tester.switch_page("pages/attention.py").run()
    assert not app.tester.exception
    sent = packets(app)
    assert set(sent) == {"steer", "cube weights", "types"}
    assert not any("error" in packet for packet in sent.values())
    # what the file does not hold is said in place; Run opens the model and fills it
    app.tester.switch_page("pages/flow.py").run()
    assert not app.tester.exception
    assert "The saved run does not hold this" in words(app)
    app.tester.button(key="run").click().run()
    app.settle()
    assert not app.workspace.shows_saved
    assert app.workspace.base is not None
    assert [t.id for t in app.workspace.base.trace.tokens] == [t.id for t in trace.tokens]


def test_a_run_that_was_kept_answers_the_pages_that_were_looked_at(shelf: KeptRuns) -> None:
    app = App()
    app.tester.switch_page("pages/flow.py").run()
    visit(app)
    press(app, "Keep this run")
    (kept,) = shelf.list_runs()
    app.tester.button(key=f"saved_open_{kept.id}").click().run()
    for page in ("heatmap", "flow"):
        app.tester.switch_page(f"pages/{page}.py").run()
        assert not app.tester.exception
        assert "does not hold this" not in words(app), page


@pytest.mark.parametrize("content", [b"", b"x" * 100, b"PK\x03\x04"])
def test_what_is_no_run_is_not_taken_in(shelf: KeptRuns, content: bytes) -> None:
    with pytest.raises(iv.IntravistoError):
        shelf.take_in(content, "x.intravisto")
    assert list(shelf._folder.iterdir()) == []


def test_a_large_file_is_refused_unread(shelf: KeptRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_runs, "MOST_IMPORTED", 1 << 20)
    with pytest.raises(iv.RequestError, match="at most 1 MB"):
        shelf.take_in(bytes(2 << 20), "x")


@pytest.mark.parametrize("id", ["../../etc/passwd", "", "0" * 15, "0" * 15 + "/", "g" * 16])
def test_ids_lead_nowhere_else(shelf: KeptRuns, id: str) -> None:
    for act in (shelf.open, shelf.read_file, shelf.delete, shelf.restore):
        with pytest.raises(iv.RequestError):
            act(id)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"id": "0"}', "[" * 100_000, '{"id": 3, "name": 4, "tags": [5]}'])
def test_damaged_descriptions_are_left_alone(shelf: KeptRuns, text: str) -> None:
    (shelf._folder / f"{'0' * 16}.json").write_text(text)
    assert shelf.list_runs() == []


def test_strangers_keep_nothing_on_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTRAVISTO_HOME", str(tmp_path))
    monkeypatch.setenv("INTRAVISTO_PUBLIC", "1")
    assert find_kept_runs() is None
    assert list(tmp_path.iterdir()) == []


def test_a_saved_run_of_an_edit_says_what_it_is_and_offers_no_edits(
    shelf: KeptRuns, tmp_path: Path, tiny_llama: Path
) -> None:
    engine = iv.open_model(str(tiny_llama))
    edit = iv.Ablate(iv.Site.ATTN_OUT, layer=1, positions=(-1,))
    path = engine.trace("ab c!ab", interventions=[edit]).save(tmp_path / "tiny.intravisto", ["heatmap"])
    engine.close()
    kept = shelf.take_in(path.read_bytes(), path.name)
    app = visit(App())
    app.tester.button(key=f"saved_open_{kept.id}").click().run()
    app.tester.switch_page("pages/injection.py").run()
    assert not app.tester.exception
    assert "saved run, edited" in words(app)
    assert "made with 1 edit: layer 1" in words(app)
    assert "The baseline" not in words(app)
    assert not any(button.key == "edit_add" for button in app.tester.button)


def test_keeping_a_run_says_how_far_it_is(shelf: KeptRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    app = visit(App())
    plain = run_file.save_run

    def save_run(workspace: Workspace, shown: Shown, path: Path, report: Callable[[int, int], object]) -> Path:
        def tell(done: int, total: int) -> None:
            told.append((done, total))
            report(done, total)

        return plain(workspace, shown, path, report=tell)

    monkeypatch.setattr(run_file, "save_run", save_run)
    press(app, "Keep this run")
    total = told[-1][1]
    assert told == [(done, total) for done in range(total + 1)]
    assert total > 10
    assert len(shelf.list_runs()) == 1


def test_a_saved_picture_is_dimmed_while_another_prompt_is_run(shelf: KeptRuns) -> None:
    app = visit(App())
    press(app, "Keep this run")
    (kept,) = shelf.list_runs()
    app.tester.button(key=f"saved_open_{kept.id}").click().run()
    workspace, shown = app.workspace, app.workspace.base
    assert workspace.shows_saved
    assert shown is not None
    for prompt, dimmed in ((shown.request.prompt, False), ("Something else", True)):
        workspace.run = Run(shown.spec, replace(shown.request, prompt=prompt), workspace.id)
        assert is_dimmed(workspace) is dimmed
    workspace.run = None
    assert not is_dimmed(workspace)
