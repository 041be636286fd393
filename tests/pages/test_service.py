"""The app with the models of a service in place of its own (INTRAVISTO_ENGINE)."""

from __future__ import annotations

from typing import Any

import intravisto_core as iv
from intravisto_core.engine.remote import RemoteEngine
from tests.service.serving import WAIT_S


def test_the_app_works_with_a_service(monkeypatch: Any, service: str, open_app: Any) -> None:
    monkeypatch.setenv("INTRAVISTO_ENGINE", service)
    monkeypatch.setattr("intravisto_ui.session.remote_pool.LISTING_S", WAIT_S)
    app = open_app()
    app.assert_calm()
    engine = app.workspace.engine
    assert isinstance(engine, RemoteEngine)
    assert engine.url == service
    assert list(app.tester.selectbox(key="model").options)[:2] == ["demo model", "llama"]
    assert app.picture()["rows"]
    for page in ("pages/flow.py", "pages/explain.py", "pages/layer.py"):
        app.tester.switch_page(page).run()
        app.settle().assert_calm()


def test_a_service_that_does_not_answer_is_named(monkeypatch: Any, open_app: Any) -> None:
    from intravisto_ui.session import remote_pool

    monkeypatch.setattr(remote_pool, "PATIENCE_S", 0.1)
    monkeypatch.setattr(remote_pool, "LISTING_S", 0.1)
    monkeypatch.setenv("INTRAVISTO_ENGINE", "http://127.0.0.1:9")
    app = open_app()
    assert not app.tester.exception
    assert "expected a service that answers" in str(app.workspace.problem)


def test_pages_do_not_wait_again_and_again_for_a_service_that_is_not_there(monkeypatch: Any) -> None:
    from intravisto_ui.session import remote_pool

    asked: list[str] = []

    def refuse(connection: Any) -> dict[str, iv.ModelSpec]:
        asked.append(connection.url)
        raise iv.ServiceError("nobody answers")

    monkeypatch.setattr(remote_pool, "list_models", refuse)
    pool = remote_pool.RemotePool("http://127.0.0.1:9")
    assert [pool.models() for _ in range(5)] == [()] * 5
    assert asked == ["http://127.0.0.1:9"]
    monkeypatch.setattr(remote_pool, "PATIENCE_S", 0.1)
    job = pool.open(iv.ModelSpec("demo"))
    assert job.progress.text == "Waiting for the service at http://127.0.0.1:9"
    # once it was left alone for a while it is asked again
    monkeypatch.setattr(pool, "_spared", 0.0)
    monkeypatch.setattr(remote_pool, "list_models", lambda connection: {"demo": iv.ModelSpec("demo")})
    assert pool.models() == (iv.ModelSpec("demo"),)
