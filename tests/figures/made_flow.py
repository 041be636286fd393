"""Flows made by hand: random shares handed down literally, with the token texts that break careless pictures."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

import numpy as np

from intravisto_core.records import Attribution, Route
from intravisto_core.records.flow import Flow
from intravisto_core.records.graph import ContributionGraph
from intravisto_core.sites import AttentionDivision, Reading, Refinement, ShareMeasure
from tests.figures.made import NASTY, shown, tokens

Node = tuple[str, int, int]


def links_of(
    n_layers: int, starts: list[int], block: str, signed: bool, draw: np.random.Generator, hidden: bool
) -> tuple[dict[Node, float], list[tuple[Node, Node, str, float]]]:
    """Masses of all nodes, and links (source, target, kind, mass), from the top down."""
    mass: dict[Node, float] = defaultdict(float)
    links: list[tuple[Node, Node, str, float]] = []

    def hand(target: Node, source: Node, kind: str, part: float) -> None:
        links.append((source, target, kind, part))
        mass[source] += part

    for p in starts:
        mass[("block", n_layers + 1, p)] = 1 / len(starts)
        hand(("block", n_layers + 1, p), ("block", n_layers, p), "norm", 1 / len(starts))
    for row in range(n_layers, 0, -1):
        for p in range(max(starts), -1, -1):
            whole = mass.get(("block", row, p), 0.0)
            if not whole:
                continue
            of_mlp, of_attention = draw.uniform(0.1, 0.4, 2) * (np.array([-1, 1]) if signed and p % 3 == 0 else 1)
            top, below = ("block", row, p), ("block", row - 1, p)
            middle = below if block == "parallel" else ("mid", row, p)
            hand(top, ("mlp", row, p), "mlp", whole * of_mlp)
            hand(("mlp", row, p), middle, "mlp", whole * of_mlp)
            if block == "serial":
                hand(top, middle, "residual", whole * (1 - of_mlp))
                whole = mass[middle]
                hand(middle, below, "residual", whole * (1 - of_attention))
            else:
                hand(top, below, "residual", whole * (1 - of_mlp - of_attention))
            attends = ("attention", row, p)
            hand(top if block == "parallel" else middle, attends, "attention", whole * of_attention)
            weights = draw.dirichlet(np.full(p + 1, 0.3))
            for j, weight in enumerate(weights):
                if hidden and j == 0:
                    hand(attends, ("hidden", row, -1), "hidden", mass[attends] * weight)
                else:
                    hand(attends, ("block", row - 1, j), "attention", mass[attends] * weight)
    return mass, links


def flow(
    n_layers: int = 4,
    length: int = 9,
    prompt_length: int = 7,
    starts: tuple[int, ...] = (6,),
    block: str = "serial",
    signed: bool = False,
    hidden: bool = False,
    most_nodes: int = 800,
    most_links: int = 2000,
    nasty: bool = True,
    seed: int = 0,
    **changes: Any,
) -> Flow:
    """A flow of a made-up trace, the largest links of it."""
    draw = np.random.default_rng(seed)
    mass, links = links_of(n_layers, list(starts), block, signed, draw, hidden)
    n_nodes, n_links = len(mass), len(links)
    links.sort(key=lambda link: -abs(link[3]))
    kept: list[tuple[Node, Node, str, float]] = []
    index: dict[Node, int] = {}
    for link in links[:most_links]:
        if len(index.keys() | set(link[:2])) <= most_nodes:
            index |= {n: len(index) for n in dict.fromkeys(link[1::-1]) if n not in index}
            kept.append(link)
    nodes = sorted(index, key=lambda n: (-n[1], {"block": 0, "mlp": 1, "mid": 2}.get(n[0], 3), n[2]))
    index = {n: i for i, n in enumerate(nodes)}
    real = np.array([n[2] >= 0 for n in nodes])
    q = len(nodes)
    unit = np.array(["change" if n[0] in ("mlp", "attention") else "probability" for n in nodes] + ["change"] * 8)
    numbers = np.sort(draw.uniform(0, 1, (q + 8, 5)), axis=1)[:, ::-1]
    made: dict[str, Any] = {
        "trace": "trace-1",
        "model": "made up",
        "n_layers": n_layers,
        "block": block,
        "prompt_length": prompt_length,
        "tokens": tokens(length, prompt_length, nasty),
        "row": n_layers + 1,
        "starts": np.array(starts),
        "measure": ShareMeasure.PROJECTION if signed else ShareMeasure.NORM,
        "attention": AttentionDivision.WEIGHTS,
        "reading": Reading.TOP,
        "rows": np.arange(n_layers + 2),
        "node_kind": np.array([n[0] for n in nodes]),
        "node_row": np.array([n[1] for n in nodes]),
        "node_position": np.array([n[2] for n in nodes]),
        "node_mass": np.array([mass[n] for n in nodes]),
        "node_reading": np.where(real, np.arange(q), -1),
        "node_difference": np.where(real, q + np.arange(q) % 8, -1),
        "link_source": np.array([index[s] for s, *_ in kept]),
        "link_target": np.array([index[t] for _, t, *_ in kept]),
        "link_kind": np.array([k for *_, k, _ in kept]),
        "link_share": np.array([m / (mass[t] or 1) for _, t, _, m in kept]),
        "link_mass": np.array([m for *_, m in kept]),
        "link_kl": np.array([np.nan if s[2] < 0 else draw.uniform(0, 5) for s, *_ in kept]),
        "link_difference": np.array([q + i % 8 if k == "residual" else -1 for i, (*_, k, _) in enumerate(kept)]),
        "reading_ids": draw.integers(0, len(NASTY) if nasty else 900, (q + 8, 5)),
        "reading_numbers": numbers,
        "reading_unit": unit,
        "shown": {i: shown(i) for i in range(900)},
        "n_nodes": n_nodes,
        "n_links": n_links,
        "drawn": 0.9,
        "drawn_in_rows": sum(abs(m) for *_, m in kept) / sum(abs(m) for *_, m in links),
        "cut": {"rows": 0.0, "attention": 0.0, "mass": 0.1, "count": 0.0},
        "hidden": 0.2,
        "conservation": 2e-9,
        "sources": np.array([mass.get(("block", 0, p), 0.0) for p in range(length)]),
        "lost": np.zeros(5),
    }
    return Flow(**(made | changes))


def graph(n_layers: int = 32, length: int = 30, threshold: float = 0.04, seed: int = 1) -> ContributionGraph:
    """A contribution graph of a made-up trace, down from its last position."""
    draw = np.random.default_rng(seed)
    edges: list[tuple[tuple[int, int], tuple[int, int], str, float]] = []
    reached = {(n_layers, length - 1)}
    for row in range(n_layers, 0, -1):
        for position in sorted(p for r, p in reached if r == row):
            stay = draw.uniform(0.4, 0.9)
            edges.append(((row - 1, position), (row, position), "residual", stay))
            parts = draw.dirichlet(np.full(position + 1, 0.05)) * (1 - stay)
            edges += [
                ((row - 1, j), (row, position), "attention", float(v)) for j, v in enumerate(parts) if v >= threshold
            ]
        reached |= {source for source, *_ in edges}
    nodes = sorted(reached, key=lambda n: (-n[0], n[1]))
    index = {n: i for i, n in enumerate(nodes)}
    edges.sort(key=lambda e: -e[3])
    mlp = np.array([np.nan if row == 0 else draw.uniform(0, 0.1) for row, _ in nodes])
    return ContributionGraph(
        trace="trace-1",
        model="made up",
        n_layers=n_layers,
        block="serial",
        prompt_length=length,
        tokens=tokens(length, length),
        row=n_layers,
        starts=np.array([length - 1]),
        threshold=threshold,
        rows=np.arange(n_layers + 1),
        node_row=np.array([r for r, _ in nodes]),
        node_position=np.array([p for _, p in nodes]),
        node_mlp=mlp,
        node_mlp_over=np.nan_to_num(mlp) >= 0.06,
        node_token=np.arange(len(nodes)) % 30,
        node_probability=np.linspace(0.1, 0.9, len(nodes)),
        shown={i: shown(i) for i in range(30)},
        edge_source=np.array([index[s] for s, *_ in edges]),
        edge_target=np.array([index[t] for _, t, *_ in edges]),
        edge_kind=np.array([k for *_, k, _ in edges]),
        edge_share=np.array([v for *_, v in edges]),
        n_edges=len(edges) + 7,
    )


def attribution(n_layers: int = 3, seed: int = 2) -> Attribution:
    """Parts of a logit of a token that looks like markup, as components."""
    rng = np.random.default_rng(seed)
    kind = np.array(["embedding", *(["attention", "mlp"] * n_layers)])
    layer = np.array([-1, *np.repeat(np.arange(n_layers), 2)])
    value = rng.normal(size=len(kind))
    none = np.full(len(kind), -1)
    logit = float(value.sum()) + 1e-6
    reached = np.cumsum(value)[::2]
    return Attribution(
        trace="trace",
        model="made",
        n_layers=n_layers,
        prompt_length=5,
        tokens=tokens(8, 5),
        position=4,
        target_id=1,
        contrast_id=2,
        target="<s>",
        contrast="%{y}",
        by=Refinement.COMPONENTS,
        kind=kind,
        layer=layer,
        index=none,
        expert=none,
        value=value,
        accumulated=np.append(reached, logit),
        logit=logit,
        capped=0.5 * logit,
        remainder=1e-6,
        soft_cap=30.0,
    )


def attribution_by_heads(n_layers: int = 5, n_heads: int = 3, seed: int = 3) -> Attribution:
    """Parts of a logit by heads and MLPs."""
    rng = np.random.default_rng(seed)
    a_layer = [*["head"] * n_heads, "mlp"]
    kind = np.array(["embedding", *(a_layer * n_layers)])
    value = rng.normal(size=len(kind))
    return replace(
        attribution(n_layers),
        by=Refinement.HEADS,
        kind=kind,
        layer=np.array([-1, *np.repeat(np.arange(n_layers), n_heads + 1)]),
        index=np.array([-1, *([*range(n_heads), -1] * n_layers)]),
        expert=np.full(len(kind), -1),
        value=value,
        logit=float(value.sum()) + 1e-6,
    )


def route(n_layers: int = 3, length: int = 9, prompt_length: int = 6, n_heads: int = 2, seed: int = 4) -> Route:
    """The route of three tokens, some of it lost."""
    rng = np.random.default_rng(seed)
    positions = np.arange(prompt_length, length)
    sources = np.tril(rng.random((length, length)))[positions - 1]
    sources *= 0.9 / sources.sum(1, keepdims=True)
    lost = np.zeros((len(positions), 5))
    lost[:, 2] = 0.1
    shares = rng.random((2, len(positions), n_layers))
    return Route(
        trace="trace",
        model="made",
        n_layers=n_layers,
        prompt_length=prompt_length,
        tokens=tokens(length, prompt_length),
        measure=ShareMeasure.NORM,
        attention_division=AttentionDivision.WEIGHTS,
        positions=positions,
        sources=sources,
        attention=shares[0],
        mlp=shares[1],
        heads=rng.random((len(positions), n_layers, n_heads)),
        lost=lost,
        conservation=1e-16,
    )
