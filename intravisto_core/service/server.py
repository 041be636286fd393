"""The service in one process: an HTTP server around the models that it holds."""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from dataclasses import asdict

import uvicorn

from intravisto_core.engine.limits import Limits
from intravisto_core.errors import RequestError, expected
from intravisto_core.request import ModelSpec
from intravisto_core.service.clients import Clients, check_address
from intravisto_core.service.host import Host
from intravisto_core.service.http import build_app
from intravisto_core.service.limits import ServiceLimits

# open connections, and what may wait to be accepted
MOST_CONNECTIONS = 512
IDLE_S = 65
STOP_S = 10


def check_port(host: str, port: int) -> None:
    """Whether a server could listen there.

    Raises:
        RequestError: it could not; says why.
    """
    try:
        family, kind, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(place)
    except OSError as error:
        wanted = "an address of this machine, and a port that nobody listens to"
        got = f"{host}:{port} ({error.strerror or error})"
        raise RequestError(expected("port", wanted, got, "Choose another with --port or --host")) from None


def make_server(
    models: Mapping[str, ModelSpec],
    clients: Clients,
    host: str = "127.0.0.1",
    port: int = 8400,
    limits: ServiceLimits | None = None,
    of_request: Limits | None = None,
    memory: int | None = None,
) -> uvicorn.Server:
    """A server that is ready to run. of_request: what one request may ask. memory: bytes of weights loaded at once.

    Raises:
        RequestError: it would listen to others without tokens.
    """
    check_address(host, clients)
    allowed, asked = limits or ServiceLimits(), of_request or Limits()
    backend = Host(models, asked, allowed.most_answer, memory)
    told = {name: value for name, value in asdict(asked).items() if value is not None}
    # its log of requests has addresses, no bodies; what fails inside is logged by where it failed
    config = uvicorn.Config(
        build_app(backend, clients, allowed, told),
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=STOP_S,
        limit_concurrency=MOST_CONNECTIONS,
        server_header=False,
    )
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    return uvicorn.Server(config)
