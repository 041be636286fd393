"""What fails inside is logged by its kind and its place. What an error says may hold somebody's text."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path
from typing import Any

from fastapi.responses import JSONResponse

from intravisto_core.engine.answers import write_error
from intravisto_core.errors import ServiceError

logger = logging.getLogger("intravisto.service")


def name_failure(error: BaseException) -> ServiceError:
    """Log an error that nobody foresaw, and say it in words: its kind and the line where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    words = f"{type(error).__name__}{place}"
    logger.error("failed inside: %s", words)
    return ServiceError(f"service: expected an answer; the work on it failed inside ({words}). Report it")


class Guard:
    """An ASGI app around another one: an error that nobody foresaw is answered in words, and logged by its place."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        begun = False

        async def watch(message: Any) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception as error:
            failure = name_failure(error)
            if scope["type"] == "http" and not begun:
                await JSONResponse({"error": write_error(failure)}, 500)(scope, receive, send)
            elif begun:
                # half an answer: the connection must break, so that nobody takes it for a whole one
                raise ConnectionError(str(failure)) from None
