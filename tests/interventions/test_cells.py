"""Every cell of the table of docs/methods.md §8 against manual hooks on plain transformers.

The edited run reads the prompt in one call, goes on over its cache, and reuses the baseline; the reference runs the
whole text in one call. Positions are one of the prompt, its last, and a generated one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

import intravisto_core as iv
from tests import tiny
from tests.case import Case
from tests.interventions.manual import Hand, knocked_out, run
from tests.reference.families import Plain, is_parallel

ALLOWED = 2e-5
IN_FULL = ("Llama", "GPT-2", "GPT-NeoX, parallel", "Gemma-2", "Qwen3-MoE")
REST = tuple(name for name in tiny.CONFIGS if name not in IN_FULL)
STREAM = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out")
TOKEN = 41
HEAD, NEURON = 2, 7


@dataclass(frozen=True)
class Place:
    """A cell's site with what the formulas below need. values: at every position, of this text and of another one."""

    case: Case
    site: str
    layer: int
    at: tuple[int, ...]
    columns: tuple[int, int] | None
    values: torch.Tensor
    others: torch.Tensor

    @property
    def row(self) -> int:
        return self.layer if self.site == "resid_pre" else self.layer + 1

    @property
    def is_update(self) -> bool:
        return self.site in ("attn_out", "mlp_out")


def columns_of(case: Case, site: str) -> tuple[int, int] | None:
    if site == "z":
        width = case.plain.sites["z"][0].shape[-1]
        return HEAD * width, (HEAD + 1) * width
    return (NEURON, NEURON + 1) if site == "act" else None


def positions_of(case: Case) -> tuple[int, ...]:
    return (3, case.trace.prompt_length - 1, case.trace.prompt_length + 1)


def values_of(trace: iv.Trace, site: str, layer: int) -> torch.Tensor:
    """(T, width); that a trace's sites are the plain model's is tested elsewhere."""
    x = torch.tensor(trace.activation(site, layer))
    return x.transpose(0, 1).flatten(1) if site == "z" else x


def place_of(case: Case, other: iv.Trace, site: str, layer: int) -> Place:
    columns = columns_of(case, site)
    at = positions_of(case)
    part = slice(*(columns or (None,)))
    return Place(case, site, layer, at, columns, *(values_of(t, site, layer)[:, part] for t in (case.trace, other)))


# What each operation is, written out once more.


def final_norm(case: Case) -> tuple[torch.Tensor, torch.Tensor, bool]:
    """γ, β and whether the mean is taken off."""
    trunk = case.plain.model.base_model
    module = next(getattr(trunk, n) for n in ("norm", "ln_f", "final_layer_norm") if hasattr(trunk, n))
    scale = module.weight.detach() + (1 if case.plain.kind == "gemma2" else 0)
    bias = getattr(module, "bias", None)
    return scale, torch.zeros_like(scale) if bias is None else bias.detach(), bias is not None


def mix_of(case: Case, lens: str, row: int) -> torch.Tensor:
    model = case.plain.model
    u, e = model.get_output_embeddings().weight.detach(), model.get_input_embeddings().weight.detach()
    depth = row / (len(case.plain.layers) + 1)
    a = {"output": 1.0, "input": 0.0, "linear": depth, "quadratic": depth * depth}[lens]
    return a * u + (1 - a) * e


def direction_of(case: Case, token: int, row: int, lens: str = "output") -> torch.Tensor:
    scale, _, centred = final_norm(case)
    table = mix_of(case, lens, row)
    u = scale * (table[token] - table.mean(0))
    u = u - u.mean() if centred else u
    return u / u.norm()


def top_of(case: Case, x: torch.Tensor, update: bool) -> int:
    scale, shift, centred = final_norm(case)
    x = x - x.mean() if centred else x
    x_hat = scale * x if update else scale * x / (x.square().mean() + 1e-5).sqrt() + shift
    return int((mix_of(case, "output", 0) @ x_hat).argmax())


def replaced(place: Place, lens: str = "linear") -> Callable[[torch.Tensor], torch.Tensor]:
    v = mix_of(place.case, lens, place.row)[TOKEN]
    return lambda x: v / v.norm() * x.norm(dim=-1, keepdim=True)


def main_replaced(place: Place) -> Callable[[torch.Tensor], torch.Tensor]:
    def new(x: torch.Tensor) -> torch.Tensor:
        rows = []
        for old in x:
            main = direction_of(place.case, top_of(place.case, old, place.is_update), place.row)
            c = old @ main
            changed = old - c * main + c * direction_of(place.case, TOKEN, place.row)
            rows.append(changed / changed.norm() * old.norm())
        return torch.stack(rows)

    return new


def steered(place: Place) -> Callable[[torch.Tensor], torch.Tensor]:
    length = place.values[1:].norm(dim=-1).median()
    return lambda x: x - 1.5 * length * direction_of(place.case, TOKEN, place.row)


def removed(place: Place) -> Callable[[torch.Tensor], torch.Tensor]:
    d = direction_of(place.case, TOKEN, place.row)
    return lambda x: x - (x @ d)[:, None] * d


def swapped(place: Place) -> Callable[[torch.Tensor], torch.Tensor]:
    s, t = direction_of(place.case, TOKEN, place.row), direction_of(place.case, TOKEN + 1, place.row)

    def new(x: torch.Tensor) -> torch.Tensor:
        plane = torch.stack([s, t], 1)
        ab = torch.linalg.lstsq(plane, x.T).solution
        return x - (plane @ ab).T + (plane @ ab.flip(0)).T

    return new


Cell = tuple[Callable[[Place, dict[str, Any]], Any], Callable[[Place], Callable[[torch.Tensor], torch.Tensor]]]
word = f"w{TOKEN}"
OF_THE_STREAM: dict[str, Cell] = {
    "replace": (lambda p, at: iv.Replace(**at, token=word, lens="linear"), replaced),
    "replace main component": (lambda p, at: iv.ReplaceMain(**at, token=word), main_replaced),
    "steer": (lambda p, at: iv.Steer(**at, direction=word, strength=-1.5), steered),
    "remove direction": (lambda p, at: iv.RemoveDirection(**at, direction=word), removed),
    "swap directions": (lambda p, at: iv.SwapDirection(**at, source=word, target=f"w{TOKEN + 1}"), swapped),
}
ANYWHERE: dict[str, Cell] = {
    "zero": (lambda p, at: iv.Ablate(**at), lambda p: torch.zeros_like),
    "mean": (lambda p, at: iv.Ablate(**at, how="mean"), lambda p: lambda x: p.values.mean(0).expand(x.shape)),
    "resample": (
        lambda p, at: iv.Ablate(**at, how="resample", source=other_trace(p.case)),
        lambda p: lambda x: p.others[list(p.at)],
    ),
    "patch": (
        lambda p, at: iv.Patch(**at, source=other_trace(p.case), source_positions=[5, 1, 2]),
        lambda p: lambda x: p.others[[5, 1, 2]],
    ),
    "scale": (lambda p, at: iv.Scale(**at, factor=-0.7), lambda p: lambda x: -0.7 * x),
    "set value": (
        lambda p, at: iv.SetValue(**at, value=np.linspace(-1, 1, p.values.shape[1])),
        lambda p: lambda x: torch.linspace(-1, 1, x.shape[1]).expand(x.shape),
    ),
}
_others: dict[str, iv.Trace] = {}


def other_trace(case: Case) -> iv.Trace:
    """A run of another text of the same length."""
    key = str(case.folder)
    if key not in _others:
        _others[key] = case.engine.trace(tuple(3 + (7 * i) % 90 for i in range(len(case.ids))))
    return _others[key]


def off(found: np.ndarray, reference: np.ndarray) -> float:
    """The largest e over positions; a row that an ablation left near 0 is held to the others' size."""
    size = np.linalg.norm(reference, axis=-1)
    return float((np.linalg.norm(found - reference, axis=-1) / np.maximum(size, 0.05 * np.median(size))).max())


def checked(case: Case, intervention: Any, *hands: Hand) -> None:
    """The edited run's last stream is the manual run's, and differs from the baseline's."""
    last = len(case.plain.layers) - 1
    found = case.trace.edit(intervention).activation("resid_post", last)
    reference = run(case.plain, case.ids, *hands)
    assert off(found, reference) <= ALLOWED
    assert off(reference, case.plain.sites["resid_post"][last]) > 1e-3


def at_place(place: Place) -> dict[str, Any]:
    part = {"z": {"head": HEAD}, "act": {"neuron": NEURON}}.get(place.site, {})
    return {"site": place.site, "layer": place.layer, "positions": place.at, **part}


@pytest.mark.parametrize("site", [*STREAM, "z", "act"])
@pytest.mark.parametrize("name", IN_FULL)
def test_every_operation_at_a_site(family, name, site):
    case = family(name)
    if site == "resid_mid" and is_parallel(case.plain.config):
        with pytest.raises(iv.RequestError, match="parallel"):
            case.trace.edit(iv.Ablate(site, 0))
        return
    if site == "act" and name == "Qwen3-MoE":
        with pytest.raises(iv.RequestError, match="expert, neuron"):
            case.trace.edit(iv.Ablate(site, 1))
        return
    cells = OF_THE_STREAM | ANYWHERE if site in STREAM else ANYWHERE
    for number, (operation, (request, formula)) in enumerate(cells.items()):
        place = place_of(case, other_trace(case), site, number % 2)
        hand = Hand(site, place.layer, place.at, formula(place), place.columns)
        try:
            checked(case, request(place, at_place(place)), hand)
        except AssertionError as wrong:
            raise AssertionError(f"{operation} at {site}, layer {place.layer}") from wrong


@pytest.mark.parametrize("name", IN_FULL)
def test_edges_are_knocked_out(family, name):
    """One head's edge, then all heads' row but its own key, then a row with no key left."""
    case = family(name)
    n_heads = case.engine.model.n_heads
    last = case.trace.prompt_length - 1
    for layer, (heads, query, keys) in enumerate(
        [((1,), last, (last - 1, last - 2)), (range(n_heads), last + 1, range(last + 1))]
    ):
        z = torch.tensor(knocked_out(case.plain, layer, [(h, query, k) for h in heads for k in keys]))
        hand = Hand("z", layer, (query,), lambda x, z=z, q=query: z[[q]])
        checked(case, iv.KnockOut(layer, query, list(keys), list(heads)), hand)
    checked(case, iv.KnockOut(1, last, "all"), Hand("z", 1, (last,), torch.zeros_like))


@pytest.mark.parametrize("name", IN_FULL)
def test_a_cut_edge_shows_in_the_pattern(family, name):
    case = family(name)
    query = case.trace.prompt_length + 1
    edited = case.trace.edit(iv.KnockOut(1, query, [query - 1, query], 0), iv.KnockOut(1, 2, "all", [0, 1]))
    before, after = case.trace.activation("pattern", 1), edited.activation("pattern", 1)
    left = np.ones(before.shape[-1], bool)
    left[[query - 1, query]] = False
    assert np.allclose(after[0, query, left], before[0, query, left] / before[0, query, left].sum(), atol=1e-5)
    assert (after[0, query, ~left] == 0).all()
    assert (after[:2, 2] == 0).all()
    assert np.abs(edited.activation("z", 1)[:2, 2]).max() == 0
    assert np.allclose(after[1:, 3:], before[1:, 3:], atol=1e-5)


@pytest.mark.parametrize("name", IN_FULL)
def test_a_frozen_pattern_moves_the_baselines_way(family, name):
    """An edit below changes queries, keys and values; the frozen heads keep the pattern and take the new values."""
    case = family(name)
    scale = iv.Scale("resid_pre", 1, [3, 4], factor=-1.3)
    free = case.trace.edit(scale)
    pattern = case.trace.activation("pattern", 1)
    frozen = case.trace.edit(scale, iv.FreezePattern(1, [0, HEAD]))
    after, moved = frozen.activation("pattern", 1), free.activation("pattern", 1)
    assert np.array_equal(after[[0, HEAD]], pattern[[0, HEAD]])
    assert np.array_equal(after[[1, 3]], moved[[1, 3]])
    assert np.abs(moved - pattern)[0].max() > 1e-3
    v = free.activation("v", 1)
    v = np.repeat(v, len(pattern) // len(v), 0)
    z = torch.tensor(after @ v).transpose(0, 1).flatten(1)
    hands = (
        Hand("resid_pre", 1, (3, 4), lambda x: -1.3 * x),
        Hand("z", 1, tuple(range(len(case.ids))), lambda x: z),
    )
    assert off(frozen.activation("resid_post", 1), run(case.plain, case.ids, *hands)) <= ALLOWED


@pytest.mark.parametrize("name", REST)
def test_one_cell_a_site_on_every_other_family(family, name):
    case = family(name)
    n_layers, capabilities = case.engine.model.n_layers, case.engine.model.capabilities
    for number, site in enumerate((*STREAM, "z", "act")):
        if site == "resid_mid" and is_parallel(case.plain.config):
            continue
        if site == "act" and not (capabilities["neurons"].ok and case.engine.model.d_mlp):
            continue
        place = place_of(case, case.trace, site, number % n_layers)
        # A value instead of a factor: a neuron may be silent.
        hand = Hand(site, place.layer, place.at, lambda x: torch.full_like(x, 1.5), place.columns)
        try:
            checked(case, iv.SetValue(**at_place(place), value=1.5), hand)
        except AssertionError as wrong:
            raise AssertionError(f"{site}, layer {place.layer}") from wrong
    last = case.trace.prompt_length - 1
    z = torch.tensor(knocked_out(case.plain, 1, [(1, last, last), (1, last, last - 1)]))
    hand = Hand("z", 1, (last,), lambda x: z[[last]])
    checked(case, iv.KnockOut(1, last, [last - 1, last], 1), hand)


@pytest.mark.parametrize("mode", ["held", "free"])
@pytest.mark.parametrize("site", [*STREAM, "z", "act"])
@pytest.mark.parametrize("name", ["Llama", "GPT-2"])
def test_every_layer_position_and_generated_step(family, name, site, mode):
    """One place at a time, over the cache and on top of the baseline; the text that came is run in one call by hand."""
    case = family(name)
    start, part = case.trace.prompt_length, {"z": {"head": HEAD}, "act": {"neuron": NEURON}}.get(site, {})
    new = torch.linspace(-1, 1, place_of(case, case.trace, site, 0).values.shape[1])
    for layer in range(len(case.plain.layers)):
        for where in (0, 5, start - 1, -3, iv.Generated(0), iv.Generated(1)):
            edited = case.trace.edit(iv.SetValue(site, layer, where, **part, value=new.numpy()), text=mode)
            ids = tuple(t.id for t in edited.tokens)
            at = start + where.step if isinstance(where, iv.Generated) else where % start
            plain = case.plain if ids == case.ids else Plain(case.folder, ids)
            hand = Hand(site, layer, (at,), lambda x: new.expand(x.shape), columns_of(case, site))
            found = edited.activation("resid_post", len(case.plain.layers) - 1)
            assert off(found, run(plain, ids, hand)) <= ALLOWED, (layer, where)
            assert mode == "free" or ids == case.ids


@pytest.mark.parametrize("mode", ["held", "free"])
def test_attention_is_edited_at_every_layer_position_and_generated_step(family, mode):
    case = family("Llama")
    start = case.trace.prompt_length
    for layer in range(len(case.plain.layers)):
        for where in (1, start - 1, iv.Generated(1)):
            at = start + where.step if isinstance(where, iv.Generated) else where
            edited = case.trace.edit(iv.KnockOut(layer, where, [0, at], 1), text=mode)
            ids = tuple(t.id for t in edited.tokens)
            plain = case.plain if ids == case.ids else Plain(case.folder, ids)
            z = torch.tensor(knocked_out(plain, layer, [(1, at, 0), (1, at, at)]))
            hand = Hand("z", layer, (at,), lambda x, z=z, at=at: z[[at]])
            found = edited.activation("resid_post", len(case.plain.layers) - 1)
            assert off(found, run(plain, ids, hand)) <= ALLOWED, (layer, where)
