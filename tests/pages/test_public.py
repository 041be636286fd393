"""The public mode: fixed models, limits on prompt, continuation and queue; one's own machine has none of them."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from intravisto_core.engine.limits import Limits
from intravisto_core.errors import ModelError, RequestError
from intravisto_core.request import MAX_NEW_TOKENS, ModelSpec, TraceRequest
from intravisto_ui.session import jobs, settings
from tests.pages.conftest import App


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("PUBLIC", "1"), ("PROMPT_TOKENS", "20"), ("NEW_TOKENS", "12"), ("QUEUE", "0")):
        monkeypatch.setenv(f"INTRAVISTO_{name}", value)


def test_on_ones_own_machine_nothing_is_limited() -> None:
    own = settings.read({})
    assert own == settings.Settings()
    own.check_model(ModelSpec("/any/folder", dtype="float32"))
    assert own.limits() == Limits()


def test_limits_come_from_the_environment() -> None:
    read = settings.read({"INTRAVISTO_PUBLIC": "yes", "INTRAVISTO_MODELS": "demo, /srv/tiny ", "INTRAVISTO_QUEUE": "3"})
    assert read.models == (ModelSpec("demo"), ModelSpec("/srv/tiny"))
    assert (read.prompt_tokens, read.new_tokens, read.queue) == (256, 64, 3)
    limits = read.limits()
    assert (limits.prompt_tokens, limits.new_tokens, limits.queue) == (256, 64, 3)
    assert (limits.prompts, limits.seconds) == (16, 120)
    assert None not in (limits.tokens_typed, limits.pinned_bytes, limits.pinned_bytes_a_session)
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


def ended(run: jobs.Run) -> Exception | None:
    run.start()
    assert run.wait(120)
    return run.error


def test_a_run_holds_to_the_list_by_itself(public: None, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[ModelSpec] = []
    monkeypatch.setattr(jobs, "pool", lambda: SimpleNamespace(open=lambda spec, **_: opened.append(spec)))
    assert isinstance(ended(jobs.Run(ModelSpec("/etc"), TraceRequest("a"), "one")), ModelError)
    assert not opened


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
    app.workspace.options.update(model="/etc")
    app.tester.run()
    app.settle().assert_calm()
    assert app.workspace.spec == ModelSpec("demo")
