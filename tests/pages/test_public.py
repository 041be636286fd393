"""The public mode: fixed models, limits on prompt, continuation and queue; one's own machine has none of them."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from intravisto_core.errors import BusyError, ModelError, RequestError
from intravisto_core.request import MAX_NEW_TOKENS, Generation, ModelSpec, TraceRequest
from intravisto_ui.session import jobs, settings
from tests.pages.conftest import App


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("PUBLIC", "1"), ("PROMPT_TOKENS", "20"), ("NEW_TOKENS", "12"), ("QUEUE", "0")):
        monkeypatch.setenv(f"INTRAVISTO_{name}", value)


def words(text: str, *_: object, messages: tuple[tuple[str, str], ...] = (), **__: object) -> list[str]:
    return " ".join([*(said for _, said in messages), text]).split()


def test_on_ones_own_machine_nothing_is_limited() -> None:
    own = settings.read({})
    assert own == settings.Settings()
    own.check_model(ModelSpec("/any/folder", dtype="float32"))
    own.check_request(TraceRequest("a " * 5000, Generation(1024)), words)
    own.check_queue(1000)


def test_limits_come_from_the_environment() -> None:
    read = settings.read({"INTRAVISTO_PUBLIC": "yes", "INTRAVISTO_MODELS": "demo, /srv/tiny ", "INTRAVISTO_QUEUE": "3"})
    assert read.models == (ModelSpec("demo"), ModelSpec("/srv/tiny"))
    assert (read.prompt_tokens, read.new_tokens, read.queue) == (256, 64, 3)
    assert settings.name("/srv/tiny") == "tiny"
    beyond = {"INTRAVISTO_PUBLIC": "1", "INTRAVISTO_NEW_TOKENS": "99999"}
    assert settings.read(beyond).new_tokens == MAX_NEW_TOKENS
    with pytest.raises(RequestError, match="INTRAVISTO_QUEUE"):
        settings.read({"INTRAVISTO_PUBLIC": "1", "INTRAVISTO_QUEUE": "many"})


def test_other_models_are_refused_without_naming_paths() -> None:
    read = settings.read({"INTRAVISTO_PUBLIC": "1", "INTRAVISTO_MODELS": "/srv/secret/tiny"})
    for spec in (ModelSpec("demo"), ModelSpec("/srv/secret/tiny", dtype="float16")):
        with pytest.raises(ModelError) as refused:
            read.check_model(spec)
        assert "tiny" in str(refused.value)
        assert "secret" not in str(refused.value)
    read.check_model(ModelSpec("/srv/secret/tiny"))


@pytest.mark.parametrize(
    "request_",
    [
        TraceRequest("a " * 300),
        TraceRequest("a" * 100_000),
        TraceRequest(tuple(range(300))),
        TraceRequest("a", chat=True, messages=(("system", "a " * 300),)),
        TraceRequest("a", chat=True, messages=(("system", "a" * 100_000),)),
        TraceRequest("a", Generation(65)),
        TraceRequest("a", Generation(forced="b " * 65)),
        TraceRequest("a", Generation(forced=tuple(range(65)))),
    ],
)
def test_what_is_too_long_is_refused(request_: TraceRequest) -> None:
    with pytest.raises(RequestError, match="public server"):
        settings.read({"INTRAVISTO_PUBLIC": "1"}).check_request(request_, words)


def test_a_full_queue_is_refused() -> None:
    read = settings.read({"INTRAVISTO_PUBLIC": "1"})
    read.check_queue(20)
    with pytest.raises(BusyError, match="21 runs"):
        read.check_queue(21)


def ended(run: jobs.Run) -> Exception | None:
    run.start()
    assert run.wait(30)
    return run.error


def test_a_run_holds_to_the_list_and_the_queue_by_itself(public: None, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    job = SimpleNamespace(place=1, cancel=lambda: said.append("cancelled"), result=lambda: "trace")
    engine = SimpleNamespace(tokenize=words, submit=lambda *_, **__: job)
    opening = SimpleNamespace(result=lambda: engine, cancel=lambda: None)
    monkeypatch.setattr(jobs, "pool", lambda: SimpleNamespace(open=lambda *_, **__: opening))
    refused = ended(jobs.Run(ModelSpec("/etc"), TraceRequest("a"), "one"))
    assert isinstance(refused, ModelError)
    assert isinstance(ended(jobs.Run(ModelSpec("demo"), TraceRequest("a " * 21), "one")), RequestError)
    assert not said
    assert isinstance(ended(jobs.Run(ModelSpec("demo"), TraceRequest("a"), "one")), BusyError)
    assert said == ["cancelled"], "it does not wait in the queue after all"
    job.place = 0
    fine = jobs.Run(ModelSpec("demo"), TraceRequest("a"), "one")
    assert ended(fine) is None
    assert fine.trace == "trace"


def test_the_public_page_offers_no_folder_and_short_texts(public: None, open_app: Callable[..., App]) -> None:
    app = open_app()
    app.assert_calm()
    assert app.workspace.shown is not None
    assert app.tester.selectbox(key="model").options == ["demo model"]
    assert app.tester.number_input(key="max_new_tokens").max == 12
    app.set("text_area", "prompt", "one two three " * 20).click("run")
    assert "at most 20 tokens on this public server" in app.html()
    assert app.workspace.shown.request.prompt != app.workspace.options["prompt"]


def test_a_model_forced_into_the_options_is_not_opened(public: None, open_app: Callable[..., App]) -> None:
    app = open_app()
    app.workspace.options.update(model="another model", source="/etc")
    app.tester.run()
    app.settle().assert_calm()
    assert app.workspace.spec == ModelSpec("demo")
