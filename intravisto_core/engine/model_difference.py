"""Two models of one tokenizer beside each other: what quantising, an adapter or further training changed."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from intravisto_core.analysis.decoding import count_tile_positions
from intravisto_core.analysis.lenses import compute_output_logits
from intravisto_core.analysis.model_difference import CellDifference, cell_difference, weight_errors
from intravisto_core.engine.base import Trace
from intravisto_core.engine.local import LocalEngine
from intravisto_core.errors import RequestError, expected
from intravisto_core.models import LoadedModel
from intravisto_core.models.construction import computing
from intravisto_core.records import ModelDifference
from intravisto_core.sites import Site

# logits of both models, and of each what the divergence takes beside them in twice the width
_COPIES = 12
_BLOCK = re.compile(r"\.(\d+)\.")


def compare_models(
    engine: LocalEngine, other: LocalEngine, prompt: str | tuple[int, ...], **options: Any
) -> ModelDifference:
    """How a second model differs from a first on one text, layer by layer, and in every weight (docs/methods.md §8).

    The first one's run gives the text; the second reads the same tokens. options: as of `engine.trace`, without
    interventions and sites.

    Raises:
        RequestError: they are not two models of one tokenizer and one shape, with what differs.
        TraceError: an engine was closed.
    """
    for name, given in (("engine", engine), ("other", other)):
        if not isinstance(given, LocalEngine):
            raise RequestError(expected(name, "a LocalEngine, as open_model gives", type(given).__name__))
    if refused := {"interventions", "sites"} & set(options):
        raise RequestError(expected("compare_models", "options of a plain run", sorted(refused)[0]))
    one, two = engine.kept_traces.model, other.kept_traces.model
    _check_shapes(one, two)
    _check_tokenizers(one, two)
    errors = dict(weight_errors(one, two))
    trace = engine.trace(prompt, **options)
    twin = other.trace(tuple(t.id for t in trace.tokens))
    try:
        return _difference(trace, twin, one, two, errors)
    finally:
        trace.forget()
        twin.forget()


def _check_shapes(one: LoadedModel, two: LoadedModel) -> None:
    for name in ("n_layers", "d_model", "d_vocab"):
        first, second = (getattr(m.dimensions, name) for m in (one, two))
        if first != second:
            raise RequestError(
                f"other: expected a model of the same shape; {name} is {first:,} in {one.name} and {second:,} in "
                f"{two.name}. Compare a model with its quantised or tuned form"
            )


def _check_tokenizers(one: LoadedModel, two: LoadedModel) -> None:
    """An id that both know must stand for the same piece; ids that one leaves unused are no difference."""
    rows = one.dimensions.d_vocab
    first, second = ({i: piece for piece, i in m.tokenizer.get_vocab().items() if i < rows} for m in (one, two))
    wrong = [i for i in first.keys() & second.keys() if first[i] != second[i]]
    if wrong:
        i = min(wrong)
        raise RequestError(
            f"other: expected a model with the same tokenizer; token {i} is {first[i]!r} in {one.name} and "
            f"{second[i]!r} in {two.name} ({len(wrong):,} such in all)"
        )


@torch.no_grad()
def _difference(
    trace: Trace, twin: Trace, one: LoadedModel, two: LoadedModel, errors: dict[str, float]
) -> ModelDifference:
    n_layers, ids = one.dimensions.n_layers, [t.id for t in trace.tokens]
    found = [_cells(_row(trace, row), _row(twin, row), one, two, own=False) for row in range(n_layers + 1)]
    own = _cells(_row(trace, n_layers), _row(twin, n_layers), one, two, own=True)
    said = [_said(_row(run, n_layers), model, ids) for run, model in ((trace, one), (twin, two))]
    kl, top, other_top = (
        np.stack([getattr(cells, name).cpu().numpy() for cells in (*found, own)]) for name in ("kl", "ids", "other_ids")
    )
    names = {int(i) for i in (*np.unique(top), *np.unique(other_top))}
    layers = [int(m[1]) if (m := _BLOCK.search(name)) else -1 for name in errors]
    return ModelDifference(
        model=_named(one, two),
        other=_named(two, one),
        n_layers=n_layers,
        prompt_length=trace.prompt_length,
        tokens=trace.tokens,
        rows=np.arange(n_layers + 2),
        kl=kl,
        top_ids=top.astype(np.int32),
        other_top_ids=other_top.astype(np.int32),
        logit_largest=own.largest.cpu().numpy(),
        logit_rms=own.rms.cpu().numpy(),
        log_prob=said[0],
        other_log_prob=said[1],
        weights=tuple(errors),
        weight_error=np.array(list(errors.values())),
        weight_layer=np.array(layers),
        shown={i: one.reader.shown(i) for i in sorted(names)},
    )


def _named(model: LoadedModel, beside: LoadedModel) -> str:
    """Its name, with how it was loaded where that alone tells the two apart."""
    if model.name != beside.name:
        return model.name
    return f"{model.name} ({model.quantisation or str(model.dtype).removeprefix('torch.')})"


def _row(trace: Trace, row: int) -> Float[Tensor, "T d"]:
    """The stream at a heatmap row, below L + 1."""
    site, layer = (Site.RESID_PRE, 0) if row == 0 else (Site.RESID_POST, row - 1)
    return torch.from_numpy(trace.activation(site, layer=layer))


def _cells(
    x: Float[Tensor, "T d"], y: Float[Tensor, "T d"], one: LoadedModel, two: LoadedModel, own: bool
) -> CellDifference:
    """Of one row, some positions at a time. own: by the models' own heads in their own dtypes."""
    parts = []
    step = count_tile_positions(_COPIES, one.dimensions.d_vocab)
    for start in range(0, len(x), step):
        with computing():
            z, w = (
                _logits(model, states[start : start + step].to(model.device), own).cpu()
                for model, states in ((one, x), (two, y))
            )
            parts.append(cell_difference(z, w))
    return CellDifference(*(torch.cat([getattr(p, f.name) for p in parts]) for f in fields(CellDifference)))


def _logits(model: LoadedModel, x: Float[Tensor, "n d"], own: bool) -> Float[Tensor, "n V"]:
    return model.logits(x) if own else compute_output_logits(model, x)


def _said(x: Float[Tensor, "T d"], model: LoadedModel, ids: list[int]) -> Float[np.ndarray, " T"]:
    """Log-probability of the token that really comes next, NaN at the end."""
    out = np.full(len(ids), np.nan)
    step = count_tile_positions(_COPIES, model.dimensions.d_vocab)
    for start in range(0, len(ids) - 1, step):
        stop = min(start + step, len(ids) - 1)
        with computing():
            log_p = model.logits(x[start:stop].to(model.device)).double().log_softmax(-1).cpu()
        following = torch.tensor(ids[start + 1 : stop + 1])
        out[start:stop] = log_p.gather(1, following[:, None])[:, 0].numpy()
    return out
