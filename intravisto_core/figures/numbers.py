"""Numbers as people read them: the same rules as web/numbers.js, which a test holds together."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from math import floor, isnan, log10

NONE = "–"
# The space before the sign does not break, so that number and sign stay on one line.
PER_CENT = "\u00a0%"


def _fixed(size: float) -> str:
    """Three significant digits of a positive number; a tie in the last digit goes up, as in the browser."""
    exponent = floor(log10(size))
    number = Decimal(size).quantize(Decimal(1).scaleb(exponent - 2), ROUND_HALF_UP)
    return f"{number.quantize(Decimal(1).scaleb(min(0, number.adjusted() - 2)), ROUND_HALF_UP):f}"


def significant(value: float) -> str:
    """Three significant digits, thousands grouped, a true minus sign."""
    if isnan(value):
        return NONE
    if value == 0:
        return "0"
    size = abs(float(value))
    if size < 1e-4:
        mantissa, exponent = f"{size:.2e}".split("e-")
        text = f"{mantissa}e−{int(exponent)}"
    elif size < 999.5:
        text = _fixed(size)
    else:
        text = f"{floor(size + 0.5):,}"
    return ("−" if value < 0 else "") + text


def probability(p: float) -> str:
    """A probability: 58.8 %, >99.9 %, <0.001 %."""
    if isnan(p):
        return NONE
    if p > 0.9995:
        return f">99.9{PER_CENT}"
    if p < 1e-5:
        return f"<0.001{PER_CENT}"
    text = significant(100 * p)
    return f"{'99.9' if text == '100' else text}{PER_CENT}"


def whole_percent(p: float) -> str:
    """A probability in a cell, in whole per cent."""
    if isnan(p):
        return NONE
    if p >= 0.995:
        return f">99{PER_CENT}"
    return f"<1{PER_CENT}" if p < 0.01 else f"{floor(100 * p + 0.5)}{PER_CENT}"


def share(s: float) -> str:
    """A share, which may be negative, nothing, or all."""
    return NONE if isnan(s) else f"{significant(100 * s)}{PER_CENT}"


def whole_share(s: float) -> str:
    """A share in a cell, in whole per cent."""
    if isnan(s):
        return NONE
    whole = floor(100 * abs(s) + 0.5)
    return f"{'−' if s < 0 and whole else ''}{whole}{PER_CENT}"


def nats(value: float) -> str:
    """An entropy or a divergence."""
    return NONE if isnan(value) else f"{significant(value)} nats"


def change(value: float) -> str:
    """A change, with its sign."""
    return ("+" if value > 0 else "") + significant(value)


def rank(value: float) -> str:
    """A place in an order, from 1 on."""
    return NONE if isnan(value) else f"{floor(value + 0.5):,}"


def verdict(value: float) -> str:
    """Whether a cell is right: 1 is, 0 is not."""
    return NONE if isnan(value) else "✓ right" if value > 0.5 else "✕ wrong"
