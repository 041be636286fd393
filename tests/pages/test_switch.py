"""Another model is chosen while a run is under way."""

from __future__ import annotations

from pathlib import Path

from intravisto_core.errors import Cancelled
from intravisto_core.request import Generation, ModelSpec, TraceRequest
from intravisto_ui.session.pool import pool
from intravisto_ui.session.workspace import Workspace
from tests.browser import deep

WAIT_S = 120


def ended(here: Workspace) -> None:
    assert here.run is not None
    assert here.run.wait(WAIT_S)
    assert here.collect_run()


def test_the_run_on_the_old_model_is_cancelled_and_the_new_one_is_shown(tmp_path: Path) -> None:
    old = ModelSpec(str(deep.write(tmp_path / "deep")))
    here = Workspace("somebody")
    here.start(old, None)
    ended(here)
    here.start(old, TraceRequest("ab", Generation(1000)))
    running = here.run
    assert running is not None
    while running._job is None or running.progress()[0] == 0:
        assert not running.wait(0.01)
    here.start(ModelSpec("demo"), TraceRequest("1 2 3", Generation(2)))
    ended(here)
    assert here.spec == ModelSpec("demo")
    assert here.problem is None
    assert here.notice == ""
    assert here.shown is not None
    assert here.shown.engine.model.name == pool().lease(ModelSpec("demo"), session="somebody").model.name
    assert len(here.shown.trace.tokens) == here.shown.trace.prompt_length + 2
    assert running.wait(WAIT_S)
    assert isinstance(running.error, Cancelled) or (running.trace is not None and running.trace.cancelled)
    first = pool().lease(old, session="somebody")
    assert not first.busy, "the model that was left does nothing any more"
    here.close()
    assert not first.kept_traces.store._pins
