"""A service in a thread of the tests' own process, and waiting for what comes about."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import intravisto_core as iv
from intravisto_core.service.clients import Clients
from intravisto_core.service.server import make_server

T = TypeVar("T")
# for what comes about on any machine, however much else it has to do
WAIT_S = 900.0
OFTEN_S = 0.02


def wait_until(found: Callable[[], T]) -> T:
    """What a function gives once that is true."""
    until = time.monotonic() + WAIT_S
    while not (value := found()):
        assert time.monotonic() < until
        time.sleep(OFTEN_S)
    return value


@contextmanager
def serving(
    models: Mapping[str, iv.ModelSpec], clients: Clients | None = None, port: int = 0, **options: Any
) -> Iterator[str]:
    """The address of a service that runs inside the block. options: of `make_server`."""
    server = make_server(models, clients or Clients(), port=port, **options)
    thread = threading.Thread(target=server.run, name="service", daemon=True)
    thread.start()
    wait_until(lambda: server.started or not thread.is_alive())
    assert server.started
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(WAIT_S)
        assert not thread.is_alive()
