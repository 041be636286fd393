"""How a layer is drawn, as settings with a name: a JSON file that page and command line read and write."""

from __future__ import annotations

import json
from dataclasses import asdict, fields

from intravisto_core.errors import RequestError, expected
from intravisto_core.request.base import frozen_request
from intravisto_core.request.checks import check, check_whole
from intravisto_core.request.layer import MOST_ROWS
from intravisto_core.sites import LayerWidth, RankPalette, TokenOrder

LONGEST_NAME = 80
LARGEST_FILE = 100_000


@frozen_request
class LayerSettings:
    """name: what they are called. palette: what ranks are coloured by. All others: as in `LayerView`."""

    name: str = ""
    width: LayerWidth = LayerWidth.SIZE
    heads: int | None = None
    neurons: int = 10
    sources: int = 3
    order: TokenOrder = TokenOrder.ANGLE
    features: int = 10
    palette: RankPalette = RankPalette.DIVERGING

    def __post_init__(self) -> None:
        check(len(self.name) <= LONGEST_NAME, "name", f"at most {LONGEST_NAME} characters", len(self.name))
        check_whole(self.sources, "sources", 1, MOST_ROWS)
        for name in ("heads", "neurons", "features"):
            check_whole(getattr(self, name), name, 0, MOST_ROWS)


def write_settings(settings: LayerSettings) -> bytes:
    """The file of settings."""
    plain = {name: value if isinstance(value, int | None) else str(value) for name, value in asdict(settings).items()}
    return json.dumps(plain, indent=1, ensure_ascii=False).encode()


def read_settings(body: bytes) -> LayerSettings:
    """The settings in a file; what it leaves out has its usual value.

    Raises:
        RequestError: it is no JSON object, or has something else or a wrong value.
    """
    names = [f.name for f in fields(LayerSettings)]
    allowed = f"a JSON object with some of {', '.join(names)}"
    try:
        if len(body) > LARGEST_FILE:
            raise ValueError
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise RequestError(expected("settings", allowed, body[:80])) from None
    if not isinstance(found, dict) or not set(found) <= set(names):
        raise RequestError(expected("settings", allowed, found))
    return LayerSettings(**found)
