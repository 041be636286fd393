"""Templates and tokenizers that take long: others go on, and a cancel ends them at once."""

from __future__ import annotations

import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

import intravisto_core as iv
from intravisto_core import limited
from intravisto_core.chat_template import ChatTemplate
from intravisto_core.limited import LimitedProgram, Stop
from intravisto_core.models.files.tokenizer_limits import LimitedTokenizer
from intravisto_core.request import AttributionView, Generation, HeatmapView, TraceBatch, TraceRequest
from intravisto_core.sites import JobState
from intravisto_core.tokens import TokenReader
from intravisto_core.tracing import preparing as turns

WAIT_S = 60
FOR_EVER = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
ENDLESS = (
    "{% if 'loop' in messages[0].content %}" + FOR_EVER + "{% endif %}"
    "{% for m in messages if m.role != 'system' %}{{ m.content }}{% endfor %}"
)


@pytest.fixture
def engine(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch):
    """A model whose template never ends on one word, and would be stopped after a minute only."""
    opened = iv.open_model(tiny_llama)
    model = opened.kept_traces.model
    monkeypatch.setattr(model.tokenizer, "chat_template", ENDLESS)
    source = model.reader._template_source()
    monkeypatch.setattr(model.reader, "_written_for", (source, ChatTemplate(source, {}, seconds=WAIT_S)))
    yield opened
    opened.close()


def started(job: iv.Job) -> None:
    """Wait until the job has had a turn."""
    deadline = time.monotonic() + WAIT_S
    while job.state is JobState.QUEUED and time.monotonic() < deadline:
        time.sleep(0.01)
    assert job.state is JobState.RUNNING


def preparing() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "intravisto-preparing"]


def test_an_endless_template_holds_nobody_up_and_ends_at_its_cancel(engine):
    slow = engine.submit(TraceRequest("loop", chat=True), session="one")
    started(slow)
    assert engine.trace("ab", max_new_tokens=2).tokens, "somebody else is served meanwhile"
    assert engine.trace("ab", chat=True).text.endswith("ab"), "by the template, too"
    assert slow.state is JobState.RUNNING
    slow.cancel()
    with pytest.raises(iv.Cancelled):
        slow.result(timeout=WAIT_S / 2)
    assert slow.state is JobState.CANCELLED
    for thread in preparing():
        thread.join(WAIT_S / 2)
    assert not preparing(), "its process was ended long before its time"


def test_what_is_forced_by_a_slow_tokenizer_is_cancelled_too(engine, monkeypatch):
    model = engine.kept_traces.model
    asked = threading.Event()

    def endless(self: LimitedProgram, what: object) -> object:
        asked.set()
        with limited._heeded.get().ending(asked.clear):
            while asked.is_set():
                time.sleep(0.01)

    reader = TokenReader(LimitedTokenizer(model.tokenizer))
    monkeypatch.setattr(LimitedProgram, "ask", endless)
    monkeypatch.setattr(engine.kept_traces, "model", replace(model, reader=reader))
    slow = engine.submit(TraceRequest((1, 2, 3), Generation(2, forced="ab")))
    assert asked.wait(WAIT_S)
    slow.cancel()
    with pytest.raises(iv.Cancelled):
        slow.result(timeout=WAIT_S / 2)
    assert not asked.is_set(), "what was waited for was ended"


@pytest.fixture
def stuck(engine, monkeypatch):
    """The same model with a limited tokenizer that never ends on "stuck": set while it is waited for."""
    asked, honest = threading.Event(), LimitedProgram.ask

    def ask(self: LimitedProgram, what: object) -> object:
        if not isinstance(what, dict) or what.get("text") != "stuck":
            return honest(self, what)
        asked.set()
        until = time.monotonic() + WAIT_S
        with limited._heeded.get().ending(asked.clear):
            while asked.is_set() and time.monotonic() < until:
                time.sleep(0.01)

    # whoever waits for a tokenizer has several turns
    monkeypatch.setattr(turns, "_TURN_S", 0.001)
    model = engine.kept_traces.model
    reader = TokenReader(LimitedTokenizer(model.tokenizer))
    monkeypatch.setattr(LimitedProgram, "ask", ask)
    monkeypatch.setattr(engine.kept_traces, "model", replace(model, reader=reader))
    return asked


def asks_with_a_token(trace: iv.Trace) -> list[object]:
    replaced = iv.Replace("resid_post", 1, [0], token="stuck")
    return [
        HeatmapView(trace.id, watch=("stuck",)),
        AttributionView(trace.id, "a", "stuck"),
        TraceRequest("ab", interventions=(replaced,)),
        TraceBatch((TraceRequest("ab", interventions=(replaced,)),)),
    ]


@pytest.mark.parametrize("n", range(4))
def test_a_typed_token_that_takes_long_holds_nobody_up_and_ends_at_its_cancel(engine, stuck, n):
    trace = engine.trace("ab")
    slow = engine.submit(asks_with_a_token(trace)[n])
    assert stuck.wait(WAIT_S)
    assert trace.heatmap(watch="c").watch, "others are served meanwhile"
    assert engine.trace("cab").tokens
    assert slow.state is JobState.RUNNING
    slow.cancel()
    with pytest.raises(iv.Cancelled):
        slow.result(timeout=WAIT_S / 2)
    assert not stuck.is_set(), "what was waited for was ended"


def test_the_same_ids_in_turns_and_at_once(engine):
    for request in (TraceRequest("ab", chat=True), TraceRequest("ab " * 10)):
        at_once = engine.tokenize(request.prompt, chat=request.chat)
        assert engine.trace(request.prompt, chat=request.chat).tokens == at_once
    with pytest.raises(iv.RequestError, match="leaves out the text of the system"):
        engine.trace("ab", chat=True, messages=(("system", "c"),))


def test_a_stop_asked_before_ends_what_comes_after():
    program, stop = LimitedProgram({"template": "{{ messages }}", "variables": {}}), Stop()
    with stop.heeded():
        assert program.ask([1]) == "[1]"
        stop.ask()
        with pytest.raises(iv.Cancelled):
            program.ask([1])
    assert program.ask([2]) == "[2]", "another thread, or the same one later, is served"


@pytest.mark.parametrize(
    ("template", "said"),
    [("{% if %}", "TemplateSyntaxError"), ("{{ messages | no_such_filter }}", "no_such_filter"), (ENDLESS, "")],
)
def test_a_template_that_cannot_be_read_is_said_when_the_model_is_opened(tiny_llama, tmp_path, template, said):
    folder = Path(shutil.copytree(tiny_llama, tmp_path / "model"))
    (folder / "chat_template.jinja").write_text(template)
    engine = iv.open_model(folder)
    try:
        noted = [note for note in engine.model.notes if "its chat template cannot be read" in note]
        assert len(noted) == bool(said)
        if said:
            assert said in noted[0]
            with pytest.raises(iv.RequestError, match="template cannot be read"):
                engine.trace("a", chat=True)
    finally:
        engine.close()


def test_reading_a_template_runs_nothing_of_it():
    template = ChatTemplate(FOR_EVER, {})
    assert template.what_is_broken() == ""
    assert template._program._idle == [], "and leaves no process behind"
