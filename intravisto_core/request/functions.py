"""A function of the user's own inside a run. It lives in this process alone, and so does a request that holds one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, ClassVar

from intravisto_core.errors import RequestError, expected
from intravisto_core.request.base import frozen_request
from intravisto_core.request.checks import check
from intravisto_core.request.modules import ModulePath
from intravisto_core.request.phrases import name_positions
from intravisto_core.request.positions import Positions
from intravisto_core.sites import EditKind, Site


def count_arguments(fn: Callable[..., Any]) -> int:
    """How many arguments a function must be given by position; 1 where that cannot be known.

    Raises:
        RequestError: neither 1 nor 2.
    """
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        return 1
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = sum(p.kind in by_place and p.default is p.empty for p in parameters)
    if not needed and any(p.kind in (*by_place, inspect.Parameter.VAR_POSITIONAL) for p in parameters):
        return 1
    if needed not in (1, 2):
        raise RequestError(expected("fn", "fn(x) or fn(x, seen)", f"a function of {needed} arguments"))
    return needed


def _read_function(value: Any, name: str) -> Any:
    check(callable(value), name, "a function of x, or of x and seen", value)
    count_arguments(value)
    return value


Function = Annotated[Any, _read_function]


@frozen_request
class Apply:
    """A function inside the pass, at a site of a layer or at any module: `fn(x)` or `fn(x, seen)`.

    It is called once for the prompt and once for each generated token, on the thread of the model, and returns the new
    value, or None where it only looked. x is a copy in the model's dtype: (chosen positions, width), at `z` (heads,
    positions, d_head); with `module` what the module returned, batch axis first (of one prompt 1), or with
    `"path:input"` its first input. seen[site, layer] and seen[path] are what was computed before in this pass;
    seen.prompt(0) is that of another prompt of `engine.traces`.

    positions: as of other interventions; with `module` all of them are given.
    """

    kind: ClassVar[EditKind] = EditKind.INJECTED
    trace_source: ClassVar[None] = None
    prompt_source: ClassVar[None] = None
    site: Site | None = None
    layer: int | None = None
    positions: Positions = "all"
    fn: Function = None
    module: ModulePath | None = None

    def __post_init__(self) -> None:
        if self.module is not None:
            placed = self.site is None and self.layer is None and self.positions == "all"
            check(placed, "Apply", "a module alone, or a site with a layer and positions; not both", self.module)
            return
        check(self.site is not None and self.layer is not None, "Apply", "a site and a layer, or a module", self.site)
        computed = (Site.PATTERN, Site.HEAD_OUT, Site.Q, Site.K, Site.V)
        if self.site in computed:
            allowed = [site for site in Site if site not in computed]
            raise RequestError(
                expected("site", allowed, str(self.site), "Queries, keys and values change with module=, before RoPE")
            )

    @property
    def name(self) -> str:
        """What the function is called."""
        return str(getattr(self.fn, "__qualname__", None) or type(self.fn).__name__)

    def describe_place(self) -> str:
        """`layer 3, attn_out`, or the path of the module."""
        return self.module or f"layer {self.layer}, {self.site}"

    def describe(self, read: Callable[[int], str], main: str) -> str:
        """Where it acts and what it does, in words; see `in_words`."""
        where = self.module or f"{name_positions(self.positions, read)}, {self.site.label if self.site else ''}"
        return f"{where}: the function {self.name}"
