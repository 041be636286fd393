"""What dictionaries make of a place: active features, what each writes, and what it leaves out (docs/methods.md §7)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import nan

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from intravisto_core.analysis.decoding import find_top_tokens
from intravisto_core.analysis.layer_readings import Angles, Stream, project
from intravisto_core.analysis.parts import apply_post_norm
from intravisto_core.models import LoadedModel, NormFormula
from intravisto_core.models.dictionaries.dictionary import Dictionary, LayerCoder
from intravisto_core.models.dictionaries.hooks import Form, Hook
from intravisto_core.records import LayerFeatures
from intravisto_core.sites import FeaturePart, Site
from intravisto_core.tracing import TraceData
from intravisto_core.views.context import ViewContext
from intravisto_core.views.layer.asked import Asked
from intravisto_core.views.layer.states import find_joined, read_base, read_site, stack_states

TOP, LOW = 6, 4
ROUNDING = 1e-5  # of the size of the whole
Map = Callable[[Tensor], Tensor]


def find_sites(model: LoadedModel, hook: Hook) -> tuple[Site, ...]:
    """What a run has to capture for a place."""
    return (read_site(model) if hook.form in (Form.NORMED, Form.UNSCALED) else hook.site,)


def read_place(model: LoadedModel, data: TraceData, hook: Hook, positions: slice = slice(None)) -> Float[Tensor, "T d"]:
    """What stands at a place, as a dictionary reads it; float32."""
    layer = hook.layer
    if hook.site is Site.Z:
        return data.site(Site.Z, layer)[:, positions].float().permute(1, 0, 2).flatten(1)
    if hook.form not in (Form.NORMED, Form.UNSCALED):
        return data.site(hook.site, layer)[positions].float()
    reader = model.blueprint.blocks[layer].mlp
    assert reader is not None
    assert reader.norm is not None
    x = data.site(read_site(model), layer)[positions].float()
    norm = NormFormula.of(reader.norm, model.blueprint.architecture).to(x.device)
    return norm(x) if hook.form is Form.NORMED else norm.without_scale(x, norm.sigma(x))


def read_map(context: ViewContext, hook: Hook, position: int) -> Map:
    """From vectors at the place that a dictionary writes to what they are in the stream; linear, norms frozen."""
    if hook.site is not Site.Z:
        return lambda x: x
    model, name = context.model, f"w_o.{hook.layer}"
    w_o, bias = model.weights.get(name).float(), model.weights.bias(name)
    norm = apply_post_norm(model, hook.layer, "w_o")
    multiplier = model.blueprint.multiplier
    if norm is None:
        return lambda x: x @ w_o.T * multiplier
    norm = norm.to(w_o.device)
    whole = read_place(model, context.data, hook, slice(position, position + 1)) @ w_o.T
    sigma = norm.sigma(whole if bias is None else whole + bias)
    return lambda x: norm.linear(x @ w_o.T, sigma) * multiplier


@dataclass(slots=True)
class Rows:
    """Parts of one place, one row each. vectors: in the stream."""

    kinds: list[FeaturePart] = field(default_factory=list)
    vectors: list[Tensor] = field(default_factory=list)
    index: list[int] = field(default_factory=list)
    count: list[int] = field(default_factory=list)
    act: list[float] = field(default_factory=list)

    def add(self, kind: FeaturePart, vector: Tensor, index: int = -1, count: int = 0, act: float = nan) -> None:
        """One more."""
        self.kinds.append(kind)
        self.vectors.append(vector)
        self.index.append(index)
        self.count.append(count)
        self.act.append(act)


def compute_features(
    context: ViewContext, layer: int, asked: Asked, angles: Angles, n: int
) -> tuple[LayerFeatures, ...]:
    """What every dictionary that was added makes of its place at a layer, by name. n: how many features have rows."""
    found = sorted(context.dictionaries.items())
    own = [(dictionary, coder) for _, dictionary in found if (coder := dictionary.layers.get(layer))]
    return tuple(_divide(context, dictionary, coder, asked, angles, n) for dictionary, coder in own) if n else ()


def _divide(
    context: ViewContext, dictionary: Dictionary, found: LayerCoder, asked: Asked, angles: Angles, n: int
) -> LayerFeatures:
    coder, here = found.coder, slice(asked.position, asked.position + 1)
    x = read_place(context.model, context.data, found.reads, here)
    to_stream = read_map(context, found.writes, asked.position)
    encoded = coder.encode(x)
    acts = encoded.acts[0]
    active = acts.nonzero()[:, 0]
    rows, whole = Rows(), to_stream(read_place(context.model, context.data, found.writes, here))[0]
    written = to_stream(coder.rows(active, acts[active], encoded.scale))
    chosen = asked.gauge.choose(written.norm(dim=-1), asked.gauge.pulls(written), n)
    for i in chosen:
        feature = int(active[i])
        rows.add(FeaturePart.FEATURE, written[i], feature, 1, float(acts[feature]))
    left = sorted(set(range(len(active))) - set(chosen))
    if left:
        rows.add(FeaturePart.OTHERS, written[left].sum(0), count=len(left))
    bias = to_stream(coder.constant(encoded.scale, encoded.offset)[None])[0]
    # what rounding leaves of an offset that is put back reads as random tokens: it is in the error
    if float(bias.norm()) > ROUNDING * float(whole.norm()):
        rows.add(FeaturePart.BIAS, bias)
    straight = coder.straight(x[0])
    if straight is not None:
        rows.add(FeaturePart.SKIP, to_stream(straight[None])[0])
    error = whole - sum(rows.vectors, torch.zeros_like(whole))
    rows.add(FeaturePart.ERROR, error)
    size = float(whole.norm())
    pulls = asked.gauge.pulls(whole[None])[0]
    return LayerFeatures(
        dictionary=dictionary.name,
        site=found.site,
        place=found.writes.said,
        n_features=coder.n_features,
        n_active=len(active),
        size=size,
        pull=float(pulls[0]),
        versus=float(pulls[1]),
        error=float(error.norm()) / max(size, 1e-12),
        **_read_rows(context, found, asked, angles, rows),
    )


def _read_rows(
    context: ViewContext, found: LayerCoder, asked: Asked, angles: Angles, rows: Rows
) -> dict[str, np.ndarray]:
    """The columns of the parts."""
    model, vectors = context.model, torch.stack(rows.vectors)
    names, streams = stack_states(context, found.writes.layer, asked.position)
    state = streams[find_joined(names, found.site)]
    z = project(model, torch.cat([state[None], vectors]))
    kl, entropy = Stream(model, state, z[0], read_base(context)).losses(vectors, z[1:])
    z, pulls = z[1:], asked.gauge.pulls(vectors).cpu().numpy()
    scores = angles.scores(z)
    return {
        "part_kind": np.array([str(kind) for kind in rows.kinds]),
        "part_index": np.array(rows.index, np.int32),
        "part_count": np.array(rows.count, np.int32),
        "part_act": np.array(rows.act, np.float32),
        "part_size": vectors.norm(dim=-1).cpu().numpy(),
        "part_pull": pulls[:, 0],
        "part_versus": pulls[:, 1],
        "part_rank": (1 + (z > z[:, asked.target, None]).sum(-1)).int().cpu().numpy(),
        "part_kl": kl.float().cpu().numpy(),
        "part_entropy": entropy.float().cpu().numpy(),
        "part_ids": find_top_tokens(scores, TOP)[1].int().cpu().numpy(),
        "part_low_ids": find_top_tokens(-scores, LOW)[1].int().cpu().numpy(),
    }
