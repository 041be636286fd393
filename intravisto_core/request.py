"""What can be asked of an engine: frozen, hashable, JSON-able; each checks itself when built."""

from __future__ import annotations

import dataclasses
import json
import math
import operator
from dataclasses import dataclass, field
from typing import Any, get_args

from intravisto_core.errors import RequestError, expected
from intravisto_core.sites import Component, Lens, NormPolicy, Reading, ShareMeasure, Site

DTYPES = ("auto", "float32", "bfloat16", "float16")
DEVICES = ("auto", "cpu", "cuda")
TOP_K_KEPT = 32
MAX_NEW_TOKENS = 1024


def _set(request: object, **values: object) -> None:
    for name, value in values.items():
        object.__setattr__(request, name, value)


def _check(ok: bool, what: str, allowed: str, got: object) -> None:
    if not ok:
        raise RequestError(expected(what, allowed, got))


@dataclass(frozen=True, slots=True)
class Span:
    """Rows or positions from `start` up to, not with, `stop`. Negatives count from the end."""

    start: int
    stop: int


Selection = Span | tuple[int, ...] | None


def _selection(value: Any, name: str) -> Selection:
    if value is None or isinstance(value, Span):
        return value
    return _whole(value, name, "a Span, a list of whole numbers, or None for all")


def _whole(value: Any, name: str, allowed: str) -> tuple[int, ...]:
    """A list of whole numbers (NumPy's too) as a tuple."""
    try:
        return tuple(operator.index(v) for v in value)
    except TypeError:
        raise RequestError(expected(name, allowed, value)) from None


def _is_whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _texts(value: Any) -> tuple[Any, ...]:
    """One text alone counts as a list of one."""
    try:
        return (value,) if isinstance(value, str) else tuple(value)
    except TypeError:
        raise RequestError(expected("texts", "a list of texts", value)) from None


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Which model, and how it is loaded.

    source: "demo" or a local folder. dtype: one of `DTYPES`; "auto" takes the checkpoint's own.
    device_map: one of `DEVICES`; "auto" takes the GPU where there is one.
    """

    source: str = "demo"
    dtype: str = "auto"
    device_map: str = "auto"

    def __post_init__(self) -> None:
        _set(self, source=str(self.source))
        _check(self.dtype in DTYPES, "dtype", "one of " + ", ".join(DTYPES), self.dtype)
        _check(self.device_map in DEVICES, "device_map", "one of " + ", ".join(DEVICES), self.device_map)


@dataclass(frozen=True, slots=True)
class Generation:
    """How the text goes on after the prompt. Greedy unless a temperature is given.

    max_new_tokens: 0 to 1,024. temperature: above 0, or None for greedy. top_k, top_p: cut-offs before drawing.
    seed: of the counter generator (docs/methods.md §8). stop: token ids, or texts that end the run where they appear.
    forced: a text, or token ids, that the continuation begins with; it is run whole even if `max_new_tokens` is less.
    """

    max_new_tokens: int = 0
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0
    stop: tuple[int | str, ...] = ()
    forced: str | tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        n, t, k, p = self.max_new_tokens, self.temperature, self.top_k, self.top_p
        _check(_is_whole(n, 0, MAX_NEW_TOKENS), "max_new_tokens", f"0 to {MAX_NEW_TOKENS}", n)
        _check(t is None or (_is_number(t) and t > 0), "temperature", "a number above 0, or None for greedy", t)
        _check(k is None or _is_whole(k, 1, 2**31), "top_k", "a whole number from 1, or None", k)
        _check(p is None or (_is_number(p) and 0 < p <= 1), "top_p", "a number above 0, at most 1, or None", p)
        _check(_is_whole(self.seed, 0, 2**63 - 1), "seed", "a whole number from 0", self.seed)
        _check(
            t is not None or (k is None and p is None),
            "temperature",
            "a number, since top_k or top_p is set",
            t,
        )
        _set(self, stop=_texts(self.stop))
        _check(all(s != "" for s in self.stop), "stop", "token ids or texts that are not empty", self.stop)
        if self.forced is not None and not isinstance(self.forced, str):
            _set(self, forced=_whole(self.forced, "forced", "a text, token ids, or None"))


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """One run of the model over a prompt, and what is kept of it.

    prompt: text, or token ids taken as they are. sites: what is captured; None is everything.
    """

    prompt: str | tuple[int, ...]
    generation: Generation = field(default_factory=Generation)
    add_special_tokens: bool = True
    sites: tuple[Site, ...] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.prompt, str):
            _set(self, prompt=_whole(self.prompt, "prompt", "a text, or token ids"))
        if not self.prompt:
            raise RequestError("prompt: expected at least one token; got an empty text. Type something to trace.")
        if self.sites is not None:
            chosen = {Site.parse(s, "sites") for s in self.sites}
            _set(self, sites=tuple(s for s in Site if s in chosen))


@dataclass(frozen=True, slots=True)
class HeatmapView:
    """A grid of decoded cells: rows of the model against positions of the text (docs/methods.md §1, §3, §4).

    rows: heatmap rows 0 to L+1; positions: 0 to T-1; None is all, negatives count from the end.
    norm: None takes the default of docs/methods.md §3. top_k: 1 to 32. watch: texts whose first token is followed.
    """

    trace: str
    component: Component = Component.BLOCK
    lens: Lens = Lens.OUTPUT
    norm: NormPolicy | None = None
    rows: Selection = None
    positions: Selection = None
    top_k: int = 5
    watch: tuple[str, ...] = ()
    reading: Reading = Reading.TOP

    def __post_init__(self) -> None:
        _set(
            self,
            component=Component.parse(self.component, "component"),
            lens=Lens.parse(self.lens, "lens"),
            norm=None if self.norm is None else NormPolicy.parse(self.norm, "norm"),
            reading=Reading.parse(self.reading, "reading"),
            rows=_selection(self.rows, "rows"),
            positions=_selection(self.positions, "positions"),
            watch=_texts(self.watch),
        )
        k = self.top_k
        _check(_is_whole(k, 1, TOP_K_KEPT), "top_k", f"1 to {TOP_K_KEPT}", k)


@dataclass(frozen=True, slots=True)
class SharesView:
    """Shares of attention and MLP at every junction of the trace (docs/methods.md §5)."""

    trace: str
    measure: ShareMeasure = ShareMeasure.NORM

    def __post_init__(self) -> None:
        _set(self, measure=ShareMeasure.parse(self.measure, "measure"))


@dataclass(frozen=True, slots=True)
class ActivationView:
    """One site of one layer, one head of it where the site has heads."""

    trace: str
    site: Site
    layer: int
    head: int | None = None

    def __post_init__(self) -> None:
        _set(self, site=Site.parse(self.site, "site"))


@dataclass(frozen=True, slots=True)
class PatternView:
    """The attention pattern of one head, recomputed from q and k."""

    trace: str
    layer: int
    head: int


@dataclass(frozen=True, slots=True)
class LogitsView:
    """The model's own logits after one position; negatives count from the end of the text."""

    trace: str
    position: int = -1


@dataclass(frozen=True, slots=True)
class UpdateView:
    """What attention or MLP promoted and suppressed at one cell, with ranks before and after.

    row: 1 to L. n: how many tokens each way, 1 to 32.
    """

    trace: str
    component: Component
    row: int
    position: int
    n: int = 15

    def __post_init__(self) -> None:
        component = Component.parse(self.component, "component")
        updates = (Component.ATTENTION, Component.MLP)
        _check(component in updates, "component", "attention or mlp, which write to the stream", str(component))
        _check(_is_whole(self.n, 1, TOP_K_KEPT), "n", f"1 to {TOP_K_KEPT}", self.n)
        _set(self, component=component)


@dataclass(frozen=True, slots=True)
class CellSharesView:
    """Shares at one cell (row 1 to L) under every measure."""

    trace: str
    row: int
    position: int


@dataclass(frozen=True, slots=True)
class NextTokensView:
    """The next-token distribution after a position, and what a sampler would make of it, without running the model.

    sampling: temperature, top_k and top_p; without a temperature nothing is changed. n: how many tokens are listed.
    """

    trace: str
    position: int = -1
    sampling: Generation = field(default_factory=Generation)
    n: int = 20

    def __post_init__(self) -> None:
        _check(_is_whole(self.n, 1, 2**31), "n", "a whole number from 1", self.n)


@dataclass(frozen=True, slots=True)
class QueryView:
    """Where a token first enters the top k of the stream (output lens, final norm), and what wrote it there."""

    trace: str
    token: str
    top_k: int = 5
    positions: Selection = None

    def __post_init__(self) -> None:
        _check(_is_whole(self.top_k, 1, 2**31), "top_k", "a whole number from 1", self.top_k)
        _set(self, positions=_selection(self.positions, "positions"))


ViewRequest = (
    HeatmapView
    | SharesView
    | ActivationView
    | PatternView
    | LogitsView
    | UpdateView
    | CellSharesView
    | NextTokensView
    | QueryView
)
Request = TraceRequest | ViewRequest

_KINDS: dict[str, type] = {c.__name__: c for c in (ModelSpec, TraceRequest, *get_args(ViewRequest))}


def to_json(request: Any) -> str:
    """The canonical JSON of a request: the same request gives the same text, on every machine."""
    body = dataclasses.asdict(request)
    for name in ("rows", "positions"):
        if isinstance(getattr(request, name, None), Span):
            body[name] = {"span": [getattr(request, name).start, getattr(request, name).stop]}
    return json.dumps({"kind": type(request).__name__, **body}, sort_keys=True, separators=(",", ":"))


def from_json(text: str) -> Any:
    """The request that `to_json` wrote.

    Raises:
        RequestError: the text is not JSON, or not of a kind that is known.
    """
    problem = RequestError(expected("request", "JSON of a known kind: " + ", ".join(_KINDS), text[:80]))
    try:
        body = json.loads(text)
        kind = _KINDS[body.pop("kind")]
        for name in ("rows", "positions"):
            if isinstance(body.get(name), dict):
                body[name] = Span(*body[name]["span"])
        for name in ("generation", "sampling"):
            if name in body:
                options: dict[str, Any] = dict(body[name])
                lists = {k: tuple(v) for k, v in options.items() if isinstance(v, list)}
                body[name] = Generation(**{**options, **lists})
        return kind(**body)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise problem from None
