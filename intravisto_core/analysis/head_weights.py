"""What heads can do by their weights alone: copying, and reading what other heads write (docs/methods.md §7)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from intravisto_core.analysis.parts import apply_post_norm
from intravisto_core.analysis.score_parts import fold_attention, fold_reader, through_norm
from intravisto_core.models import LoadedModel
from intravisto_core.models.reader import read_readers

ROWS = 4096


def measure_table(model: LoadedModel) -> Iterator[tuple[int, Float[Tensor, "d d"]]]:
    """`Eᵀ Ū`, Ū centred over the vocabulary: summed a stretch of rows at a time, float64; the last one is whole."""
    weights, d = model.weights, model.dimensions.d_model
    total = torch.zeros((d, d), dtype=torch.float64, device=model.device)
    n = min(weights.n_rows("embed"), weights.n_rows("unembed"))
    mean = torch.stack([weights.get("unembed", slice(i, min(i + ROWS, n))).float().sum(0) for i in range(0, n, ROWS)])
    mean = mean.sum(0, dtype=torch.float64).float() / n
    for start in range(0, n, ROWS):
        rows = slice(start, min(start + ROWS, n))
        total += (weights.get("embed", rows).float().T @ (weights.get("unembed", rows).float() - mean)).double()
        yield rows.stop, total


def measure_copying(model: LoadedModel, layer: int, table: Float[Tensor, "d d"]) -> Float[Tensor, " H"]:
    """`Σ Re λ / Σ |λ|` of `W_V (γ_in⊙C) Eᵀ Ū (γ_f⊙C) P_lin W_O` of every head: 1 makes each token likelier itself."""
    values, written = fold_values(model, layer), fold_output(model, layer)
    group = written.shape[0] // values.shape[0]
    table = through_norm(table, model.norm.to(table.device))
    circuit = values.repeat_interleave(group, 0).double() @ table.to(values.device) @ written.double()
    roots = torch.linalg.eigvals(circuit)
    found: Tensor = roots.real.sum(-1) / roots.abs().sum(-1).clamp(min=1e-30)
    return found


def fold_values(model: LoadedModel, layer: int) -> Float[Tensor, "Hkv d_v d"]:
    """`W_V (γ_in⊙C)` of every kv head."""
    norm, weight = read_readers(model, layer)[0].norm, model.weights.get(f"w_v.{layer}").float()
    weight = weight if norm is None else through_norm(weight, norm)
    return weight.unflatten(0, (model.dimensions.n_kv_heads, -1))


def fold_output(model: LoadedModel, layer: int) -> Float[Tensor, "H d d_v"]:
    """`P_lin W_O` of every head, times the multiplier."""
    w_o = model.weights.get(f"w_o.{layer}").float().unflatten(1, (model.dimensions.n_heads, -1)).permute(1, 2, 0)
    norm = apply_post_norm(model, layer, "w_o")
    if norm is not None:
        w_o = norm.linear(w_o, torch.ones((), dtype=torch.float32, device=w_o.device))
    return w_o.transpose(1, 2) * model.blueprint.multiplier


def measure_composition(
    model: LoadedModel, layer: int, head: int
) -> Iterator[tuple[Float[Tensor, " H"], Float[Tensor, " H"], Float[Tensor, " H"]]]:
    """For each layer below, `‖A B‖_F / (‖A‖_F ‖B‖_F)` with each head there: by queries, keys and values.

    B = W_O W_V of the head below; A = `W_Kᵀ W_Q`, its transpose, and W_O W_V of the head that reads. Norms' γ, centring
    and q/k norms' γ are folded in; statistics, biases and positions (Δ = 0) are left out.
    """
    size = model.dimensions
    group = size.n_heads // size.n_kv_heads
    queries, keys = read_readers(model, layer)
    q, k = fold_reader(queries, head), fold_reader(keys, head // group)
    v, o = fold_values(model, layer)[head // group], fold_output(model, layer)[head]
    grams = ((q, k @ k.T), (k, q @ q.T), (v, o.T @ o))
    for below in range(layer):
        w_o = model.weights.get(f"w_o.{below}").float().unflatten(1, (size.n_heads, -1))
        norm, values = apply_post_norm(model, below, "w_o"), fold_values(model, below)
        values = values.repeat_interleave(group, 0)
        gram = values @ values.transpose(1, 2)
        written = fold_output(model, below)
        sizes = _norm(written.transpose(1, 2) @ written, gram)
        found = []
        for reading, outer in grams:
            passed = fold_attention(reading, w_o, norm, model.blueprint.multiplier)
            whole = (reading @ reading.T * outer).sum().clamp(min=0).sqrt()
            found.append(_norm(passed.transpose(1, 2) @ outer @ passed, gram) / (whole * sizes).clamp(min=1e-30))
        yield found[0], found[1], found[2]


def _norm(left: Float[Tensor, "H n n"], right: Float[Tensor, "H n n"]) -> Float[Tensor, " H"]:
    """`‖X Y‖_F` of each head, from `left = Xᵀ X` and `right = Y Yᵀ`."""
    return (left * right.transpose(1, 2)).sum((1, 2)).clamp(min=0).sqrt()
