"""Take links away, one by one, and see what becomes of a prediction (docs/methods.md §6, checking a link).

A link's vector e goes into the stream s of a block; the metric m is a logit difference. Predicted: `−⟨∂m/∂s, e⟩`, one
backward pass for all links. Measured: `m(run without e) − m`; links at one position are measured together, as a batch
over the layers and positions that they can change.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from intravisto_core.analysis.attention import head_values
from intravisto_core.analysis.parts import head_outputs, post_norm
from intravisto_core.errors import ModelError, RequestError
from intravisto_core.models import LoadedModel
from intravisto_core.request import Link
from intravisto_core.sites import Component, Site
from intravisto_core.tracing import TraceData
from intravisto_core.tracing.reuse import Reuse, filled_cache, obstacle, skipping

BATCH_ROWS = 512
MOST_IN_BATCH = 32


@dataclass(frozen=True, slots=True)
class Metric:
    """Logit of `target` less that of `contrast`, after `position`."""

    target: int
    contrast: int
    position: int

    def __call__(self, logits: Float[Tensor, "*n V"]) -> Float[Tensor, "*n"]:
        return logits[..., self.target].float() - logits[..., self.contrast].float()


@dataclass(frozen=True, slots=True)
class Checked:
    """predicted, measured, size: one number a link. metric: m. noise: largest change of m by taking nothing away."""

    predicted: Float[Tensor, " n"]
    measured: Float[Tensor, " n"]
    size: Float[Tensor, " n"]
    metric: float
    noise: float


def check_links(
    model: LoadedModel, data: TraceData, links: Sequence[Link], metric: Metric
) -> Generator[int, None, Checked]:
    """Predict and measure all links; yields how many were measured. Layers and positions are 0-based, not negative.

    Raises:
        RequestError: a link that this model does not have.
        ModelError: gradients cannot be taken through it.
    """
    vectors = torch.stack([link_vector(model, data, link) for link in links])
    gradients = stream_gradients(model, data.ids, metric)
    predicted = torch.stack([-gradients.along(link, e) for link, e in zip(links, vectors, strict=True)])
    whole = float(metric(model.logits(data.final[metric.position : metric.position + 1])[0]))
    measured = torch.zeros(len(links))
    alone = obstacle(model, data)
    groups = list(_groups(links, metric.position, bool(alone)))
    noise = _noise(model, data, links, groups, metric, whole) if groups and not alone else 0.0
    done = sum(link.position > metric.position for link in links)
    for group in groups:
        reuse = Reuse(data, *((0, 0) if alone else _start(links, group)), metric.position + 1)
        measured[group] = _run_without(model, reuse, [links[i] for i in group], vectors[group], metric) - whole
        done += len(group)
        yield done
    return Checked(predicted.cpu(), measured, vectors.norm(dim=-1).cpu(), whole, noise)


def link_vector(model: LoadedModel, data: TraceData, link: Link) -> Float[Tensor, " d"]:
    """e, as it is added to the stream, float32."""
    layer, at, component = link.layer, link.position, link.component
    if component is Component.MID and model.blueprint.parallel:
        raise RequestError("mid: a parallel block adds attention and MLP at once and has no stream between them")
    if component is Component.ATTENTION and (link.head is not None or link.source is not None):
        return _attention_part(model, data, link)
    if link.neuron is not None:
        return _neuron_part(model, data, link)
    site = {
        Component.ATTENTION: Site.ATTN_OUT,
        Component.MLP: Site.MLP_OUT,
        Component.MID: Site.RESID_MID,
        Component.BLOCK: Site.RESID_PRE,
    }[component]
    return data.site(site, layer)[at].float()


def _attention_part(model: LoadedModel, data: TraceData, link: Link) -> Float[Tensor, " d"]:
    """What heads brought to a position, from one source or from all; the post-norm's scale frozen at the run's."""
    layer, at = link.layer, link.position
    run = data.site(Site.Z, layer)[:, at : at + 1].float()
    z = run
    if link.source is not None:
        weights = data.pattern(layer)[:, at : at + 1, link.source : link.source + 1]
        z = head_values(weights, data.site(Site.V, layer)[:, link.source : link.source + 1].float())
    if link.head is not None:
        only = torch.zeros_like(z)
        only[link.head] = z[link.head]
        z = only
    written, norm = head_outputs(model, layer, z).sum(0), post_norm(model, layer, "w_o")
    if norm is not None:
        bias = model.weights.bias(f"w_o.{layer}")
        whole = head_outputs(model, layer, run).sum(0)
        written = norm.linear(written, norm.sigma(whole if bias is None else whole + bias))
    return written[0] * model.blueprint.multiplier


def _neuron_part(model: LoadedModel, data: TraceData, link: Link) -> Float[Tensor, " d"]:
    layer, at = link.layer, link.position
    if model.blueprint.architecture.w_out is None:
        raise RequestError("neuron: experts take turns in this model. Check the whole MLP instead")
    act, w_out = data.site(Site.ACT, layer)[at].float(), model.weights.get(f"w_out.{layer}").float()
    written, norm = act[link.neuron] * w_out[:, link.neuron], post_norm(model, layer, "w_out")
    if norm is not None:
        bias = model.weights.bias(f"w_out.{layer}")
        whole = w_out @ act
        written = norm.linear(written, norm.sigma(whole if bias is None else whole + bias))
    return written * model.blueprint.multiplier


@dataclass(frozen=True, slots=True)
class Gradients:
    """∂m/∂(stream after attention) and ∂m/∂(stream after the block), (L, position + 1, d) each, float32."""

    mid: Float[Tensor, "L p d"]
    post: Float[Tensor, "L p d"]

    def along(self, link: Link, e: Float[Tensor, " d"]) -> Float[Tensor, ""]:
        """⟨∂m/∂s, e⟩ for the stream that a link leads to; 0 at later positions, which the metric cannot see."""
        stream = self.post if link.component in (Component.MLP, Component.MID) else self.mid
        return stream[link.layer, link.position] @ e if link.position < stream.shape[1] else e.new_zeros(())


def stream_gradients(model: LoadedModel, ids: Sequence[int], metric: Metric) -> Gradients:
    """One pass forward and back over the text up to the metric's position.

    Raises:
        ModelError: gradients cannot be taken through this model.
    """
    tokens = torch.tensor([list(ids[: metric.position + 1])], device=model.device)
    added: dict[tuple[Site, int], Tensor] = {}

    def nudge(key: tuple[Site, int], module: nn.Module) -> Any:
        def hook(_: nn.Module, args: Any, output: Any) -> Any:
            raw = output[0] if isinstance(output, tuple) else output
            added[key] = torch.zeros_like(raw, requires_grad=True)
            new = raw + added[key]
            return (new, *output[1:]) if isinstance(output, tuple) else new

        return module.register_forward_hook(hook)

    try:
        with ExitStack() as stack, torch.enable_grad():
            for layer, block in enumerate(model.blueprint.blocks):
                for site, module in ((Site.ATTN_OUT, block.attn_out), (Site.MLP_OUT, block.mlp_out)):
                    stack.callback(nudge((site, layer), module).remove)
            logits = model.network(input_ids=tokens, use_cache=False).logits
            keys = list(added)
            found = torch.autograd.grad(metric(logits[0, -1]), [added[k] for k in keys])
    except RuntimeError as error:
        raise ModelError(f"gradients: expected a model that they can be taken through; {error}") from error
    scaled = (g.float().reshape(-1, g.shape[-1]) / model.blueprint.multiplier for g in found)
    by_key = dict(zip(keys, scaled, strict=True))
    layers = range(model.dimensions.n_layers)
    mid, post = (torch.stack([by_key[site, i] for i in layers]) for site in (Site.ATTN_OUT, Site.MLP_OUT))
    return Gradients(mid, post)


def _groups(links: Sequence[Link], last: int, one_by_one: bool) -> Iterator[list[int]]:
    """Indices of links that are measured together: at one position, of near layers, in batches of bounded size."""
    seen = [i for i, link in enumerate(links) if link.position <= last]
    order = sorted(seen, key=lambda i: (links[i].position, links[i].layer))
    group: list[int] = []
    for i in order:
        rows = last - links[i].position + 1
        most = 1 if one_by_one else max(1, min(MOST_IN_BATCH, BATCH_ROWS // rows))
        if group and (len(group) >= most or links[group[0]].position != links[i].position):
            yield group
            group = []
        group.append(i)
    if group:
        yield group


def _start(links: Sequence[Link], group: Iterable[int]) -> tuple[int, int]:
    """The first layer and position that a group of links can change."""
    return min(links[i].layer for i in group), min(links[i].position for i in group)


def _noise(
    model: LoadedModel,
    data: TraceData,
    links: Sequence[Link],
    groups: Sequence[Sequence[int]],
    metric: Metric,
    whole: float,
) -> float:
    """How far m moves when nothing is taken away, on the longest path of the groups and on the shortest."""
    found = []
    by_start = sorted(groups, key=lambda group: _start(links, group)[::-1])
    for group in by_start[:1] + by_start[-1:]:
        reuse = Reuse(data, *_start(links, group), metric.position + 1)
        nothing = torch.zeros((len(group), model.dimensions.d_model), device=model.device)
        without = _run_without(model, reuse, [links[i] for i in group], nothing, metric)
        found.append(float((without - whole).abs().max()))
    return max(found)


def _run_without(
    model: LoadedModel, reuse: Reuse, links: Sequence[Link], vectors: Float[Tensor, "n d"], metric: Metric
) -> Float[Tensor, " n"]:
    """m of the run without each link's vector; all are one batch."""
    batch, stop = len(links), metric.position + 1
    cache = filled_cache(model, reuse.base, reuse.position)
    if reuse.position:
        cache.batch_repeat_interleave(batch)
    ids = torch.tensor([reuse.base.ids[reuse.position : stop]], device=model.device).expand(batch, -1)
    options = {"logits_to_keep": 1} if model.blueprint.keeps_last_logits else {}
    with skipping(model, reuse, reuse.position, stop), _taken_away(model, links, vectors, reuse.position, ids.shape[1]):
        out = model.network(input_ids=ids, past_key_values=cache, use_cache=True, **options)
    return metric(out.logits[:, -1]).cpu()


@contextmanager
def _taken_away(
    model: LoadedModel, links: Sequence[Link], vectors: Float[Tensor, "n d"], first: int, n: int
) -> Iterator[None]:
    """Row b of the batch runs without the vector of link b."""
    by_module: dict[tuple[bool, int], list[int]] = {}
    for b, link in enumerate(links):
        by_module.setdefault((link.component in (Component.MLP, Component.MID), link.layer), []).append(b)

    def take(module: nn.Module, chosen: list[int]) -> Any:
        def hook(_: nn.Module, args: Any, output: Any) -> Any:
            raw = output[0] if isinstance(output, tuple) else output
            rows = raw.reshape(-1, n, raw.shape[-1]).clone()
            for b in chosen:
                at = links[b].position - first
                e = vectors[b].to(rows.device) / model.blueprint.multiplier
                rows[b, at] = (rows[b, at].float() - e).to(rows.dtype)
            new = rows.view(raw.shape)
            return (new, *output[1:]) if isinstance(output, tuple) else new

        return module.register_forward_hook(hook)

    with ExitStack() as stack:
        for (after_mlp, layer), chosen in by_module.items():
            block = model.blueprint.blocks[layer]
            stack.callback(take(block.mlp_out if after_mlp else block.attn_out, chosen).remove)
        yield
