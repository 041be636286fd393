"""A concept direction from prompts."""

from __future__ import annotations

from collections.abc import Generator

import torch

from intravisto_core.errors import RequestError
from intravisto_core.progress import Progress
from intravisto_core.records import ConceptDirection
from intravisto_core.request import DirectionRequest
from intravisto_core.request.positions import resolve
from intravisto_core.request.ranges import index
from intravisto_core.traces.plain_runs import run_prompts
from intravisto_core.traces.trace_store import Traces
from intravisto_core.tracing import RunControl, TraceData


def run_direction(
    traces: Traces, request: DirectionRequest, session: str, control: RunControl
) -> Generator[Progress, None, ConceptDirection]:
    """The mean state of some prompts less that of others, scaled to 1.

    Raises:
        RequestError: a place out of range, or two sets whose means are equal.
    """
    model = traces.model
    if request.site.edit_capability is not None:
        raise RequestError(f"site: expected one in the stream's space; got {request.site}")
    layer = index(request.layer, model.dimensions.n_layers, "layer")
    means = []
    for prompts in (request.positive, request.negative):
        runs = yield from run_prompts(traces, prompts, (request.site,), control)
        means.append(_mean(runs, request, layer) if runs else torch.zeros((), dtype=torch.float32, device=model.device))
    difference = means[0] - means[1]
    strength = float(difference.norm())
    if not strength > 0:
        raise RequestError("negative: expected prompts that differ from the positive ones; their means are equal")
    n, less = len(request.positive), len(request.negative)
    many = f"{n} prompt{'s' if n > 1 else ''}" + (f" less {less}" if less else "")
    return ConceptDirection(
        name=request.name,
        vector=(difference / strength).cpu().numpy(),
        made_of=f"{many}, {request.site.label} of layer {layer}",
        model=model.resolved,
        strength=strength,
        site=str(request.site),
        layer=layer,
    )


def _mean(runs: list[TraceData], request: DirectionRequest, layer: int) -> torch.Tensor:
    """Over prompts, of the mean over the asked positions of each."""
    rows = []
    for data in runs:
        places = resolve(request.positions, data.prompt_length, data.length)
        rows.append(data.site(request.site, layer)[list(places)].float().mean(0))
    return torch.stack(rows).mean(0)
