"""How a program finds the models of a service."""

from __future__ import annotations

import json
import os

from intravisto_core.engine.connection import Connection, Unreachable
from intravisto_core.engine.remote import RemoteEngine
from intravisto_core.errors import RequestError, ServiceError, expected
from intravisto_core.request import ModelSpec, from_json

TOKEN = "INTRAVISTO_TOKEN"
PATIENCE_S, AT_ONCE_S = 60.0, 0.5


def connect(
    url: str, model: str | None = None, token: str | None = None, *, patience: float = PATIENCE_S
) -> RemoteEngine:
    """The engine of a service that `intravisto serve` runs; see docs/service.md.

    model: of those that it offers; None where it offers one. token: else INTRAVISTO_TOKEN serves. patience: seconds for
    which a service that does not answer is asked again, before that is an error.

    Raises:
        ServiceError: nobody answers there, or the token is refused.
        RequestError: no address, or no model of those that there are; the message lists them.
    """
    connection = Connection(url, token or os.environ.get(TOKEN), patience)
    specs = list_models(connection)
    if model is None and len(specs) != 1:
        raise RequestError(expected("model", f"one of {', '.join(specs)}, since this service offers several", "none"))
    if model is not None and (not isinstance(model, str) or model not in specs):
        raise RequestError(expected("model", list(specs), model))
    return RemoteEngine(connection, model or next(iter(specs)))


def is_there(url: str) -> bool:
    """Whether somebody answers at an address now; what is answered is no matter.

    Raises:
        RequestError: it is no address.
    """
    try:
        list_models(Connection(url, os.environ.get(TOKEN), AT_ONCE_S))
    except Unreachable:
        return False
    except ServiceError:
        pass
    return True


def list_models(connection: Connection) -> dict[str, ModelSpec]:
    """What a service offers, by name.

    Raises:
        IntravistoError: see `connect`.
    """
    try:
        listed = connection.ask("GET", "/v1/models")["models"]
        found = {str(each["name"]): from_json(json.dumps(each["spec"])) for each in listed}
    except (KeyError, TypeError):
        found = {}
    if not found or not all(isinstance(spec, ModelSpec) for spec in found.values()):
        raise ServiceError(f"{connection.url}: expected a service with models; got something else. Check the address")
    return found
