"""“Why this token?”: the runner-up, and the updates that raised the one over the other."""

from __future__ import annotations

import numpy as np
import pytest

from intravisto_core.figures.numbers import probability
from intravisto_core.request import NextTokensView, UpdateView
from intravisto_ui.heatmap import why
from tests.pages.conftest import App


def ask(app: App, target: int) -> App:
    trace = app.workspace.shown.trace
    chosen = {"row": 7, "position": target - 1, "target": target, "rev": trace.id, "n": 60}
    app.workspace.select(chosen)
    app.tester.run()
    return app


def test_the_runner_up_is_named_with_both_odds(app: App) -> None:
    shown = app.workspace.shown
    target = shown.trace.prompt_length
    ask(app, target).assert_calm()
    odds = shown.engine.view(NextTokensView(shown.trace.id, target - 1, n=2), session=app.workspace.id)
    rival = next(int(i) for i in odds.token_ids if i != shown.trace.tokens[target].id)
    assert "Why <span" in app.html()
    assert odds.shown[rival].lstrip("␣") in app.html()
    assert "the runner-up" in app.html()
    own = dict(zip(odds.token_ids.tolist(), odds.model.tolist(), strict=True))
    for p in (own[shown.trace.tokens[target].id], own[rival]):
        assert probability(p).replace(" ", "\u00a0") in app.html()


def test_the_strongest_steps_are_listed_and_lead_to_their_cells(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = app.workspace.shown
    target = shown.trace.prompt_length
    ask(app, target)
    odds = shown.trace.next_tokens(target - 1, n=2)
    rival = next(int(i) for i in odds.token_ids if i != shown.trace.tokens[target].id)
    steps = why._find_steps(app.workspace, app.workspace.shown, target - 1, (shown.trace.tokens[target].id, rival))
    strongest = sorted((step.change for step in steps), reverse=True)[: why.LISTED]
    listed = app.panel("why_steps")["steps"]["entries"]
    np.testing.assert_allclose([entry["value"] for entry in listed], strongest, rtol=1e-6)
    by_strength = sorted(steps, key=lambda step: -step.change)
    put: dict[str, object] = {}
    monkeypatch.setattr(why, "set_kept", put.update)
    why._open_step(app.workspace, by_strength, 1)
    place = app.workspace.selection
    assert (place.row, place.position, place.target) == (by_strength[1].row, target - 1, target)
    assert put == {"cell_part": by_strength[1].component}


def test_steps_are_what_each_update_promoted(app: App) -> None:
    shown = app.workspace.shown
    target = shown.trace.prompt_length
    ask(app, target)
    asked = UpdateView(shown.trace.id, "mlp", 3, target - 1, 32)
    ids = shown.engine.view(asked, session=app.workspace.id).promoted_ids[:2].tolist()
    checked = 0
    for step in why._find_steps(app.workspace, app.workspace.shown, target - 1, tuple(ids)):
        asked = UpdateView(shown.trace.id, step.component, step.row, target - 1, 32)
        update = shown.engine.view(asked, session=app.workspace.id)
        told = dict(zip(update.promoted_ids.tolist(), update.promoted.tolist(), strict=True))
        if ids[0] in told and ids[1] in told:
            np.testing.assert_allclose(step.change, told[ids[0]] - told[ids[1]], rtol=1e-3, atol=1e-4)
            checked += 1
    assert checked


def test_a_prompt_token_asks_nothing(app: App) -> None:
    assert "Why <span" not in app.html()


def test_bytes_of_a_character_are_told_apart_too(app: App) -> None:
    app.tester.text_area(key="prompt").set_value("日本").run()
    app.click("run").assert_calm()
    trace = app.workspace.shown.trace
    assert trace.tokens[2].kind == "bytes"
    app.workspace.select({"row": 3, "position": 1, "target": 2, "rev": trace.id, "n": 70})
    app.tester.run()
    app.assert_calm()
    assert "intravisto_panel" in app.components()
    assert "Why <span" in app.html()
