"""Colours of the pictures, one meaning everywhere; the scales are those of web/colour.js."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import cos, pi, radians, sin

RESIDUAL, ATTENTION, MLP = "#2f6fbd", "#1f8a4c", "#b3388c"
FONT = "Source Sans, Source Sans Pro, system-ui, Segoe UI, Noto Sans, sans-serif"

HUES = {"residual": 255.0, "attention": 155.0, "mlp": 345.0, "entropy": 70.0, "observed": 290.0}
NEGATIVE_HUE, POSITIVE_HUE = 50.0, 255.0
VIRIDIS = (
    (68, 1, 84),
    (72, 40, 120),
    (62, 74, 137),
    (49, 104, 142),
    (38, 130, 142),
    (31, 158, 137),
    (53, 183, 121),
    (110, 206, 88),
    (181, 222, 43),
    (253, 231, 37),
)
CIVIDIS = (
    (0, 34, 78),
    (18, 53, 112),
    (59, 73, 108),
    (87, 93, 109),
    (112, 113, 115),
    (138, 134, 120),
    (165, 156, 116),
    (195, 179, 105),
    (225, 204, 85),
    (254, 232, 56),
)
TABLES = {"viridis": VIRIDIS, "cividis": CIVIDIS}
STEPS = 256
LEAST_CONTRAST = 4.5
NEAR_BLACK = (10, 15, 24)

Rgb = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of the page itself."""

    paper: str
    ink: str
    muted: str
    rule: str
    accent: str


LIGHT = Theme("#ffffff", "#17202e", "#5b6675", "#d9dfe8", "#1f5fae")
DARK = Theme("#10141b", "#e3e8ef", "#a3adbb", "#2d3644", "#7db8f7")


def _gamma(v: float) -> int:
    bounded = min(1.0, max(0.0, v))
    return round(255 * (12.92 * bounded if bounded <= 0.0031308 else 1.055 * bounded ** (1 / 2.4) - 0.055))


def oklch(lightness: float, chroma: float, hue: float) -> Rgb:
    """OKLCH to sRGB (0..255), clipped to the gamut."""
    a, b = chroma * cos(radians(hue)), chroma * sin(radians(hue))
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3
    return (
        _gamma(4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short),
        _gamma(-1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short),
        _gamma(-0.0041960863 * long - 0.7034186147 * middle + 1.707614701 * short),
    )


def _ramp(t: float, hue: float, dark: bool) -> Rgb:
    bell = sin(pi * min(1.0, t * 1.02))
    if dark:
        return oklch(0.245 + 0.53 * t, 0.018 + 0.06 * t + 0.085 * bell, hue)
    return oklch(0.985 - 0.53 * t, 0.004 + 0.125 * t + 0.05 * bell, hue)


def _between(table: tuple[Rgb, ...], t: float) -> Rgb:
    x = t * (len(table) - 1)
    k = min(len(table) - 2, int(x))
    r, g, b = (round(v + (w - v) * (x - k)) for v, w in zip(table[k], table[k + 1], strict=True))
    return r, g, b


@cache
def colour_scale(name: str, dark: bool = False) -> tuple[Rgb, ...]:
    """256 colours: a name of `HUES` or `TABLES`, or "diverging" with its zero in the middle."""
    steps = [i / (STEPS - 1) for i in range(STEPS)]
    if name in TABLES:
        return tuple(_between(TABLES[name], t) for t in steps)
    if name == "diverging":
        return tuple(_ramp(abs(2 * t - 1), NEGATIVE_HUE if t < 0.5 else POSITIVE_HUE, dark) for t in steps)
    return tuple(_ramp(t, HUES[name], dark) for t in steps)


def luminance(colour: Rgb) -> float:
    """Relative luminance (WCAG), 0 to 1."""
    r, g, b = (v / 255 / 12.92 if v / 255 <= 0.04045 else ((v / 255 + 0.055) / 1.055) ** 2.4 for v in colour)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: Rgb, other: Rgb) -> float:
    """Contrast ratio (WCAG), 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def ink_on(colour: Rgb) -> Rgb:
    """White where it is legible on that colour, else a near-black, else black."""
    for ink in ((255, 255, 255), NEAR_BLACK):
        if contrast(ink, colour) >= LEAST_CONTRAST:
            return ink
    return 0, 0, 0


def css(colour: Rgb) -> str:
    """The colour as CSS and Plotly write it."""
    return f"rgb({colour[0]}, {colour[1]}, {colour[2]})"
