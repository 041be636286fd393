"""Laws of the flow on random shares: conservation, signs, and a literal recursion."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intravisto_core.analysis.flow import Block, Junctions, Sources, hand_down
from intravisto_core.analysis.flow_links import NODE_KINDS, Limits, collect_node_masses, find_links
from intravisto_core.progress import finish_turns
from intravisto_core.sites import SinkHandling
from tests.flow.literal import Layer, Walk


class Made:
    """A random model of few layers and tokens; signed shares may be negative and larger than 1."""

    def __init__(self, seed: int, parallel: bool, signed: bool) -> None:
        self.rng = np.random.default_rng(seed)
        self.parallel, self.signed = parallel, signed
        self.length = int(self.rng.integers(1, 5))
        pairs = [self._layer() for _ in range(int(self.rng.integers(1, 4)))]
        self.blocks, self.layers = [b for b, _ in pairs], [layer for _, layer in pairs]

    def _parts(self, n: int) -> np.ndarray:
        """n shares a position that sum to 1, NaN at some."""
        raw = self.rng.random((n, self.length)) ** 3
        if self.signed:
            raw = raw - 0.2
        raw /= raw.sum(0)
        raw[:, self.rng.random(self.length) < 0.1] = np.nan
        return raw

    def _layer(self) -> tuple[Block, Layer]:
        at_mlp = self._parts(3 if self.parallel else 2)
        attention, residual = (at_mlp[1], at_mlp[2]) if self.parallel else self._parts(2)
        junctions = Junctions(attention, residual, at_mlp[0], at_mlp[-1])
        raw = np.tril(self.rng.random((self.length, self.length)) ** 3 - (0.2 if self.signed else 0))
        ends = self.rng.random((2, self.length)) * (self.rng.random((2, 1)) < 0.5)
        total = raw.sum(1) + ends.sum(0)
        bad = (self.rng.random(self.length) < 0.1) | (np.abs(total) < 0.05)
        raw, ends = raw / total[:, None], ends / total
        raw[bad], ends[:, bad] = np.nan, np.nan
        names = ("mlp", "attention", "residual") if self.parallel else ("mlp", "residual")
        layer = Layer(
            mlp=self._named(names, at_mlp),
            attention=self._named(("attention", "residual"), np.stack([attention, residual])),
            sources=raw,
            sink=ends[0],
            bias=ends[1],
        )
        return Block(junctions, Sources(raw, ends[0], ends[1], 0 * ends[0], 0 * ends[0])), layer

    @staticmethod
    def _named(names, parts):
        columns = [dict(zip(names, column, strict=True)) for column in parts.T.tolist()]
        return [None if np.isnan(list(c.values())).any() else c for c in columns]


def of(found: dict, drawn: np.ndarray, values: np.ndarray, places, node: bool) -> None:
    """Assert that drawn nodes or links are those that were found, with their mass."""
    kinds, rows, positions = places.split(drawn)

    def name(*at: int) -> tuple[str, int, int]:
        return str(NODE_KINDS[kinds[at]]), int(rows[at]), int(positions[at])

    got = {name(i) if node else (name(0, i), name(1, i)): float(values[i]) for i in range(drawn.shape[-1])}
    size = max(1.0, *(abs(v) for v in found.values()))
    for key in got.keys() | found.keys():
        assert got.get(key, 0.0) == pytest.approx(found.get(key, 0.0), abs=1e-9 * size), key


@pytest.mark.parametrize("parallel", [False, True])
@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32), signed=st.booleans(), handling=st.sampled_from(list(SinkHandling)))
def test_a_flow_is_what_a_recursion_finds_and_nothing_is_lost(parallel, seed, signed, handling):
    made = Made(seed, parallel, signed)
    blocks = made.blocks
    sinks = [np.flatnonzero(made.rng.random(made.length) < 0.3) for _ in blocks]
    blocks = [Block(b.junctions, b.sources.with_sinks(at, handling)) for b, at in zip(blocks, sinks, strict=True)]
    row = int(made.rng.integers(1, len(blocks) + 2))
    starts = sorted({int(p) for p in made.rng.integers(0, made.length, 2)})
    mass = np.zeros((1, made.length))
    mass[0, starts] = 1 / len(starts)
    masses = finish_turns(hand_down(mass, row, blocks, parallel))
    size = max(1.0, max(float(np.abs(getattr(masses, n)).max()) for n in ("block", "attention")))
    assert masses.error(row) <= 1e-9 * size
    if not signed:
        for name in ("block", "mid", "mlp", "attention", "lost"):
            assert (getattr(masses, name) >= 0).all(), name

    walk = Walk(made.layers, parallel, sinks=[at.tolist() for at in sinks], handling=str(handling))
    for p in starts:
        walk.go(("block", row, p), 1 / len(starts))
    places, links = finish_turns(find_links(masses, row, blocks, parallel, Limits(frozenset(range(len(blocks) + 2)))))
    of(walk.links, np.stack([links.source, links.target]), links.mass, places, node=False)
    keys = np.unique(np.concatenate([links.source, links.target]))
    of(walk.nodes, keys, collect_node_masses(masses, places, keys), places, node=True)
    assert links.n_all == len(links.mass)
    assert links.total == pytest.approx(float(np.abs(links.mass).sum()))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32),
    signed=st.booleans(),
    top_k=st.sampled_from([None, 0, 1, 2]),
    least=st.sampled_from([0.0, 0.05]),
    most=st.sampled_from([None, 3, 8]),
)
def test_what_limits_cut_is_told(seed, signed, top_k, least, most):
    made = Made(seed, False, signed)
    top = len(made.blocks) + 1
    mass = np.eye(made.length)[-1:]
    masses = finish_turns(hand_down(mass, top, made.blocks, False))
    everything = finish_turns(find_links(masses, top, made.blocks, False, Limits(frozenset(range(top + 1)))))[1]
    rows = frozenset(range(int(made.rng.integers(0, 2)), top + 1))
    limits = Limits(rows, top_k, least, least / 10, most, most)
    places, links = finish_turns(find_links(masses, top, made.blocks, False, limits))
    drawn = np.abs(links.mass).sum()
    assert links.total == pytest.approx(everything.total)
    assert drawn + sum(links.cut.values()) == pytest.approx(links.total)
    assert drawn <= links.inside + 1e-12
    assert (np.abs(links.mass) >= limits.min_mass).all()
    kept = dict(zip(zip(everything.source, everything.target, strict=True), everything.mass, strict=True))
    for source, target, m in zip(links.source, links.target, links.mass, strict=True):
        assert kept[source, target] == m
    kinds, rows_of, positions = places.split(np.stack([links.source, links.target]))
    assert set(rows_of.flatten().tolist()) <= rows
    reads = (kinds[1] == NODE_KINDS.index("attention")) & (positions[0] >= 0)
    assert (np.abs(links.share[reads]) >= least).all()
    if top_k is not None:
        assert max([0, *np.unique(links.target[reads], return_counts=True)[1]]) <= top_k
    if most is not None:
        assert len(links.mass) <= most
        assert len(np.unique(np.concatenate([links.source, links.target]))) <= most
