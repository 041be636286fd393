"""What a query looks for and what a key answers to, as directions in the stream (docs/methods.md §7)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from intravisto_core.analysis.layer_readings import Angles, project
from intravisto_core.errors import ModelError
from intravisto_core.models.reader import Reader, read_readers
from intravisto_core.models.rotation import read_rotation
from intravisto_core.sites import Site
from intravisto_core.views.context import ViewContext

Array = np.ndarray


@dataclass(frozen=True, slots=True)
class Looks:
    """Tokens that the query looks for at its largest source, that each key answers to, and that each value takes.

    −1: not known.
    """

    query: Int[Array, " k"]
    keys: Int[Array, "J k"]
    values: Int[Array, "J k"]
    notes: tuple[str, ...] = ()


def find_looks(
    context: ViewContext, layer: int, head: int, position: int, sources: list[int], angles: Angles, k: int
) -> Looks:
    """Tokens along the directions of `find_directions`. sources: positions of keys, the largest first."""
    n, notes = len(sources), []
    found: list[Array] = []
    for what, find in (("looks for", find_directions), ("takes", find_values)):
        try:
            directions = find(context, layer, head, position, sources)
        except ModelError as error:
            notes.append(f"What the head {what} is not shown: {error}")
            found.append(np.full((n + 1, k), -1, np.int32))
            continue
        scores = angles.scores(project(context.model, directions))
        found.append(scores.topk(k, -1).indices.int().cpu().numpy())
    return Looks(found[0][0], found[0][1:], found[1][-n:], tuple(notes))


def find_directions(
    context: ViewContext, layer: int, head: int, position: int, sources: list[int]
) -> Float[Tensor, "rows d"]:
    """First what the query looks for at the first source, then what the key at each source answers to.

    The score is a product of the stream at the key with the first kind, and of the stream at the query with the second.
    The scales of both input norms and of the q/k norms are left out: each is one number for a direction.

    Raises:
        ModelError: how this model makes its queries and keys is not known.
    """
    model, data, size = context.model, context.data, context.model.dimensions
    kv = head * size.n_kv_heads // size.n_heads
    queries, keys = read_readers(model, layer)
    rotation = read_rotation(model, layer, data.length)
    query, at = data.site(Site.Q, layer)[head, position].float(), torch.tensor(sources, device=data.final.device)
    looked_for = rotation.at(at[:1]).undo(query[None])
    here = torch.full_like(at, position)
    answers = rotation.at(here).undo(data.site(Site.K, layer)[kv, at].float())
    return torch.cat([_pull_back(keys, kv, looked_for), _pull_back(queries, head, answers)])


def find_values(context: ViewContext, layer: int, head: int, position: int, sources: list[int]) -> Float[Tensor, "J d"]:
    """What makes the value at each source: `C(γ_in ⊙ W_Vᵀ v_j)`, whose product with a stream is how far it makes it.

    The scale of the input norm is left out.

    Raises:
        ModelError: how this model makes its values is not known.
    """
    model, size = context.model, context.model.dimensions
    if not model.weights.has(f"w_v.{layer}"):
        raise ModelError(f"layer {layer}: expected a projection that makes its values; none is known")
    norm = read_readers(model, layer)[0].norm
    kv = head * size.n_kv_heads // size.n_heads
    values = context.data.site(Site.V, layer)[kv, sources].float()
    rows = model.weights.get(f"w_v.{layer}").float().unflatten(0, (size.n_kv_heads, -1))[kv]
    out = values @ rows
    return out if norm is None else norm.centre(norm.scale * out)


def _pull_back(reader: Reader, head: int, vectors: Float[Tensor, "n d_qk"]) -> Float[Tensor, "n d"]:
    """Through the q/k norm, the projection and the input norm, against the way that the stream goes."""
    if reader.head_norm is not None:
        vectors = reader.head_norm.pull_back(vectors, head)
    rows = reader.w.unflatten(0, (-1, reader.d_head))[head]
    out = vectors @ rows
    return out if reader.norm is None else reader.norm.centre(reader.norm.scale * out)
