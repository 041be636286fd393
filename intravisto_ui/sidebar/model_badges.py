"""What the open model is, and what it lacks, as badges."""

from __future__ import annotations

import streamlit as st

from intravisto_core.engine import Engine
from intravisto_core.errors import ModelError
from intravisto_core.figures.numbers import significant
from intravisto_core.records import Check, ModelCard
from intravisto_core.sites import Capability
from intravisto_ui.session import jobs
from intravisto_ui.session.text import escape_html, short_count
from intravisto_ui.session.workspace import Workspace

INFERRED = (
    "This family is not declared here. Its parts were found by their structure and then held to the same checks as any "
    "other model's: what is shown is right, or it is refused"
)


PENDING = "These are being checked now, and what rests on them waits for that: "
REFUSED = "It failed an essential check after it had opened. It answers nothing more"


def draw(workspace: Workspace, engine: Engine) -> None:
    """The badges, each with a hover text; for what was checked only those of what fails or is not known."""
    card, refused = engine.model, ""
    if card.pending:
        try:
            card = engine.finish_check(timeout=0)
        except TimeoutError:
            _watch_check(workspace, engine)
        except ModelError as error:
            refused = str(error)
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
    if refused:
        badges.append(_badge("refused", f"{REFUSED}. {refused}", "lacks"))
    else:
        badges += _describe_checks(card)
    st.html(f'<div class="badges">{"".join(badges)}</div>')


def _describe_checks(card: ModelCard) -> list[str]:
    found = [(c, card.capabilities[c]) for c in Capability if c in card.capabilities]
    badges = [_badge(f"not: {c.label}", describe_lack(x), "lacks") for c, x in found if not (x.ok or x.pending)]
    if card.pending:
        badges.append(_badge("still checking", PENDING + "; ".join(c.label for c in card.pending), "noted"))
    return badges


@st.fragment(run_every=jobs.POLL_S)
def _watch_check(workspace: Workspace, engine: Engine) -> None:
    """Draws the page again when the rest of the check is done; a model that is refused then is a problem to show."""
    try:
        engine.finish_check(timeout=0)
    except TimeoutError:
        return
    except ModelError as error:
        workspace.problem = error
    st.rerun(scope="app")


def describe_lack(check: Check) -> str:
    """Why a capability is not there, with what was measured."""
    measured = "" if check.error is None else f" Measured error {significant(check.error)}, allowed {check.allowed:g}."
    return f"{(check.reason or 'It does not hold').rstrip('.')}.{measured}"


def _badge(what: str, why: str, kind: str = "") -> str:
    marked = f' class="{kind}"' if kind else ""
    return f'<span{marked} title="{escape_html(why)}">{escape_html(what)}</span>'
