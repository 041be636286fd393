"""Which layout of a saved run this program writes, and how older ones are brought to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from intravisto_core.errors import TraceError, expected

Manifest = dict[str, Any]

SCHEMA = 1

# the function of a number takes a manifest of that schema to the next one; it changes no array
MIGRATIONS: dict[int, Callable[[Manifest], Manifest]] = {}


def bring_up_to_date(manifest: Manifest) -> Manifest:
    """A manifest in today's layout.

    Raises:
        TraceError: it is of a newer schema, or of none.
    """
    schema = manifest.get("schema")
    if type(schema) is not int or schema < 1:
        raise TraceError(expected("saved run", f"a schema from 1 to {SCHEMA}", schema))
    if schema > SCHEMA:
        raise TraceError(
            f"saved run: expected schema {SCHEMA} or older; got {schema}. A newer InTraVisTo wrote it: update this one"
        )
    for number in range(schema, SCHEMA):
        manifest = MIGRATIONS[number](manifest)
    return manifest
