"""A flow of two layers over three tokens, worked by hand for every measure and division (docs/methods.md §5, §6)."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log, sqrt

import numpy as np
import pytest
import torch

from intravisto_core.analysis.division import Moved, divide_by_head, divide_by_source, measure_lengths
from intravisto_core.analysis.flow import TERMINALS, Block, Junctions, Sources, hand_down
from intravisto_core.analysis.flow_links import LINK_KINDS, NODE_KINDS, Limits, find_links
from intravisto_core.analysis.shares import measure_shares
from intravisto_core.progress import finish_turns
from intravisto_core.sites import AttentionDivision, NodeKind, ShareMeasure, SinkHandling

# Parts of every junction: what attention (or the MLP) adds, and the stream.
ADDED = {0: [1.0, 4.0], 1: [-1.0, 0.0]}
STREAM = {0: [3.0, 0.0], 1: [3.0, 0.0]}


def divergence(z: list[float], other: list[float]) -> float:
    """KL between softmaxes of two logits each."""

    def p(z: list[float]) -> list[float]:
        total = exp(z[0]) + exp(z[1])
        return [exp(z[0]) / total, exp(z[1]) / total]

    return sum(a * log(a / b) for a, b in zip(p(z), p(other), strict=True))


# What is lost without the stream, and without what is added: w = (4, 4) and w = (2, 0).
LOST = {
    0: (divergence([4, 4], [1, 4]), divergence([4, 4], [3, 0])),
    1: (divergence([2, 0], [-1, 0]), divergence([2, 0], [3, 0])),
}
KL = {
    layer: without_added / (without_stream + without_added) for layer, (without_stream, without_added) in LOST.items()
}
# The share of what is added: layer 0 from (1, 4) beside (3, 0), layer 1 from (−1, 0) beside (3, 0).
SHARE = {
    "norm": {0: sqrt(17) / (3 + sqrt(17)), 1: 1 / 4},
    "projection": {0: 20 / 32, 1: -1 / 2},
    "l1": {0: 5 / 8, 1: 0.0},
    "kl": KL,
    "kl_pair": KL,
}
# One head whose W_O is the identity, values (1, 0), (0, 2), (2, 0), and a bias of (1, 0).
PATTERN = [[1, 0, 0], [1 / 2, 1 / 2, 0], [1 / 4, 1 / 4, 1 / 2]]
SOURCES = {
    "weights": PATTERN,
    # Lengths 1/2, 1 and 1/4, 1/2, 1.
    "value_weighted": [[1, 0, 0], [1 / 3, 2 / 3, 0], [1 / 7, 2 / 7, 4 / 7]],
    # Of (2, 0); of (3/2, 1), whose square is 13/4; of (9/4, 1/2), whose square is 85/16.
    "projection": [[1 / 2, 0, 0], [3 / 13, 4 / 13, 0], [9 / 85, 4 / 85, 36 / 85]],
}
BIAS = {"weights": [0, 0, 0], "value_weighted": [0, 0, 0], "projection": [1 / 2, 6 / 13, 36 / 85]}


def moved() -> tuple[torch.Tensor, Moved]:
    pattern = torch.tensor([PATTERN])
    v = torch.tensor([[[1.0, 0.0], [0.0, 2.0], [2.0, 0.0]]])
    bias = torch.tensor([[1.0, 0.0]]).expand(3, -1)
    return pattern, Moved(pattern, v, torch.eye(2)[:, None, :], None, 1.0, (pattern @ v)[0] + bias, bias)


def sources(division: str) -> Sources:
    found = divide_by_source(AttentionDivision(division), *moved(), sinks=False)
    return Sources.of(*(x.numpy() for x in (found.parts, found.sink, found.bias, found.edit)))


def block(layer: int, measure: str, division: str) -> Block:
    parts = torch.tensor([[STREAM[layer]] * 3, [ADDED[layer]] * 3])
    stream, added = measure_shares(parts, ShareMeasure(measure), lambda x: x).numpy()
    named = {"attention": added, "residual_attention": stream, "mlp": added, "residual_mlp": stream}
    return Block(Junctions.of(named, parallel=False), sources(division))


@pytest.mark.parametrize("division", SOURCES)
@pytest.mark.parametrize("measure", SHARE)
def test_a_flow_of_two_layers_and_three_tokens(measure, division):
    a0, a1 = SHARE[measure][0], SHARE[measure][1]
    d, bias = SOURCES[division], BIAS[division]
    # Row 3 hands all to row 2, the MLP all to the stream after attention, so all is at position 2.
    x0, x1, x2 = a1 * d[2][0], a1 * d[2][1], a1 * d[2][2] + (1 - a1)
    below = [
        (1 - a0) * x0 + a0 * (x0 * d[0][0] + x1 * d[1][0] + x2 * d[2][0]),
        (1 - a0) * x1 + a0 * (x1 * d[1][1] + x2 * d[2][1]),
        (1 - a0) * x2 + a0 * x2 * d[2][2],
    ]
    blocks = [block(layer, measure, division) for layer in (0, 1)]
    masses = finish_turns(hand_down(np.array([[0.0, 0.0, 1.0]]), 3, blocks, parallel=False))
    np.testing.assert_allclose(masses.block[2, 0], [0, 0, 1])
    np.testing.assert_allclose(masses.mlp[2, 0], [0, 0, a1], atol=1e-6)
    np.testing.assert_allclose(masses.attention[2, 0], [0, 0, a1], atol=1e-6)
    np.testing.assert_allclose(masses.block[1, 0], [x0, x1, x2], atol=1e-6)
    np.testing.assert_allclose(masses.mlp[1, 0], [a0 * x0, a0 * x1, a0 * x2], atol=1e-6)
    np.testing.assert_allclose(masses.block[0, 0], below, atol=1e-6)
    at_bias = masses.lost[:, 0, TERMINALS.index(NodeKind.BIAS)]
    lost = [0, a0 * (x0 * bias[0] + x1 * bias[1] + x2 * bias[2]), a1 * bias[2], 0]
    np.testing.assert_allclose(at_bias, lost, atol=1e-6)
    assert masses.error(3) < 1e-12
    assert sum(below) + sum(lost) == pytest.approx(1, abs=1e-6)


def test_its_links_by_hand():
    blocks = [block(layer, "norm", "projection") for layer in (0, 1)]
    masses = finish_turns(hand_down(np.array([[0.0, 0.0, 1.0]]), 3, blocks, parallel=False))
    places, links = finish_turns(find_links(masses, 3, blocks, False, Limits(frozenset(range(4)))))
    kinds, rows, positions = places.split(np.stack([links.source, links.target]))
    found = {
        (*((str(NODE_KINDS[kinds[e, i]]), int(rows[e, i]), int(positions[e, i])) for e in (0, 1)),): (
            str(LINK_KINDS[links.kind[i]]),
            float(links.mass[i]),
        )
        for i in range(len(links.mass))
    }
    assert found[("block", 2, 2), ("block", 3, 2)] == ("norm", 1.0)
    wanted = {
        (("mlp", 2, 2), ("block", 2, 2)): ("mlp", 1 / 4),
        (("mid", 2, 2), ("block", 2, 2)): ("residual", 3 / 4),
        (("mid", 2, 2), ("mlp", 2, 2)): ("mlp", 1 / 4),
        (("attention", 2, 2), ("mid", 2, 2)): ("attention", 1 / 4),
        (("block", 1, 2), ("mid", 2, 2)): ("residual", 3 / 4),
        (("block", 1, 0), ("attention", 2, 2)): ("attention", 9 / 85 / 4),
        (("block", 1, 1), ("attention", 2, 2)): ("attention", 4 / 85 / 4),
        (("block", 1, 2), ("attention", 2, 2)): ("attention", 36 / 85 / 4),
        (("bias", 2, -1), ("attention", 2, 2)): ("bias", 36 / 85 / 4),
    }
    for link, (kind, mass) in wanted.items():
        assert found[link] == (kind, pytest.approx(mass, abs=1e-6)), link
    assert [link for link in found if link[1][1] == 2 and link not in wanted] == []
    assert links.total == pytest.approx(np.abs(links.mass).sum())
    assert list(np.abs(links.mass)) == sorted(np.abs(links.mass), reverse=True)


def test_a_query_on_its_own_is_judged_by_the_median_of_all():
    pattern, what = moved()
    weights = pattern * torch.tensor([1.0, 1e-8, 1.0])[:, None]
    all_of_them = replace(what, weights=weights)
    one = replace(what, weights=weights[:, 1:2], total=what.total[1:2], bias=what.bias[1:2])
    for divide, heads in ((divide_by_source, False), (divide_by_head, True)):
        lengths = measure_lengths(all_of_them, heads)
        np.testing.assert_allclose(lengths, weights[0] @ torch.tensor([1.0, 2.0, 2.0]), rtol=1e-6)
        scale = float(lengths.median())
        asked = (AttentionDivision.VALUE_WEIGHTED, weights[:, 1:2], one, False, None)
        assert divide(AttentionDivision.VALUE_WEIGHTED, weights, all_of_them, False).parts[..., 1, :].isnan().all()
        assert divide(*asked, scale).parts.isnan().all()
        assert not divide(*asked).parts.isnan().any()


def test_heads_by_hand():
    # Two heads with the identity as W_O, one writing against the other: from position 0 nothing is left of both.
    pattern = torch.tensor([[[1.0, 0.0], [0.5, 0.5]], [[1.0, 0.0], [0.5, 0.5]]])
    v = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[-1.0, 0.0], [0.0, 1.0]]])
    bias = torch.zeros(2, 2)
    w_o = torch.stack([torch.eye(2), torch.eye(2)], 1)
    what = Moved(pattern, v, w_o, None, 1.0, (pattern @ v).sum(0) + bias, bias)
    lengths = divide_by_source(AttentionDivision.VALUE_WEIGHTED, pattern, what, sinks=False)
    np.testing.assert_allclose(lengths.parts[1], [0, 1], atol=1e-6)
    assert lengths.parts[0].isnan().all(), "the heads cancel out: nothing can be told"
    each = divide_by_head(AttentionDivision.VALUE_WEIGHTED, pattern, what, sinks=False)
    np.testing.assert_allclose(each.parts[:, 1], np.full((2, 2), 1 / 4))
    along = divide_by_head(AttentionDivision.PROJECTION, pattern, what, sinks=False)
    np.testing.assert_allclose(along.parts[:, 1], [[0, 1 / 2], [0, 1 / 2]], atol=1e-7)
    weights = divide_by_head(AttentionDivision.WEIGHTS, pattern, None, sinks=False)
    np.testing.assert_allclose(weights.parts[:, 1], np.full((2, 2), 1 / 4))


def test_learned_sinks_take_what_the_keys_leave():
    pattern = torch.tensor([[[0.5, 0.0], [0.25, 0.25]], [[1.0, 0.0], [0.5, 0.0]]])
    found = divide_by_source(AttentionDivision.WEIGHTS, pattern, None, sinks=True)
    np.testing.assert_allclose(found.parts, [[0.75, 0], [0.375, 0.125]])
    np.testing.assert_allclose(found.sink, [0.25, 0.5])
    each = divide_by_head(AttentionDivision.WEIGHTS, pattern, None, sinks=True)
    np.testing.assert_allclose(each.sink, [[0.25, 0.25], [0, 0.25]])
    nothing = divide_by_source(AttentionDivision.WEIGHTS, 0 * pattern, None, sinks=False)
    assert nothing.parts.isnan().all(), "a query that attends to nothing shares out nothing"


def test_sinks_hidden_with_and_without_renormalising():
    whole = Sources(*(np.array(a) for a in ([[1.0, 0.0], [0.6, 0.2]], [0.0, 0.2], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0])))
    sinks = np.array([0])
    shown = whole.with_sinks(sinks, SinkHandling.SHOW)
    np.testing.assert_allclose(shown.positions, whole.positions)
    np.testing.assert_allclose(shown.taken, [1, 0.6])
    hidden = whole.with_sinks(sinks, SinkHandling.HIDE)
    np.testing.assert_allclose(hidden.positions, [[0, 0], [0, 0.2]])
    np.testing.assert_allclose(hidden.hidden, [1, 0.6])
    np.testing.assert_allclose(hidden.sink, [0, 0.2])
    anew = whole.with_sinks(sinks, SinkHandling.RENORMALISE)
    np.testing.assert_allclose(anew.positions, [[0, 0], [0, 0.5]])
    np.testing.assert_allclose(anew.sink, [0, 0.5])
    np.testing.assert_allclose(anew.hidden, [1, 0], err_msg="where nothing is left, it is hidden even so")
