"""Mass handed down through shares, row by row: vectors times T×T matrices (docs/methods.md §6).

Everything is float64 in NumPy. R = L+2 heatmap rows, T positions, S starts that are followed side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from jaxtyping import Float, Int

from intravisto_core.sites import NodeKind, SinkHandling

Array = np.ndarray

TERMINALS = (NodeKind.SINK, NodeKind.BIAS, NodeKind.HIDDEN, NodeKind.UNDEFINED, NodeKind.INTERVENTION)
UNDEFINED, INTERVENTION = TERMINALS.index(NodeKind.UNDEFINED), TERMINALS.index(NodeKind.INTERVENTION)
SMALLEST = 1e-6


@dataclass(frozen=True, slots=True)
class Junctions:
    """Shares where parts join the stream of one block: (T,) each, NaN where undefined.

    attention, residual_attention: of the stream after attention; in a parallel block of the block output, with `mlp`.
    mlp, residual_mlp: of the block output; residual_mlp is not read in a parallel block. intervention_attention,
    intervention_mlp: what an edit put there, None without one.
    """

    attention: Float[Array, " T"]
    residual_attention: Float[Array, " T"]
    mlp: Float[Array, " T"]
    residual_mlp: Float[Array, " T"]
    intervention_attention: Float[Array, " T"] | None = None
    intervention_mlp: Float[Array, " T"] | None = None

    @classmethod
    def of(cls, shares: Mapping[str, Array], parallel: bool) -> Junctions:
        """From single precision, by the names of the fields: those of a junction are brought to a sum of exactly 1."""
        exact = {name: share.astype(np.float64) for name, share in shares.items()}
        at_mlp = ("mlp", "residual_attention", "attention") if parallel else ("mlp", "residual_mlp")
        at_attention = () if parallel else ("attention", "residual_attention", "intervention_attention")
        for wanted in ((*at_mlp, "intervention_mlp"), at_attention):
            names = [n for n in wanted if n in exact]
            total = np.sum([exact[n] for n in names], 0)
            exact |= {n: exact[n] / total for n in names}
        return cls(**exact)


@dataclass(frozen=True, slots=True)
class Sources:
    """How each query's attention divides: positions (query, T), and the terminals (query,). A row sums to 1, or is
    NaN where undefined. intervention: what an edit wrote in the attention's place. taken: Σ|share| of the layer's
    attention sinks, set aside or not; None before `with_sinks`. Of some queries alone, the first axis is theirs.
    """

    positions: Float[Array, "query T"]
    sink: Float[Array, " query"]
    bias: Float[Array, " query"]
    hidden: Float[Array, " query"]
    intervention: Float[Array, " query"]
    taken: Float[Array, " query"] | None = None

    @classmethod
    def of(cls, positions: Array, sink: Array, bias: Array, intervention: Array) -> Sources:
        """From single precision: rows are brought to a sum of exactly 1."""
        positions, sink, bias, edit = (a.astype(np.float64) for a in (positions, sink, bias, intervention))
        total = positions.sum(1) + sink + bias + edit
        return cls(positions / total[:, None], sink / total, bias / total, 0 * total, edit / total)

    def stretches(self, queries: Int[Array, " n"]) -> Iterator[tuple[Int[Array, " n"], Sources]]:
        """The rows of some queries, in order."""
        if len(queries) == len(self.sink):
            yield queries, self
            return
        named = {f.name: a for f in fields(self) if (a := getattr(self, f.name)) is not None}
        yield queries, Sources(**{name: a[queries] for name, a in named.items()})

    def with_sinks(self, sinks: Int[Array, " n"], handling: SinkHandling) -> Sources:
        """What becomes of attention to some positions: shown, or in the terminal *hidden*, or made up for by the rest.

        Where nothing would be left, it is hidden even so.
        """
        given = self.positions[:, sinks]
        taken, start = np.abs(given).sum(1), given.sum(1)
        if handling is SinkHandling.SHOW:
            return replace(self, taken=taken)
        positions = self.positions.copy()
        positions[:, sinks] = 0
        if handling is SinkHandling.HIDE:
            return replace(self, positions=positions, hidden=self.hidden + start, taken=taken)
        left = 1 - start
        size = np.abs(positions).sum(1) + np.abs(self.sink) + np.abs(self.bias) + np.abs(self.intervention)
        alone = np.abs(left) <= SMALLEST * np.maximum(size, 1)
        scale = 1 / np.where(alone, 1, left)
        return Sources(
            positions * scale[:, None],
            self.sink * scale,
            self.bias * scale,
            np.where(alone, start, 0.0),
            self.intervention * scale,
            taken,
        )


@dataclass(frozen=True, slots=True)
class PassingSources:
    """The sources of a long text: the rows of a stretch of queries are made when they are asked for, and not kept.

    make: the rows of some queries, in order, a stretch at a time. sinks, handling: as `Sources.with_sinks` takes them.
    """

    make: Callable[[Int[Array, " n"]], Iterator[tuple[Int[Array, " n"], Sources]]]
    sinks: Int[Array, " n"] | None = None
    handling: SinkHandling = SinkHandling.SHOW

    def stretches(self, queries: Int[Array, " n"]) -> Iterator[tuple[Int[Array, " n"], Sources]]:
        """The rows of some queries, in order."""
        for at, rows in self.make(queries):
            yield at, rows if self.sinks is None else rows.with_sinks(self.sinks, self.handling)

    def with_sinks(self, sinks: Int[Array, " n"], handling: SinkHandling) -> PassingSources:
        """See `Sources.with_sinks`."""
        return replace(self, sinks=sinks, handling=handling)


@dataclass(frozen=True, slots=True)
class Block:
    """All that one block hands down by. mlp_edit: (T,) 1 where an edit wrote in the MLP's place, None without any."""

    junctions: Junctions
    sources: Sources | PassingSources
    mlp_edit: Float[Array, " T"] | None = None

    @property
    def through_mlp(self) -> Float[Array, " T"]:
        """The share of an MLP node's mass that goes on to what it read."""
        return np.ones_like(self.junctions.mlp) if self.mlp_edit is None else 1 - self.mlp_edit


@dataclass(frozen=True, slots=True)
class Masses:
    """Mass through every node, by heatmap row; rows without such nodes are 0.

    block, mid, mlp, attention: (R, S, T). lost: (R, S, 5) into the terminals of a row, in the order of `TERMINALS`.
    to_sinks: (R, S) Σ|mass| that attention hands to the attention sinks of a layer, or would if they were not hidden.
    """

    block: Float[Array, "R S T"]
    mid: Float[Array, "R S T"]
    mlp: Float[Array, "R S T"]
    attention: Float[Array, "R S T"]
    lost: Float[Array, "R S 5"]
    to_sinks: Float[Array, "R S"]

    def error(self, row: int) -> float:
        """The largest |1 − Σ of a full cut| from the start's row down: conservation."""
        above = np.cumsum(self.lost[::-1].sum(-1), 0)[::-1]
        beyond = np.concatenate([above[1:], np.zeros_like(above[:1])])
        whole = self.block.sum(-1) + beyond
        return float(np.abs(1 - whole[: row + 1]).max())


def fill_undefined(*shares: Array) -> tuple[Array, ...]:
    """Shares with NaN as 0, and last what is then left over: 1 where undefined, else 0."""
    undefined = np.isnan(shares[0])
    return (*(np.where(undefined, 0.0, s) for s in shares), undefined.astype(np.float64))


def hand_down(
    start: Float[Array, "S T"], row: int, blocks: Sequence[Block], parallel: bool
) -> Generator[int, None, Masses]:
    """Hand the mass of each start down from `row` (1 to L+1) to row 0; yields each row once it is done.

    blocks: all L, the first one first.
    """
    n_rows = len(blocks) + 2
    block, mid, mlp, attention = np.zeros((4, n_rows, *start.shape))
    lost, to_sinks = np.zeros((n_rows, len(start), len(TERMINALS))), np.zeros((n_rows, len(start)))
    masses = Masses(block, mid, mlp, attention, lost, to_sinks)
    masses.block[row] = start
    if row == n_rows - 1:
        masses.block[row - 1] = start
        row -= 1
    for r in range(row, 0, -1):
        (_parallel_step if parallel else _serial_step)(masses, r, blocks[r - 1])
        yield r
    return masses


def _serial_step(masses: Masses, r: int, block: Block) -> None:
    j = block.junctions
    mlp, residual, nothing = fill_undefined(j.mlp, j.residual_mlp)
    masses.mlp[r] = masses.block[r] * mlp
    masses.mid[r] = masses.block[r] * residual + masses.mlp[r] * block.through_mlp
    _lose(masses, r, masses.block[r], nothing, j.intervention_mlp)
    _lose(masses, r, masses.mlp[r], np.zeros_like(mlp), block.mlp_edit)
    attention, residual, nothing = fill_undefined(j.attention, j.residual_attention)
    masses.attention[r] = masses.mid[r] * attention
    masses.block[r - 1] = masses.mid[r] * residual
    _lose(masses, r, masses.mid[r], nothing, j.intervention_attention)
    _attend(masses, r, block.sources)


def _parallel_step(masses: Masses, r: int, block: Block) -> None:
    j = block.junctions
    mlp, attention, residual, nothing = fill_undefined(j.mlp, j.attention, j.residual_attention)
    masses.mlp[r] = masses.block[r] * mlp
    masses.attention[r] = masses.block[r] * attention
    masses.block[r - 1] = masses.block[r] * residual + masses.mlp[r] * block.through_mlp
    _lose(masses, r, masses.block[r], nothing, j.intervention_mlp)
    _lose(masses, r, masses.mlp[r], np.zeros_like(mlp), block.mlp_edit)
    _attend(masses, r, block.sources)


def _lose(masses: Masses, r: int, mass: Float[Array, "S T"], nothing: Array, edit: Array | None) -> None:
    """What a junction hands to the terminals of its row."""
    masses.lost[r, :, UNDEFINED] += mass @ nothing
    if edit is not None:
        masses.lost[r, :, INTERVENTION] += mass @ np.nan_to_num(edit)


def _attend(masses: Masses, r: int, sources: Sources | PassingSources) -> None:
    for queries, rows in sources.stretches(np.flatnonzero(masses.attention[r].any(0))):
        mass = masses.attention[r][:, queries]
        positions, ends = fill_undefined_sources(rows)
        masses.block[r - 1] += mass @ positions
        if rows.taken is not None:
            masses.to_sinks[r] += np.abs(mass) @ np.nan_to_num(rows.taken)
        for terminal, share in enumerate(ends):
            masses.lost[r, :, terminal] += mass @ share


def fill_undefined_sources(sources: Sources) -> tuple[Array, tuple[Array, ...]]:
    """Positions with NaN as 0, and what goes to each of `TERMINALS`; undefined is 1 or 0. (T, T) and (T,) each."""
    undefined = np.isnan(sources.sink)
    nothing, given = undefined.astype(np.float64), (sources.sink, sources.bias, sources.hidden, sources.intervention)
    positions = sources.positions
    ends: tuple[Array, ...] = given
    if undefined.any():
        positions = np.where(undefined[:, None], 0.0, positions)
        ends = tuple(np.where(undefined, 0.0, s) for s in given)
    return positions, (*ends[:UNDEFINED], nothing, *ends[UNDEFINED:])
