"""A trace written to one file: its description, the records of chosen views, and activations on demand."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from intravisto_core.engine.saving_attention import list_attention_views
from intravisto_core.engine.trace_info import TraceInfo
from intravisto_core.errors import ModelError, RequestError, expected
from intravisto_core.records import ModelCard, Record
from intravisto_core.request import (
    ActivationView,
    AttributionView,
    DisagreementView,
    FlowView,
    GraphView,
    HeatmapView,
    LayerView,
    LogitsView,
    ModelSpec,
    ModuleView,
    RouteView,
    SharesView,
    SinksView,
    View,
    tensors,
    to_json,
)
from intravisto_core.request.fields import list_of, read_path_of_file
from intravisto_core.request.run import read_sites
from intravisto_core.request.views import TOP_K_KEPT
from intravisto_core.sites import Site
from intravisto_core.storage import write_bundle
from intravisto_core.storage.bundle import SUFFIX
from intravisto_core.storage.narrow import narrow
from intravisto_core.storage.plain import to_plain

# what `views` may name, each with its usual options; a heatmap is kept with all the tokens that a cell can list
NAMED_VIEWS: dict[str, Callable[[str], View[Any]]] = {
    "heatmap": lambda trace: HeatmapView(trace, top_k=TOP_K_KEPT),
    "shares": SharesView,
    "flow": FlowView,
    "logits": LogitsView,
    "attribution": AttributionView,
    "graph": GraphView,
    "route": RouteView,
    "disagreement": DisagreementView,
    "sinks": SinksView,
}
# names that stand for several views, by what is known of the run and of the model
NAMED_SETS: dict[str, Callable[[TraceInfo, ModelCard], tuple[View[Any], ...]]] = {
    "attention": lambda info, card: list_attention_views(info.id, len(info.tokens), card),
    "layer": lambda info, card: tuple(LayerView(info.id, layer) for layer in range(card.n_layers)),
    "modules": lambda info, _: tuple(ModuleView(info.id, path) for path in info.request.modules),
}
USUAL = ("heatmap", "shares", "flow", "logits", "sinks")
COMPUTED = (Site.PATTERN, Site.HEAD_OUT)
VERSIONS = ("intravisto", "torch", "transformers", "numpy")


class Savable(Protocol):
    """What is needed of a trace to save it."""

    @property
    def id(self) -> str:
        """Views name the trace by it."""
        ...

    def view(self, view: View[Any], /) -> Any:
        """The record of a view request on this trace."""
        ...


@dataclass(frozen=True, slots=True)
class Held:
    """What the file that a trace was opened from holds of it: it is kept when the trace is saved again.

    missing: why other views were not saved. versions: of the programs that made them; None where they are made again.
    """

    views: tuple[View[Any], ...]
    sites: tuple[Site, ...] = ()
    missing: tuple[str, ...] = ()
    versions: Mapping[str, str] | None = None

    def renamed(self, ids: Mapping[str, str]) -> Held:
        """The same of a trace that was made again. ids: of the traces now, by what they were."""
        return Held(tuple(_renamed(view, ids) for view in self.views), self.sites)


def _renamed(view: Any, ids: Mapping[str, str]) -> View[Any]:
    changed = {f.name: ids.get(v) for f in fields(view) if isinstance(v := getattr(view, f.name), str)}
    renamed: View[Any] = replace(view, **{name: new for name, new in changed.items() if new is not None})
    return renamed


@dataclass(frozen=True, slots=True)
class Described:
    """The trace that is saved, and what stands beside it in the file. baseline: of an edited trace, else None."""

    trace: Savable
    info: TraceInfo
    spec: ModelSpec
    card: ModelCard
    identity: dict[str, str]
    baseline: Described | None = None
    held: Held | None = None


def save_run(
    run: Described,
    path: str | Path,
    views: Iterable[str | View[Any]] | str | View[Any] | None = None,
    activations: Iterable[Site | str] | Site | str | None = None,
) -> Path:
    """Write a run to one file; see `Trace.save`.

    Raises:
        RequestError: another suffix than `.intravisto`, a view or a site that there is not, or no place to write.
        ModelError: a view that was asked for is not shown for this model.
    """
    target = read_path_of_file(path, "path")
    if target.suffix.lower() != SUFFIX:
        raise RequestError(expected("path", f"a file name that ends with {SUFFIX}", target.name))
    if not target.parent.is_dir():
        raise RequestError(expected("path", "a folder that exists", str(target.parent)))
    family = _with_baseline(run)
    wanted = read_views(views, family)
    sites = _held_sites(family) if activations is None else read_sites(activations, "activations") or ()
    if views is None:
        wanted = {each.info.id: _with_held(each, wanted[each.info.id]) for each in family}
    for site in sites:
        if site in COMPUTED:
            raise RequestError(expected("activations", "sites that are captured", site.value))
    contents = _Contents()
    runs = [contents.add(each, wanted[each.info.id], sites, strict=views is not None) for each in family]
    manifest = {
        "versions": _versions() if run.held is None or run.held.versions is None else dict(run.held.versions),
        "spec": to_json(run.spec),
        "card": to_plain(run.card, contents.arrays, "card"),
        "identity": run.identity,
        "runs": runs,
    }
    return write_bundle(target, manifest, contents.arrays)


def read_views(views: Any, family: Sequence[Described]) -> dict[str, tuple[View[Any], ...]]:
    """The views that are kept of each trace. A name is kept of every one, a request of the trace that it names.

    family: the run and its baseline. A request that names none of them is kept of the run.

    Raises:
        RequestError: a name or a request that is none of a trace.
    """
    found: dict[str, list[View[Any]]] = {each.info.id: [] for each in family}
    for each in USUAL if views is None else list_of(views):
        if isinstance(each, str) and each in NAMED_VIEWS:
            for trace, kept in found.items():
                kept.append(NAMED_VIEWS[each](trace))
        elif isinstance(each, str) and each in NAMED_SETS:
            for run in family:
                found[run.info.id] += NAMED_SETS[each](run.info, run.card)
        elif isinstance(each, View) and hasattr(each, "trace"):
            owner = each.trace if each.trace in found else family[0].info.id
            found[owner].append(replace(each, trace=owner))  # type: ignore[type-var]
        else:
            raise RequestError(
                expected("views", f"view requests, or of {', '.join((*NAMED_VIEWS, *NAMED_SETS))}", each)
            )
    return {trace: tuple(kept) for trace, kept in found.items()}


def _with_held(run: Described, usual: tuple[View[Any], ...]) -> tuple[View[Any], ...]:
    """What is kept where nothing was chosen: what a file holds; with the model at hand the usual views too."""
    if run.held is None:
        return usual
    if run.held.versions is not None:
        return run.held.views
    return tuple(dict.fromkeys((*run.held.views, *usual)))


def _held_sites(family: Sequence[Described]) -> tuple[Site, ...]:
    held = {site for each in family if each.held is not None for site in each.held.sites}
    return tuple(site for site in Site if site in held)


def _with_baseline(run: Described) -> list[Described]:
    return [run] if run.baseline is None else [run, *_with_baseline(run.baseline)]


@dataclass(slots=True)
class _Contents:
    """The arrays of a file while it is put together."""

    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    n_runs: int = 0

    def add(self, run: Described, views: Iterable[View[Any]], sites: Iterable[Site], strict: bool) -> dict[str, Any]:
        """One run as a part of the manifest. strict: whether a view that the model cannot show ends it."""
        place, self.n_runs = f"run.{self.n_runs}", self.n_runs + 1
        stored: list[dict[str, Any]] = []
        missing = [] if run.held is None or strict else list(run.held.missing)
        for view in views:
            try:
                record: Record = run.trace.view(view)
            except ModelError as error:
                if strict:
                    raise
                missing.append(str(error))
                continue
            name = f"{place}.{len(stored)}"
            body = to_plain(record, self.arrays, name)
            self._add_tensors(view)
            stored.append({"view": to_json(view), "kind": type(record).__name__, "record": body})
        kept = [self._activation(run, site, layer, place) for site in sites for layer in range(run.card.n_layers)]
        request = run.info.request
        self._add_tensors(request)
        plain = {f.name: getattr(run.info, f.name) for f in fields(run.info) if f.name != "request"}
        info = {name: to_plain(value, self.arrays, f"{place}.info") for name, value in plain.items()}
        return {"info": info, "request": to_json(request), "views": stored, "missing": missing, "activations": kept}

    def _add_tensors(self, request: Any) -> None:
        """The arrays that a request names stand beside it."""
        self.arrays |= {f"tensor.{name}": array for name, array in tensors(request).items()}

    def _activation(self, run: Described, site: Site, layer: int, place: str) -> dict[str, Any]:
        values = run.trace.view(ActivationView(run.trace.id, site, layer)).values
        name = f"{place}.{site.value}.{layer}"
        self.arrays[name] = narrow(values, run.card.dtype)
        return {"site": site.value, "layer": layer, "array": name, "dtype": run.card.dtype}


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "system": sys.platform}
    for name in VERSIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = ""
    return found
