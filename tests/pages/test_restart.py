"""A restarted server finds its people again: prompts, edits, options and earlier runs, by the address."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path

import pytest

import intravisto_core as iv
from intravisto_ui.session import journal, restart
from intravisto_ui.session.workspace import Workspace
from intravisto_ui.session.workspaces import workspaces
from tests.pages.conftest import App

EDIT = iv.Ablate(site="attn_out", layer=2, positions=(3,))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INTRAVISTO_HOME", str(tmp_path))
    return tmp_path / "workspaces"


def restarted(id: str) -> App:
    """The app at an address of a server that was started anew."""
    gone = workspaces()._kept.pop(id)
    gone.close()
    return App(w=id)


def used(home: Path) -> App:
    """Two prompts were run, an edit made, a lens chosen and a cell selected."""
    app = App()
    app.set("text_area", "prompt", "The language spoken in Madrid is")
    app.tester.button(key="run").click().run()
    app.settle()
    app.set("selectbox", "lens", iv.Lens.LINEAR)
    app.workspace.edits.add(EDIT)
    app.workspace.select_cell(3, 2)
    app.workspace.token = "hf_secret"
    app.tester.run()
    return app


def test_the_same_address_brings_everything_back(home: Path) -> None:
    before = used(home)
    id, ran = before.workspace.id, [past.request for past in before.workspace.past]
    after = restarted(id).workspace
    assert after.id == id
    assert after.base is not None
    assert after.base.request == ran[0]
    assert [card.what for card in after.edits.cards] == [EDIT]
    assert after.options["lens"] is iv.Lens.LINEAR
    assert (after.selection.row, after.selection.position) == (3, 2)
    assert [request for _, request in after.remembered] == ran
    assert "started anew" in after.notice


def test_an_earlier_run_is_made_again_when_it_is_asked_for(home: Path) -> None:
    id = used(home).workspace.id
    app = restarted(id)
    first = app.workspace.remembered[1][1]
    button = next(b for b in app.tester.button if "capital of Italy" in b.label)
    button.click().run()
    app.settle()
    assert app.workspace.base is not None
    assert app.workspace.base.request == first


def test_only_small_plain_things_are_written_and_for_this_user_alone(home: Path) -> None:
    app = used(home)
    (file,) = home.glob("*.json")
    text = file.read_text()
    assert len(text) < 20_000
    assert "hf_secret" not in text
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    assert set(json.loads(text)) == {"intravisto_workspace", "ran", "edits", "options", "choices", "asked", "cell"}
    restart.forget(app.workspace)
    assert list(home.glob("*.json")) == []
    assert len(app.workspace.past) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        "[" * 100_000,
        '{"intravisto_workspace": 2}',
        '{"intravisto_workspace": 1, "ran": [["{}", "{}"]]}',
        '{"intravisto_workspace": 1, "ran": [], "edits": {"cards": [{"edit": {"kind": "ModelSpec"}}]}, "options": {}}',
    ],
)
def test_a_damaged_entry_is_none(home: Path, text: str) -> None:
    home.mkdir()
    (home / "damaged_entry.json").write_text(text)
    assert journal.read("damaged_entry") is None
    assert "no longer kept" in App(w="damaged_entry").workspace.notice


@pytest.mark.parametrize("id", ["", None, "../secret", "a/b/c/d/e", "x" * 65, "short", ".hidden_file"])
def test_an_address_leads_to_no_other_file(home: Path, id: str | None) -> None:
    home.mkdir()
    (home.parent / "secret.json").write_text("{}")
    assert journal.read(id) is None
    journal.write(str(id), "{}")
    assert list(home.iterdir()) == []


def test_old_and_many_entries_go(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "MOST_FILES", 3)
    for number in range(5):
        journal.write(f"workspace_{number}", "{}")
        os.utime(home / f"workspace_{number}.json", (time.time() - 100 + number,) * 2)
    assert sorted(file.stem for file in home.iterdir()) == ["workspace_2", "workspace_3", "workspace_4"]
    os.utime(home / "workspace_4.json", (0, 0))
    assert journal.read("workspace_4") is None
    journal.write("workspace_5", "{}")
    assert not (home / "workspace_4.json").exists()


def test_the_oldest_go_where_all_are_too_large(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "MOST_BYTES_IN_ALL", journal.MOST_BYTES + 2500)
    for number in range(4):
        journal.write(f"workspace_{number}", " " * 1000)
        os.utime(home / f"workspace_{number}.json", (time.time() - 100 + number,) * 2)
    assert sorted(file.stem for file in home.iterdir()) == ["workspace_1", "workspace_2", "workspace_3"]


def test_nothing_is_kept_where_nothing_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTRAVISTO_HOME", str(tmp_path))
    monkeypatch.setenv("INTRAVISTO_PUBLIC", "1")
    journal.write("workspace_1", "{}")
    monkeypatch.setenv("INTRAVISTO_PUBLIC", "")
    monkeypatch.setenv("INTRAVISTO_HOME", "off")
    journal.write("workspace_1", "{}")
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_folder_does_not_disturb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("INTRAVISTO_HOME", str(blocked))
    journal.write("workspace_1", "{}")
    restart.write_down(Workspace("workspace_1"))
