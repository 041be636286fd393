"""How a metric moves with what a model computes on the way: derivatives by backpropagation (docs/methods.md §11).

Blocks are run again on the way back where everything that they computed would take too much memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.hooks import RemovableHandle

from intravisto_core.errors import ModelError, RequestError, expected
from intravisto_core.experiments.link_runs import Metric
from intravisto_core.experiments.passage import Passage, Watch, nothing
from intravisto_core.inspection.hooks import Handles, on_input, on_output
from intravisto_core.models import LoadedModel
from intravisto_core.models.free_memory import is_short, require_free
from intravisto_core.models.quantisation import INT8
from intravisto_core.sites import Site

# m of each text of a batch, from its logits after the last position
LastMetric = Callable[[Float[Tensor, "b V"]], Float[Tensor, " b"]]
# what a pass may keep for its way back before blocks are run again instead, and rows of one pass over several inputs
KEPT_BYTES = 512 << 20
BATCH_ROWS = 256
SITES = (Site.RESID_PRE, Site.ATTN_OUT, Site.RESID_MID, Site.MLP_OUT, Site.RESID_POST, Site.Z, Site.ACT)


def require_gradients(model: LoadedModel) -> None:
    """Refuse a model that cannot be differentiated.

    Raises:
        ModelError: with the reason.
    """
    reason = ""
    if model.offloaded:
        reason = "some of its weights are fetched for each call and gone when gradients come back"
    elif INT8 in str(model.quantisation):
        reason = "its 8-bit layers round what they are given, and a rounded value has no slope"
    if reason:
        raise ModelError(
            f"gradients: expected a model that can be differentiated; of this one {reason}. Open it without, or use "
            'saliency(method="occlusion"), which runs the model forward only'
        )


def compute_site_gradient(
    passage: Passage, metric: Metric, site: Site, layer: int
) -> tuple[float, Float[Tensor, "*heads n width"]]:
    """m, and ∂m/∂(site of a layer) in float32, of a text; at `z` split by head. Of an edited run at the value after the
    edits there.

    Raises:
        RequestError: the model has no such site. ModelError: it cannot be differentiated.
    """
    model = passage.model
    module, at_input, multiplier = find_place(model, site, layer)
    kept: list[Tensor] = []

    def keep(x: Tensor) -> None:
        if len(kept) < len(passage.counts):  # a block that is run again on the way back gives it once more
            kept.append(x if x.requires_grad else x.requires_grad_())

    hook = on_input if at_input else on_output
    with Handles([on_output(model.blueprint.embed, _begin)]):
        values, parts = _differentiate(passage, passage.tokens, metric, lambda: kept, lambda: [hook(module, keep)])
    found = torch.cat([part.float().reshape(-1, part.shape[-1]) for part in parts]) / multiplier
    found = found.unflatten(1, (model.dimensions.n_heads, -1)).transpose(0, 1) if site is Site.Z else found
    return float(values[0]), found


def read_embeddings(model: LoadedModel, ids: Sequence[int]) -> Float[Tensor, "n d"]:
    """What the model's table gives for token ids, as the model goes on with it."""
    found: Tensor = model.blueprint.embed(torch.tensor(list(ids), device=model.device))
    return found


def compute_embedding_gradients(
    passage: Passage, embeddings: Float[Tensor, "b n d"], metric: Metric
) -> tuple[Float[Tensor, " b"], Float[Tensor, "b n d"]]:
    """m, and ∂m/∂embeddings in float32, of one text whose embeddings are replaced by each of a batch.

    Raises:
        ModelError: the model cannot be differentiated.
    """
    values, slopes = [], []
    for part in _batches(passage, embeddings):
        leaf = part.detach().requires_grad_()
        with Handles([_feed(passage, leaf)]):
            tokens = passage.tokens.expand(len(part), -1)
            value, (slope,) = _differentiate(passage, tokens, metric, partial(list, [leaf]))
        values.append(value)
        slopes.append(slope.float())
    return torch.cat(values), torch.cat(slopes)


def evaluate_embeddings(passage: Passage, embeddings: Float[Tensor, "b n d"], metric: Metric) -> Float[Tensor, " b"]:
    """m of one text whose embeddings are replaced by each of a batch."""
    found = []
    for part in _batches(passage, embeddings):
        with torch.no_grad(), Handles([_feed(passage, part)]):
            found.append(metric(passage.run(passage.tokens.expand(len(part), -1))))
    return torch.cat(found)


def _batches(passage: Passage, embeddings: Float[Tensor, "b n d"]) -> Sequence[Float[Tensor, "c n d"]]:
    """What is run at once."""
    return embeddings.split(len(embeddings) if passage.in_batches else 1)


def _feed(passage: Passage, embeddings: Float[Tensor, "b n d"]) -> RemovableHandle:
    """The embeddings in place of the table's, call by call."""
    fed = 0

    def give(_: Tensor) -> Tensor:
        nonlocal fed
        n = passage.counts[0] if not fed else 1
        fed += n
        return embeddings[:, fed - n : fed].clone()

    return on_output(passage.model.blueprint.embed, give)


def count_batch(model: LoadedModel, n: int) -> int:
    """How many texts of n positions are run at once."""
    by_memory = KEPT_BYTES // max(1, estimate_graph(model, 1, n))
    return max(1, min(BATCH_ROWS // n, by_memory))


def estimate_graph(model: LoadedModel, batch: int, n: int, layers: int | None = None) -> int:
    """Bytes that a pass keeps for its way back; of some layers, else of all."""
    size, item = model.dimensions, model.dtype.itemsize
    scores = size.n_heads * n * n * (item + 8)  # in the model's dtype, and in float32 around the softmax
    rows = n * (16 * size.d_model + 4 * (size.d_mlp or 8 * size.d_model)) * max(item, 4)
    logits = 3 * 4 * size.d_vocab * (1 if model.blueprint.keeps_last_logits else n)
    return batch * ((size.n_layers if layers is None else layers) * (scores + rows) + logits)


def differentiate_at(
    passage: Passage, metric: LastMetric, inputs: Callable[[], list[Tensor]], watch: Watch
) -> tuple[Tensor, ...]:
    """∂m/∂x of what a watch keeps on the way, of a text as it is run.

    Raises:
        ModelError: the model cannot be differentiated.
    """
    with Handles([on_output(passage.model.blueprint.embed, _begin)]):
        return _differentiate(passage, passage.tokens, metric, inputs, watch)[1]


def _begin(raw: Tensor) -> Tensor:
    """What a pass is differentiated from: all that follows depends on it."""
    return raw.detach().requires_grad_().clone()


def _differentiate(
    passage: Passage,
    tokens: Int[Tensor, "b n"],
    metric: LastMetric,
    inputs: Callable[[], list[Tensor]],
    watch: Watch = nothing,
) -> tuple[Float[Tensor, " b"], tuple[Tensor, ...]]:
    """m of each text, and the derivatives of their sum. inputs: called after the pass, gives what it depends on.

    watch: makes hooks that come after those of edits. What m does not depend on has the slope 0.
    """
    model = passage.model
    require_gradients(model)
    batch, n = tokens.shape
    whole = estimate_graph(model, batch, n)
    # under edits nothing is run twice: functions of the user's own would be called once more
    again = whole > KEPT_BYTES and passage.edits is None
    needed = estimate_graph(model, batch, n, 1) + 4 * batch * n * model.dimensions.n_layers * model.dimensions.d_model
    require_free(needed if again else whole, model.device, "gradients", "Use a shorter text")
    try:
        with torch.enable_grad(), _running_again(model, again):
            values = metric(passage.run(tokens, watch))
            if not values.requires_grad:
                return values, tuple(torch.zeros_like(x) for x in inputs())
            found = torch.autograd.grad(values.sum(), inputs(), allow_unused=True, materialize_grads=True)
    except RuntimeError as error:
        if is_short(error):
            raise
        raise ModelError(f"gradients: expected a model that they can be taken through; {error}") from error
    return values.detach(), found


@contextmanager
def _running_again(model: LoadedModel, on: bool) -> Iterator[None]:
    """Within this context blocks keep only what they are given, and are run again on the way back."""
    layers = [block.layer for block in model.blueprint.blocks] if on else []
    before = [layer.__dict__.get("forward") for layer in layers]

    def twice(forward: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **kwargs: checkpoint(forward, *args, use_reentrant=False, **kwargs)

    try:
        for layer in layers:
            layer.forward = twice(layer.forward)
        yield
    finally:
        for layer, own in zip(layers, before, strict=True):
            if own is None:
                layer.__dict__.pop("forward", None)
            else:
                layer.forward = own


def find_place(model: LoadedModel, site: Site, layer: int) -> tuple[nn.Module, bool, float]:
    """The module where a site is, whether it is its input, and what the site is of the module's value."""
    block, multiplier = model.blueprint.blocks[layer], model.blueprint.multiplier
    if site is Site.RESID_MID and model.blueprint.parallel:
        raise RequestError("resid_mid: a parallel block adds attention and MLP at once and has none")
    if site is Site.ACT and model.blueprint.architecture.w_out is None:
        raise RequestError("act: this model is a mixture of experts, whose neurons are not the same at all positions")
    found: dict[Site, tuple[nn.Module | None, bool, float]] = {
        Site.RESID_PRE: (block.layer, True, 1.0),
        Site.ATTN_OUT: (block.attn_out, False, multiplier),
        Site.RESID_MID: (block.mid_reader, True, 1.0),
        Site.MLP_OUT: (block.mlp_out, False, multiplier),
        Site.RESID_POST: (block.layer, False, 1.0),
        Site.Z: (block.w_o, True, 1.0),
        Site.ACT: (block.w_out, True, 1.0),
    }
    module, at_input, scale = found.get(site, (None, False, 1.0))
    if module is None:
        raise RequestError(
            expected("site", f"one of {', '.join(map(str, SITES))}, where this model has it", site.value)
        )
    return module, at_input, scale
