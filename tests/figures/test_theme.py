"""Colours: legible on every step, even in lightness."""

from __future__ import annotations

from itertools import pairwise

import pytest

from intravisto_core.figures.theme import HUES, LIGHT, TABLES, colour_scale, contrast, ink_on, luminance

SCALES = (*HUES, *TABLES, "diverging")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", SCALES)
def test_cell_text_is_legible_on_every_step(name: str, dark: bool) -> None:
    least = min(contrast(colour, ink_on(colour)) for colour in colour_scale(name, dark))
    assert least >= 4.5


@pytest.mark.parametrize("name", [*HUES, *TABLES])
def test_lightness_goes_one_way(name: str) -> None:
    levels = [luminance(c) for c in colour_scale(name)]
    steps = [b - a for a, b in pairwise(levels)]
    direction = 1 if name in TABLES else -1
    assert all(direction * s > -0.002 for s in steps)


def test_a_diverging_scale_is_palest_in_the_middle() -> None:
    levels = [luminance(c) for c in colour_scale("diverging")]
    assert max(levels) == max(levels[127:129])


def test_contrast_of_black_on_white() -> None:
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert LIGHT.paper == "#ffffff"
