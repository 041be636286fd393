"""What a metric's slope says of every link at once (docs/methods.md §6, checking a link)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from intravisto_core.errors import ModelError
from intravisto_core.experiments.link_runs import Metric, enters_after_mlp
from intravisto_core.inspection.hooks import Handles, on_output
from intravisto_core.models import LoadedModel
from intravisto_core.request import Link
from intravisto_core.sites import Site
from intravisto_core.tracing import TraceData
from intravisto_core.tracing.reuse import Reuse, fill_cache, last_row_only, skipping


@dataclass(frozen=True, slots=True)
class Gradients:
    """∂m/∂(stream after attention) and ∂m/∂(stream after the block), (layers, positions, d) each, float32.

    layer, position: of the first row of both.
    """

    mid: Float[Tensor, "l p d"]
    post: Float[Tensor, "l p d"]
    layer: int
    position: int

    def along(self, link: Link, e: Float[Tensor, " d"]) -> Float[Tensor, ""]:
        """⟨∂m/∂s, e⟩ for the stream that a link leads to; 0 at later positions, which the metric cannot see."""
        stream, at = self.post if enters_after_mlp(link) else self.mid, link.position - self.position
        return stream[link.layer - self.layer, at] @ e if at < stream.shape[1] else e.new_zeros(())


def compute_stream_gradients(
    model: LoadedModel, data: TraceData, links: Sequence[Link], metric: Metric, in_full: bool
) -> Gradients:
    """One pass forward and back over the layers and positions from the first link up to the metric's position.

    in_full: over all of the text, where later rows cannot be run alone.

    Raises:
        ModelError: gradients cannot be taken through this model.
    """
    stop, blocks = metric.position + 1, model.blueprint.blocks
    layer = 0 if in_full else min(link.layer for link in links)
    first = 0 if in_full else min(min(link.position for link in links), metric.position)
    added: dict[tuple[Site, int], Tensor] = {}

    def nudge(key: tuple[Site, int], module: nn.Module) -> RemovableHandle:
        def add(raw: Tensor) -> Tensor:
            added[key] = torch.zeros_like(raw, requires_grad=True)
            return raw + added[key]

        return on_output(module, add)

    cache = fill_cache(model, data, first)
    tokens = torch.tensor([data.ids[first:stop]], device=model.device)
    options = {"logits_to_keep": 1} if model.blueprint.keeps_last_logits else {}
    try:
        with Handles() as handles, ExitStack() as stack, torch.enable_grad():
            stack.enter_context(skipping(model, Reuse(data, layer, first, stop), first, stop))
            if not in_full:
                stack.enter_context(last_row_only(blocks[-1], stop - first))
            for i, block in enumerate(blocks[layer:], start=layer):
                for site, module in ((Site.ATTN_OUT, block.attn_out), (Site.MLP_OUT, block.mlp_out)):
                    handles.extend([nudge((site, i), module)])
            out = model.network(input_ids=tokens, **model.cached(cache), **options)
            keys = list(added)
            found = torch.autograd.grad(metric(out.logits[0, -1]), [added[k] for k in keys])
    except RuntimeError as error:
        raise ModelError(f"gradients: expected a model that they can be taken through; {error}") from error
    scaled = (g.float().reshape(-1, g.shape[-1]) / model.blueprint.multiplier for g in found)
    by_key = dict(zip(keys, scaled, strict=True))
    mid, post = (
        torch.stack([by_key[site, i] for i in range(layer, len(blocks))]) for site in (Site.ATTN_OUT, Site.MLP_OUT)
    )
    return Gradients(mid, post, layer, first)
