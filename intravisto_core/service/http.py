"""The service as a FastAPI app around any backend."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from intravisto_core import __version__
from intravisto_core.engine.answers import write_error
from intravisto_core.errors import IntravistoError, expected
from intravisto_core.service import job_routes, model_routes
from intravisto_core.service.backend import Backend, Gone
from intravisto_core.service.book import Book
from intravisto_core.service.clients import Clients, Refused
from intravisto_core.service.desk import NO_STORE, At, Client, Desk, find_desk, find_status
from intravisto_core.service.failures import Guard
from intravisto_core.service.limits import ServiceLimits
from intravisto_core.service.metrics import Metrics
from intravisto_core.service.page import write_page

routes = APIRouter(tags=["service"])


def build_app(
    backend: Backend,
    clients: Clients,
    limits: ServiceLimits | None = None,
    told: Mapping[str, Any] | None = None,
    secret: bytes | None = None,
) -> FastAPI:
    """The app. told: limits of one request, as clients are told them. secret: see `Book`; None makes one."""
    allowed, metrics = limits or ServiceLimits(), Metrics()
    book = Book(backend, clients, allowed, metrics, secret or secrets.token_bytes())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        sweeping = asyncio.create_task(book.keep_swept())
        yield
        sweeping.cancel()
        await book.close()

    # FastAPI's own pages load scripts from another server
    app = FastAPI(
        title="InTraVisTo",
        version=__version__,
        description="A language model traced for many: requests as jobs, records as answers.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(Guard)
    app.state.desk = Desk(backend, clients, allowed, metrics, book, told or {})
    for each in (routes, job_routes.routes, model_routes.routes):
        app.include_router(each)
    app.add_exception_handler(Refused, _on_refused)
    app.add_exception_handler(IntravistoError, _on_error)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(Gone, _on_gone)
    return app


@routes.get("/health")
async def health() -> JSONResponse:
    """Whether the service answers."""
    return JSONResponse({"status": "ok", "version": __version__}, headers=NO_STORE)


@routes.get("/metrics")
async def metrics(client: Client, desk: At) -> Response:
    """For Prometheus."""
    desk.book.sweep()
    return Response(desk.metrics.write(), media_type="text/plain; version=0.0.4", headers=NO_STORE)


@routes.get("/", include_in_schema=False)
async def home() -> RedirectResponse:
    """Whoever opens the address in a browser is led to what there is."""
    return RedirectResponse("docs", headers=NO_STORE)


@routes.get("/docs", include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    """What the service answers."""
    return HTMLResponse(write_page(request.app.openapi()), headers=NO_STORE)


async def _on_refused(request: Request, error: Any) -> JSONResponse:
    kind = {413: "TooLargeError", 401: "ServiceError", 403: "ServiceError"}.get(error.status, "RequestError")
    return find_desk(request).refuse(error.status, {"kind": kind, "message": str(error)})


async def _on_error(request: Request, error: Any) -> JSONResponse:
    return find_desk(request).refuse(find_status(error), write_error(error), getattr(error, "after", None))


async def _on_http(request: Request, error: Any) -> JSONResponse:
    message = str(error.detail)
    if error.status_code in (404, 405):
        wanted = "one of the addresses, each with its methods, that /docs lists"
        message = expected("address", wanted, f"{request.method} {request.url.path[:80]}")
    return find_desk(request).refuse(error.status_code, {"kind": "RequestError", "message": message})


async def _on_invalid(request: Request, error: Any) -> JSONResponse:
    places = ", ".join(".".join(map(str, each["loc"])) for each in error.errors())
    message = f"request: expected other values of {places}"
    return find_desk(request).refuse(400, {"kind": "RequestError", "message": message})


async def _on_gone(request: Request, error: Any) -> JSONResponse:
    lost = {"kind": "ServiceError", "message": "service: a machine was lost; ask again"}
    return find_desk(request).refuse(503, lost, 1.0)
