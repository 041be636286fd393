"""Every lens, norm policy, component and statistic against the reading in `tests/reference/slow.py`."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import intravisto_core as iv
from tests.reference import slow
from tests.reference.equal import assert_close
from tests.reference.slow import close
from tests.tiny import N_NEW, PROMPT, VOCABULARY

# Llama: untied tables. GPT-2: LayerNorm, biases, tied. Granite: logit scale. Gemma-2: soft-cap, scale 1 + w.
FAMILIES = ("llama", "gpt2", "granite", "gemma2")
LENSES = ("output", "input", "linear", "quadratic", "max")
POLICIES = ("final", "norm_only", "none", "stream")
COMPONENTS = ("block", "mid", "attention", "mlp")
READABLE = [(lens, policy) for lens, policy in product(LENSES, POLICIES) if (lens, policy) != ("max", "stream")]
ROWS = 5
WATCH = ("X", "ab")


def all_logits(tiny, component, lens, policy):
    """Logits of every cell of the slow reading, (row, position) → (V,) or None."""
    return {
        (row, position): tiny.cells.logits(component, lens, policy, row, position)
        for row in range(ROWS)
        for position in range(len(tiny.ids))
    }


def table(logits, positions, value):
    """A (row, position) array of a statistic, NaN where the cell is blank."""
    out = np.full((ROWS, positions), np.nan)
    for (row, position), z in logits.items():
        if z is not None:
            out[row, position] = value(row, position, z)
    return out


def check_listed(grid, logits, ids, values, best):
    """Listed tokens are the best ones, best first; equal logits may come in any order."""
    for (row, position), z in logits.items():
        listed = ids[row, position]
        if z is None:
            assert (listed == -1).all()
            assert np.isnan(values[row, position]).all()
            continue
        assert len(set(listed.tolist())) == len(listed)
        order = np.sort(best * z)[::-1][: len(listed)] * best
        close(z[listed], order)
        close(values[row, position], order)


@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize(("lens", "policy"), READABLE)
@pytest.mark.parametrize("family", FAMILIES)
def test_cells_equal_the_literal_reading(case, family, lens, policy, component):
    tiny = case(family)
    grid = tiny.trace.heatmap(component=component, lens=lens, norm=policy, top_k=7, watch=WATCH)
    logits = all_logits(tiny, component, lens, policy)
    check_listed(grid, logits, grid.token_ids, grid.logits, best=1)
    if policy == "stream":
        check_listed(grid, logits, grid.suppressed_ids, grid.suppressed_logits, best=-1)
        assert np.isnan(grid.probabilities).all()
        assert np.isnan(grid.p_max).all()
        assert np.isnan(grid.entropy).all()
        return
    assert grid.suppressed_ids is None
    n = len(tiny.ids)
    close(grid.p_max, table(logits, n, lambda r, p, z: slow.softmax(z).max()))
    close(grid.entropy, table(logits, n, lambda r, p, z: slow.entropy(z)))
    close(grid.kl_final, table(logits, n, lambda r, p, z: slow.kl(tiny.run.logits[p].astype(float), z)))

    def below(row, position, z):
        under = logits.get((row - 1, position))
        return np.nan if under is None else slow.kl(z, under)

    close(grid.kl_below, table(logits, n, below))

    def following(row, position, z):
        return slow.log_softmax(z)[tiny.ids[position + 1]] if position + 1 < n else np.nan

    close(grid.next_log_prob, table(logits, n, following))
    for row, position in logits:
        z = logits[row, position]
        listed = grid.token_ids[row, position]
        expected = np.full(len(listed), np.nan) if z is None else slow.softmax(z)[listed]
        close(grid.probabilities[row, position], expected)


@pytest.mark.parametrize("component", ["block", "attention"])
@pytest.mark.parametrize("lens", LENSES)
@pytest.mark.parametrize("family", FAMILIES)
def test_watched_tokens(case, family, lens, component):
    tiny = case(family)
    grid = tiny.trace.heatmap(component=component, lens=lens, norm="final", watch=WATCH)
    vocabulary = tiny.engine.tokenize("Xab", add_special_tokens=False)
    assert [w.text for w in grid.watch] == list(WATCH)
    assert [w.token_id for w in grid.watch] == [vocabulary[0].id, vocabulary[1].id]
    assert [w.n_tokens for w in grid.watch] == [1, 2]
    logits = all_logits(tiny, component, lens, "final")
    for watched in grid.watch:
        token, n = watched.token_id, len(tiny.ids)
        close(watched.logit, table(logits, n, lambda r, p, z, t=token: z[t]))
        close(watched.probability, table(logits, n, lambda r, p, z, t=token: slow.softmax(z)[t]))
        for (row, position), z in logits.items():
            if z is None:
                assert watched.rank[row, position] == 0
                continue
            margin = 1e-4 * (1 + abs(z[token]))
            least, most = 1 + (z > z[token] + margin).sum(), 1 + (z > z[token] - margin).sum()
            assert least <= watched.rank[row, position] <= most


@pytest.mark.parametrize("family", FAMILIES)
def test_the_default_policy_is_that_of_the_methods(case, family):
    tiny = case(family)
    for component, lens in product(COMPONENTS, LENSES):
        policy = slow.default_policy(component, lens)
        if (lens, policy) != ("max", "stream"):
            grid = tiny.trace.heatmap(component=component, lens=lens)
            assert str(grid.norm) == policy
            named = tiny.trace.heatmap(component=component, lens=lens, norm=policy)
            assert np.array_equal(grid.token_ids, named.token_ids)
    assert str(tiny.trace.heatmap(reading="difference").norm) == "stream"


def test_the_max_lens_is_not_offered_for_updates(case):
    trace = case("llama").trace
    for component, norm in (("attention", None), ("mlp", "stream"), ("block", "stream")):
        with pytest.raises(iv.IntravistoError, match="max"):
            trace.heatmap(component=component, lens="max", norm=norm)


@pytest.mark.parametrize("policy", ["final", "norm_only", "none"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_last_row_is_the_model_itself(case, family, policy):
    tiny = case(family)
    grid = tiny.trace.heatmap(lens="output", norm=policy, rows=[-1], top_k=32)
    for column, logits in enumerate(tiny.run.logits):
        ids = grid.token_ids[0, column]
        close(grid.logits[0, column], logits[ids], 1e-5)
        assert ids[0] == logits.argmax()
        close(grid.probabilities[0, column], slow.softmax(logits.astype(float))[ids], 1e-5)
        close(logits, tiny.trace.logits(column), 1e-5)
    close(grid.kl_final, np.zeros_like(grid.kl_final), 1e-5)
    assert grid.says.tolist() == tiny.run.logits.argmax(-1).tolist()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_winner_of_the_max_lens(case, family):
    tiny = case(family)
    for component, policy in (("block", "final"), ("mid", "norm_only"), ("attention", "final")):
        grid = tiny.trace.heatmap(component=component, lens="max", norm=policy)
        for row, position in np.ndindex(grid.winner.shape):
            xhat = tiny.cells.xhat(component, policy, row, position)
            expected = "" if xhat is None else tiny.decoder.winner(xhat)
            assert grid.winner[row, position] == expected, (component, row, position)
    assert tiny.trace.heatmap(lens="output").winner is None


def test_a_tie_is_won_by_the_output_table(case):
    tiny = case("gpt2")
    grid = tiny.trace.heatmap(lens="max")
    assert (grid.winner == "output").all(), "with tied tables every cell is a tie"


def test_a_cell_does_not_depend_on_its_tile(case, monkeypatch):
    from intravisto_core.views import tiles

    tiny = case("wide")
    options = {"lens": "linear", "top_k": 32, "watch": WATCH}
    whole = tiny.trace.heatmap(**options)
    narrow = tiny.engine.trace(PROMPT, max_new_tokens=N_NEW - 1)
    monkeypatch.setattr(tiles, "count_tile_positions", lambda *args, **kwargs: 3)
    tiled = narrow.heatmap(**options)
    kept = slice(0, len(narrow.tokens) - 1)
    for name in ("token_ids", "p_max", "entropy", "next_log_prob", "norms", "cosine"):
        assert_close(getattr(tiled, name)[:, kept], getattr(whole, name)[:, kept])
    # The terms of these sums are large and cancel, so that their last bits show.
    for name in ("kl_final", "kl_below"):
        close(getattr(tiled, name)[:, kept], getattr(whole, name)[:, kept], 1e-4)
    for one, other in zip(tiled.watch, whole.watch, strict=True):
        assert np.array_equal(one.rank[:, kept], other.rank[:, kept])


@pytest.mark.parametrize(("component", "lens"), [("block", "linear"), ("block", "max"), ("mlp", "output")])
def test_a_wide_vocabulary_beyond_the_tokenizer(case, component, lens):
    """Tables are read in pieces, candidates are picked by stripes, and ids without a token show as unused."""
    tiny = case("wide")
    policy = slow.default_policy(component, lens)
    grid = tiny.trace.heatmap(component=component, lens=lens, top_k=32, watch=WATCH)
    unused = set()
    for row, position in product(range(1, ROWS - 1), range(0, len(tiny.ids), 4)):
        z = tiny.cells.logits(component, lens, policy, row, position)
        listed = grid.token_ids[row, position]
        close(z[listed], np.sort(z)[::-1][:32])
        assert len(set(listed.tolist())) == 32
        token = grid.watch[0].token_id
        assert abs(grid.watch[0].rank[row, position] - 1 - (z > z[token]).sum()) <= 1
        if policy != "stream":
            close(grid.probabilities[row, position], slow.softmax(z)[listed])
            close(grid.entropy[row, position], slow.entropy(z))
            close(grid.kl_final[row, position], slow.kl(tiny.run.logits[position].astype(float), z))
        unused |= {int(i) for i in listed if i >= len(VOCABULARY)}
    assert unused
    assert all("unused" in grid.shown[i] and str(i) in grid.shown[i] for i in unused)
