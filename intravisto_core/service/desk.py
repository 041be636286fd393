"""What all routes share: who asks, which model and job are meant, and how a refusal is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.responses import JSONResponse

from intravisto_core.engine.answers import read_error
from intravisto_core.errors import (
    BusyError,
    IntravistoError,
    LostTraceError,
    ServiceError,
    TooLargeError,
    expected,
)
from intravisto_core.request import ModelSpec
from intravisto_core.service.backend import Backend
from intravisto_core.service.book import Book
from intravisto_core.service.clients import Clients, Refused
from intravisto_core.service.entry import Entry
from intravisto_core.service.limits import ServiceLimits
from intravisto_core.service.metrics import Metrics

NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
STATUS: tuple[tuple[type[IntravistoError], int], ...] = (
    (TooLargeError, 413),
    (BusyError, 429),
    (LostTraceError, 404),
    (ServiceError, 503),
    (IntravistoError, 400),
)


@dataclass(frozen=True, slots=True)
class Desk:
    """One service. told: limits of one request, as clients are told them."""

    backend: Backend
    clients: Clients
    limits: ServiceLimits
    metrics: Metrics
    book: Book
    told: Mapping[str, Any] = field(default_factory=dict)

    def choose_model(self, name: Any) -> str:
        """The model that is meant; the only one where none is named.

        Raises:
            Refused: there is none of that name; says which there are.
        """
        names = list(self.backend.models)
        if name is None and len(names) == 1:
            return names[0]
        if not isinstance(name, str) or name not in self.backend.models:
            raise Refused(404, expected("model", names, name if isinstance(name, str) else "none"))
        return name

    def find_entry(self, client: str, id: str) -> Entry:
        """A client's own job.

        Raises:
            Refused: there is none, or it is somebody else's: no answer tells which.
        """
        entry = self.book.find(client, id)
        if entry is None:
            raise Refused(404, "job: expected the id of one of yours that is known; got another one. Send it again")
        return entry

    def told_models(self) -> dict[str, ModelSpec]:
        """The models as clients hear of them: by their names, without a folder of this machine."""
        return {name: _without_folders(name, spec) for name, spec in self.backend.models.items()}

    def refuse(self, status: int, error: Mapping[str, str], after: float | None = None) -> JSONResponse:
        """A refusal as a response. after: seconds to wait."""
        self.metrics.refused.labels(str(status)).inc()
        headers = dict(NO_STORE)
        if after is not None:
            headers["Retry-After"] = str(int(after) + 1)
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse({"error": dict(error)}, status, headers)


def find_desk(request: Request) -> Desk:
    """The service that a request came to."""
    desk: Desk = request.app.state.desk
    return desk


def find_client(request: Request) -> str:
    """Who asks.

    Raises:
        Refused: nobody who may.
    """
    headers = request.headers
    return find_desk(request).clients.find(headers.get("authorization"), headers.get("host"))


Client = Annotated[str, Depends(find_client)]
At = Annotated[Desk, Depends(find_desk)]


def find_status(error: IntravistoError) -> int:
    """The HTTP status of an error."""
    return next(status for kind, status in STATUS if isinstance(error, kind))


def status_of(error: Mapping[str, str]) -> int:
    """The same of one as `write_error` wrote it."""
    return find_status(read_error(error))


def _without_folders(name: str, spec: ModelSpec) -> ModelSpec:
    base = None if spec.base is None else spec.base.rstrip("/").rpartition("/")[2]
    return replace(spec, source=name, base=base)
