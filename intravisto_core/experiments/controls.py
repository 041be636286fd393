"""What an edit is held against: other places and parts, random vectors, shuffled prompts (docs/methods.md §9)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from intravisto_core.experiments.patch_metric import nudge
from intravisto_core.models import LoadedModel
from intravisto_core.request import FreezePattern, KnockOut
from intravisto_core.request.interventions import Written
from intravisto_core.request.positions import resolve
from intravisto_core.sites import Site
from intravisto_core.tracing.edits import Edits
from intravisto_core.tracing.site_edits import Change, SiteEdit

TRIES = 20
Edit = tuple[Written, ...]
Part = tuple[int, int, int]  # layer, expert or −1, head or neuron


class NoControl(Exception):
    """A kind of control cannot apply; why, in words."""


@dataclass(frozen=True, slots=True)
class Control:
    """One draw. words: what it is. edit: what takes the place of the claim's own."""

    words: str
    edit: Edit


def draw_positions(
    edit: Edit, length: int, position: int, n: int, rng: np.random.Generator, show: Callable[[int], str]
) -> list[Control]:
    """The same edit at other positions: of an attention cut other keys, else other places where it acts.

    length: of the prompt. position: where the metric is read; later ones change nothing. Position 0 is left out: it is
    an attention sink, and what is done there says nothing about an ordinary place. At most n, each another.

    Raises:
        NoControl: there are not enough other positions.
    """
    own = sorted({p for each in edit for p in _places(each, length) if p <= position})
    last = min([position, *(max(resolve(e.queries, length, length)) for e in edit if isinstance(e, KnockOut))])
    pool = [p for p in range(1, last + 1) if p not in own]
    if not own or len(pool) < len(own):
        raise NoControl(f"the edit acts on {len(own)} of the positions, and there are {len(pool)} others")

    def make(chosen: tuple[int, ...]) -> Control:
        moved = dict(zip(own, chosen, strict=True))
        words = ("position " if len(chosen) == 1 else "positions ") + ", ".join(map(show, chosen))
        return Control(words, tuple(_moved(each, moved, length) for each in edit))

    return [make(chosen) for chosen in _subsets(pool, len(own), n, rng)]


def _places(each: Written, length: int) -> tuple[int, ...]:
    if isinstance(each, FreezePattern):
        return ()
    return resolve(each.keys if isinstance(each, KnockOut) else each.positions, length, length)


def _moved(each: Written, moved: dict[int, int], length: int) -> Written:
    if isinstance(each, FreezePattern):
        return each
    there = tuple(moved[p] for p in _places(each, length) if p in moved)
    # an edit that is after the metric's position alone has nowhere to go, and does nothing where it is
    if not there:
        return each
    return replace(each, keys=there) if isinstance(each, KnockOut) else replace(each, positions=there)


def draw_parts(model: LoadedModel, edit: Edit, n: int, rng: np.random.Generator) -> list[Control]:
    """The same edit at other heads, or other neurons, of the same layers. At most n, each another.

    Raises:
        NoControl: it acts on no single head or neuron, or there are no others.
    """
    named = [_parts(each) for each in edit]
    if not all(named):
        raise NoControl("the edit acts on no single head or neuron")
    own = list(dict.fromkeys(part for parts in named for part in parts))
    groups: dict[tuple[int, int, bool], list[Part]] = {}
    for each, parts in zip(edit, named, strict=True):
        for part in parts:
            group = groups.setdefault((part[0], part[1], _is_neuron(each)), [])
            if part not in group:
                group.append(part)
    pools: dict[tuple[int, int, bool], list[int]] = {}
    for (layer, expert, neuron), parts in groups.items():
        taken = {part[2] for part in parts}
        size = _width(model, layer, expert) if neuron else model.dimensions.n_heads
        pools[layer, expert, neuron] = [i for i in range(size) if i not in taken]
        if size < 2 * len(parts):
            raise NoControl(f"layer {layer} has {size - len(parts)} other {'neurons' if neuron else 'heads'}")

    def make(moved: dict[tuple[bool, Part], int]) -> Control:
        words = [f"layer {part[0]}, {'neuron' if neuron else 'head'} {new}" for (neuron, part), new in moved.items()]
        return Control("; ".join(words), tuple(_with_parts(each, moved) for each in edit))

    if len(own) == 1:
        (key,) = groups
        return [make({(key[2], own[0]): i}) for (i,) in _subsets(pools[key], 1, n, rng)]
    found: dict[tuple[int, ...], dict[tuple[bool, Part], int]] = {}
    for _ in range(TRIES * n):
        moved = {
            (key[2], part): int(i)
            for key, parts in groups.items()
            for part, i in zip(parts, rng.choice(pools[key], len(parts), replace=False), strict=True)
        }
        found.setdefault(tuple(moved.values()), moved)
        if len(found) == n:
            break
    return [make(moved) for moved in found.values()]


def _is_neuron(each: Written) -> bool:
    return getattr(each, "neuron", None) is not None


def _parts(each: Written) -> list[Part]:
    """The heads or neurons that an intervention names; none where it acts on all."""
    if isinstance(each, KnockOut | FreezePattern):
        return [] if isinstance(each.heads, str) else [(each.layer, -1, h) for h in each.heads]
    if each.head is not None:
        return [(each.layer, -1, each.head)]
    if each.neuron is None:
        return []
    expert, neuron = each.neuron if isinstance(each.neuron, tuple) else (-1, each.neuron)
    return [(each.layer, expert, neuron)]


def _with_parts(each: Written, moved: dict[tuple[bool, Part], int]) -> Written:
    new = tuple(moved[_is_neuron(each), part] for part in _parts(each))
    if isinstance(each, KnockOut | FreezePattern):
        return replace(each, heads=new)
    if each.head is not None:
        return replace(each, head=new[0])
    return replace(each, neuron=(each.neuron[0], new[0]) if isinstance(each.neuron, tuple) else new[0])


def _width(model: LoadedModel, layer: int, expert: int) -> int:
    if expert < 0:
        return model.dimensions.d_mlp
    return int(model.weights.get(f"expert_out.{layer}.{expert}").shape[1])


def _subsets(pool: Sequence[int], size: int, n: int, rng: np.random.Generator) -> Iterator[tuple[int, ...]]:
    """At most n different subsets of a pool, each in order."""
    if size == 1:
        yield from ((int(i),) for i in rng.choice(pool, min(n, len(pool)), replace=False))
        return
    found: dict[tuple[int, ...], None] = {}
    for _ in range(TRIES * n):
        found[tuple(sorted(int(i) for i in rng.choice(pool, size, replace=False)))] = None
        if len(found) == n:
            break
    yield from found


def shuffle_prompt(
    ids: tuple[int, ...], special: frozenset[int], n: int, rng: np.random.Generator
) -> list[tuple[int, ...]]:
    """The prompt with its tokens in random orders; special tokens stay where they are. At most n, each another.

    Raises:
        NoControl: there is no other order.
    """
    free = [p for p, i in enumerate(ids) if i not in special]
    found: dict[tuple[int, ...], None] = {}
    for _ in range(TRIES * n):
        new = list(ids)
        for p, q in zip(free, rng.permutation(free).tolist(), strict=True):
            new[p] = ids[q]
        if tuple(new) != ids:
            found[tuple(new)] = None
        if len(found) == n:
            break
    if not found:
        raise NoControl("the prompt's tokens have no other order")
    return list(found)


def turn_edits(edits: Edits, seed: int) -> Edits:
    """Random vectors, each as long as the change that the edit would make at its position.

    Raises:
        NoControl: an edit cuts or freezes attention, or changes a single number.
    """
    if edits.knocked or edits.frozen:
        raise NoControl("attention is cut or frozen, which is no vector")
    if edits.experts or any(e.columns is not None and e.columns.stop - e.columns.start == 1 for e in edits.sites):
        raise NoControl("a single number has no other direction")
    draw = torch.Generator().manual_seed(seed)
    return Edits(tuple(replace(each, change=_turned(each.change, draw)) for each in edits.sites))


def _turned(change: Change, draw: torch.Generator) -> Change:
    def turned(old: Tensor, places: list[int]) -> Tensor:
        length = (change(old, places).float().expand_as(old) - old.float()).norm(dim=-1, keepdim=True)
        vector = torch.randn(old.shape, generator=draw).to(old.device)
        return old.float() + vector * (length / vector.norm(dim=-1, keepdim=True))

    return turned


def nudge_edits(model: LoadedModel, edits: Edits, seed: int) -> Edits:
    """No edit, but the numbers that it is about moved by one step of the dtype, up or down by chance.

    Where attention is cut or frozen these are what its heads bring; of an expert's neuron, what the MLP writes.
    """
    draw = torch.Generator().manual_seed(seed)
    sites = [replace(each, change=_nudged(draw)) for each in edits.sites]
    width = model.dimensions.d_value
    cuts: list[tuple[int, tuple[int, ...], Any]] = [(k.layer, k.queries, k.heads) for k in edits.knocked]
    cuts += [(f.layer, tuple(range(f.base.length)), f.heads) for f in edits.frozen]
    for layer, places, heads in cuts:
        for head in heads.nonzero()[:, 0].tolist():
            columns = slice(head * width, (head + 1) * width)
            sites.append(SiteEdit(Site.Z, layer, places, _nudged(draw), columns))
    sites += [SiteEdit(Site.MLP_OUT, each.layer, each.places, _nudged(draw)) for each in edits.experts]
    return Edits(tuple(sites))


def _nudged(draw: torch.Generator) -> Change:
    return lambda old, _: nudge(old, old.dtype, draw)
