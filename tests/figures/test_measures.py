"""What fills the cells: every colour against the numbers of the grid, logarithmic and clipped scales."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from intravisto_core.errors import RequestError
from intravisto_core.figures.grid import heatmap_figure
from intravisto_core.figures.measures import measure
from intravisto_core.figures.web import grid_payload
from intravisto_core.records import DecodedGrid, Watched
from intravisto_core.sites import Colour
from tests.figures import made
from tests.figures.test_payload import read


def full() -> DecodedGrid:
    """A grid with a watched token and the tokens that really come next."""
    grid = made.grid()
    draw = np.random.default_rng(5)
    rank = draw.integers(1, grid.d_vocab, grid.p_max.shape).astype(np.int32)
    watched = Watched(" Rome", 7, 1, "␣Rome", draw.uniform(0, 1, rank.shape).astype(np.float32), rank * 1.0, rank)
    following = np.array([*(t.id for t in grid.tokens[1:]), -1])
    return replace(grid, watch=(watched,), next_ids=following)


def test_rank_is_strongest_at_one() -> None:
    grid = full()
    chosen = measure(grid, "rank", None, "component")
    order = np.argsort(chosen.fractions().ravel(), kind="stable")
    assert (np.diff(chosen.values.ravel()[order]) <= 0).all()
    assert "␣Rome" in chosen.name
    assert measure(grid, "probability", None, "component").values is grid.watch[0].probability


@pytest.mark.parametrize("colour", ["rank", "probability"])
def test_a_watched_colour_needs_a_token(colour: str) -> None:
    with pytest.raises(RequestError, match="watched token"):
        measure(made.grid(), colour, None, "component")


def test_correct_is_whether_the_top_token_comes_next() -> None:
    grid = full()
    values = measure(grid, "correct", None, "component").values
    assert np.isnan(values[:, -1]).all()
    expected = grid.token_ids[:, :-1, 0] == np.array([t.id for t in grid.tokens[1:]])
    assert np.array_equal(values[:, :-1].astype(bool), expected)
    with pytest.raises(RequestError, match="come next"):
        measure(made.grid(), "correct", None, "component")


@pytest.mark.parametrize(
    ("colour", "field"),
    [
        ("kl_final", "kl_final"),
        ("kl_below", "kl_below"),
        ("next", "next_log_prob"),
        ("stream_norm", "norms"),
        ("cosine", "cosine"),
    ],
)
def test_numbers_of_the_grid_fill_the_cells(colour: str, field: str) -> None:
    grid = full()
    chosen = measure(grid, colour, None, "component")
    assert np.array_equal(chosen.values, getattr(grid, field))
    fractions = chosen.fractions()
    assert fractions.min() >= 0
    assert fractions.max() <= 1


def test_numbers_of_the_stream_colour_updates_too() -> None:
    assert measure(made.update(), "stream_norm", None, "component").colour is Colour.STREAM_NORM
    assert measure(made.update(), "kl_final", None, "component").colour is Colour.LOGIT


def test_a_clipped_scale_ends_at_percentiles_and_says_so() -> None:
    grid = full()
    chosen = measure(grid, "entropy", None, "component", clip=True)
    assert chosen.high == pytest.approx(np.percentile(grid.entropy, 98))
    assert (chosen.low_text[0], chosen.high_text[0]) == ("≤", "≥")
    turned = measure(grid, "rank", None, "component", clip=True)
    assert turned.low > turned.high
    assert (turned.low_text[0], turned.high_text[0]) == ("≥", "≤")
    balanced = measure(grid, "cosine", None, "component", clip=True)
    assert balanced.low == -balanced.high


def test_a_logarithmic_scale_tells_small_numbers_apart() -> None:
    grid = replace(full(), p_max=np.full_like(full().p_max, 0.001))
    plain, even = (measure(grid, "p_max", None, "component", log_scale=on).fractions()[0, 0] for on in (False, True))
    assert plain < 0.01
    assert even == pytest.approx(0.25)
    signed = measure(full(), "cosine", None, "component", log_scale=True)
    assert not signed.log


@pytest.mark.parametrize("colour", [c for c in Colour if c is not Colour.LOGIT])
@pytest.mark.parametrize("scale", ["component", "viridis", "cividis"])
def test_page_and_figure_take_every_colour_and_scale(colour: Colour, scale: str) -> None:
    grid, shares = full(), made.shares()
    header, _ = read(grid_payload(grid, colour, shares, scale, log_scale=True, clip=True, text_size=16))
    assert header["textSize"] == 16
    assert header["lowText"]
    assert header["highText"]
    figure = heatmap_figure(grid, colour, shares, scale, log_scale=True, clip=True)
    cells = figure.data[0]
    assert np.nanmin(cells.z) >= cells.zmin - 1e-6 or not header["log"]
    assert cells.zmin < cells.zmax
