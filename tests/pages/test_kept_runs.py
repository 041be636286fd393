"""The shelf of kept runs where things go wrong: many runs, a full disk, a folder that cannot be written to."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import NoReturn

import pytest

import intravisto_core as iv
from intravisto_ui.first_run.show import FILE
from intravisto_ui.saved.page import MOST_AT_ONCE
from intravisto_ui.session import kept_runs
from intravisto_ui.session.kept_runs import GONE, GONE_KEPT_S, KeptRuns
from tests.pages.conftest import App
from tests.pages.test_saved import press, shelf, visit, words

__all__ = ["shelf"]


def keep(shelf: KeptRuns, name: str = "a run") -> kept_runs.KeptRun:
    return shelf.keep(name, lambda path: shutil.copy(FILE, path))


def files(shelf: KeptRuns) -> list[str]:
    return sorted(file.name for file in shelf._folder.iterdir())


def test_of_many_runs_the_newest_are_drawn(shelf: KeptRuns) -> None:
    first = keep(shelf)
    for i in range(2 * MOST_AT_ONCE):
        other = replace(first, id=f"{i:016x}", name=f"run {i}", saved=first.saved - 1 - i)
        (shelf._folder / f"{other.id}.json").write_text(json.dumps(asdict(other)))
        (shelf._folder / f"{other.id}.intravisto").touch()
    assert len(shelf.list_runs()) == 2 * MOST_AT_ONCE + 1
    app = visit(App())

    def drawn() -> int:
        return sum(button.label == "Delete" for button in app.tester.button)

    assert drawn() == MOST_AT_ONCE
    assert f"{2 * MOST_AT_ONCE + 1} runs" in words(app)
    press(app, f"Show more: {MOST_AT_ONCE + 1} are older")
    assert drawn() == 2 * MOST_AT_ONCE
    app.tester.text_input(key="saved_search").set_value("run 49").run()
    assert drawn() == 1, "a search looks at all of them"


def test_a_description_is_read_again_when_it_changed(shelf: KeptRuns) -> None:
    run = keep(shelf)
    assert [r.name for r in shelf.list_runs()] == ["a run"]
    changed = shelf.change(run, "another name", "", ())
    place = shelf._folder / f"{run.id}.json"
    os.utime(place, ns=(time.time_ns(), time.time_ns()))
    assert [r.name for r in shelf.list_runs()] == ["another name"]
    assert changed.id == run.id


def test_a_run_that_cannot_be_described_leaves_no_file_behind(shelf: KeptRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: object, content: bytes) -> NoReturn:
        raise iv.RequestError("no space left on device")

    monkeypatch.setattr(kept_runs, "write_file", full)
    with pytest.raises(iv.RequestError, match="no space"):
        keep(shelf)
    assert files(shelf) == []


def test_undo_works_for_an_old_run_too(shelf: KeptRuns) -> None:
    run = keep(shelf)
    long_ago = time.time() - 2 * GONE_KEPT_S
    for name in files(shelf):
        os.utime(shelf._folder / name, (long_ago, long_ago))
    shelf.delete(run.id)
    other = keep(shelf, "another")  # which clears away what was deleted days ago
    shelf.restore(run.id)
    assert {r.name for r in shelf.list_runs()} == {"a run", "another"}
    shelf.delete(other.id)
    for name in files(shelf):
        if name.endswith(GONE):
            os.utime(shelf._folder / name, (long_ago, long_ago))
    keep(shelf, "a third")
    with pytest.raises(iv.RequestError, match="gone for good"):
        shelf.restore(other.id)


def test_a_folder_that_cannot_be_written_to_is_said(shelf: KeptRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    run = keep(shelf)

    def refuse(*_: object) -> NoReturn:
        raise OSError(30, "Read-only file system")

    app = visit(App())
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refuse)
        with pytest.raises(iv.RequestError, match="Read-only file system"):
            shelf.delete(run.id)
        app.tester.button(key=f"saved_delete_{run.id}").click().run()
        assert not app.tester.exception
    assert "Read-only file system" in " ".join(e.value for e in app.tester.error) + words(app)
    assert [r.name for r in shelf.list_runs()] == ["a run"]
