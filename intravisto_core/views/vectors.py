"""The vectors that the cells of a component decode (docs/methods.md §1)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from intravisto_core.errors import RequestError
from intravisto_core.models import LoadedModel
from intravisto_core.sites import Component, Reading, Site
from intravisto_core.tracing import TraceData

Positions = list[int]

_SITES = {Component.MID: Site.RESID_MID, Component.ATTENTION: Site.ATTN_OUT, Component.MLP: Site.MLP_OUT}


def list_rows(component: Component, reading: Reading, n_layers: int) -> range:
    """The heatmap rows that have cells."""
    if component is Component.BLOCK and reading is not Reading.DIFFERENCE:
        return range(n_layers + 2)
    return range(1, n_layers + 1)


def explain_blank(component: Component, reading: Reading, row: int, model: LoadedModel) -> str:
    """Why a row has no cells, or ""."""
    n_layers = model.dimensions.n_layers
    if component is Component.MID and model.blueprint.parallel:
        return "a parallel block adds attention and MLP at once: there is no stream between them"
    if row in list_rows(component, reading, n_layers):
        return ""
    if reading is Reading.DIFFERENCE:
        return "no row below to differ from" if row == 0 else "the final norm changes the scale, not the content"
    where = "the embeddings" if row == 0 else "the final norm"
    return f"{where} has no {component.label}" if row else f"{where} have no {component.label}"


def check_reading(component: Component, reading: Reading) -> None:
    """Refuse a difference of something other than the stream.

    Raises:
        RequestError: the reading does not exist for the component.
    """
    if reading is Reading.DIFFERENCE and component is not Component.BLOCK:
        raise RequestError(
            f"reading: a difference from the row below is of the block output; got {component.label}. "
            'Choose component="block"'
        )


def stack_streams(model: LoadedModel, data: TraceData, positions: Positions) -> Float[Tensor, "rows p d"]:
    """The stream at rows 0 … L, float32."""
    n_layers = model.dimensions.n_layers
    rows = [data.site(Site.RESID_PRE, 0), *(data.site(Site.RESID_POST, layer) for layer in range(n_layers))]
    return torch.stack([x[positions] for x in rows]).float()


def stack_vectors(
    model: LoadedModel, data: TraceData, component: Component, reading: Reading, positions: Positions
) -> tuple[Float[Tensor, "rows p d"], Float[Tensor, "rows p d"]]:
    """The vectors of all rows that have cells, and the stream beside each (for its σ); float32.

    The last row of the block output is the final-normed state; the stream beside it is not used.
    """
    if component is Component.BLOCK:
        states = stack_streams(model, data, positions)
        if reading is Reading.DIFFERENCE:
            return states[1:] - states[:-1], states[1:]
        final = model.final_state(data.final[positions])[None]
        return torch.cat([states, final]), torch.cat([states, final])
    site = _SITES[component]
    n_layers = model.dimensions.n_layers
    x = torch.stack([data.site(site, layer)[positions] for layer in range(n_layers)]).float()
    beside = torch.stack([data.site(Site.RESID_POST, layer)[positions] for layer in range(n_layers)]).float()
    return x, beside
