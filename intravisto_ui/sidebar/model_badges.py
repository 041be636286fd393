"""What the open model is, and what it lacks, as badges."""

from __future__ import annotations

import streamlit as st

from intravisto_core.figures.numbers import significant
from intravisto_core.records import Check, ModelCard
from intravisto_core.sites import Capability
from intravisto_ui.session.text import escape_html, short_count

INFERRED = (
    "This family is not declared here. Its parts were found by their structure and then held to the same checks as any "
    "other model's: what is shown is right, or it is refused"
)


def draw(card: ModelCard) -> None:
    """The badges, each with a hover text; for what was checked only those of what does not hold."""
    said = [
        (card.family, "model family"),
        (f"{short_count(card.n_parameters)} parameters", "numbers that were learned"),
        (f"{card.n_layers} layers", "blocks, one after the other"),
        (f"{card.n_heads} heads", "attention heads in every layer"),
        (f"width {card.d_model}", "numbers in the stream at each position (d_model)"),
        (card.dtype, "precision of the numbers"),
    ]
    badges = [_badge(what, why) for what, why in said]
    if card.inferred:
        badges.append(_badge("inferred", INFERRED, "noted"))
    failed = ((c, card.capabilities[c]) for c in Capability if c in card.capabilities and not card.capabilities[c].ok)
    badges += [_badge(f"not: {c.label}", describe_lack(check), "lacks") for c, check in failed]
    st.html(f'<div class="badges">{"".join(badges)}</div>')


def describe_lack(check: Check) -> str:
    """Why a capability is not there, with what was measured."""
    measured = "" if check.error is None else f" Measured error {significant(check.error)}, allowed {check.allowed:g}."
    return f"{(check.reason or 'It does not hold').rstrip('.')}.{measured}"


def _badge(what: str, why: str, kind: str = "") -> str:
    marked = f' class="{kind}"' if kind else ""
    return f'<span{marked} title="{escape_html(why)}">{escape_html(what)}</span>'
