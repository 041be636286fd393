"""What the server's environment says before any page is drawn. It imports no model library: the server starts first."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from intravisto_core.errors import RequestError, expected

PUBLIC = "INTRAVISTO_PUBLIC"
FRAME_ANCESTORS = "INTRAVISTO_FRAME_ANCESTORS"
SPACE = "SPACE_ID"
"""Hugging Face sets it in every Space."""
SPACE_FRAMES = ("https://huggingface.co",)
_ORIGIN = re.compile(r"https?://(?:\*\.)?[A-Za-z0-9.-]+(?::\d+)?")


def is_public(given: Mapping[str, str]) -> bool:
    """Whether strangers use this server."""
    return given.get(PUBLIC, "").strip().lower() in ("1", "true", "yes", "on")


def frame_ancestors(environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Origins beside this server's own whose pages may show the app in a frame.

    They are those of INTRAVISTO_FRAME_ANCESTORS, separated by spaces. Without that variable a Hugging Face Space allows
    huggingface.co, which shows it in a frame, and every other server allows none.

    Raises:
        RequestError: the variable names something else than origins.
    """
    given = os.environ if environment is None else environment
    if FRAME_ANCESTORS not in given:
        return SPACE_FRAMES if given.get(SPACE) else ()
    found = tuple(given[FRAME_ANCESTORS].split())
    for origin in found:
        if not _ORIGIN.fullmatch(origin):
            raise RequestError(
                expected(FRAME_ANCESTORS, "origins such as https://example.org, separated by spaces", origin)
            )
    return found
