"""The model's card, what the self-check measured, and the diagnostics to copy."""

from __future__ import annotations

import streamlit as st

import intravisto_core as iv
from intravisto_core.engine import Engine
from intravisto_core.figures.numbers import significant
from intravisto_core.records import Check, ModelCard
from intravisto_core.records.memory import size
from intravisto_core.sites import BlockKind, Capability
from intravisto_ui.session.text import escape_html, plural, short_count

IN_WORDS = {
    Capability.RESIDUAL: "What attention and MLP add to the stream, put together, gives the stream.",
    Capability.LOGITS: "The stream at the top, through norm and output table, gives the model's own scores.",
    Capability.TRACED: "Watching the model does not change what it says.",
    Capability.CAUSAL: "No position is changed by a token that comes after it.",
    Capability.PATTERN: "Attention weights times values give what each head passes on.",
    Capability.HEADS: "What the heads write, one by one, adds up to attention's output.",
    Capability.NEURONS: "What the neurons write, one by one, adds up to the MLP's output.",
}


def draw_card(model: ModelCard) -> None:
    """What the model is."""
    tables = "one table for both" if model.tied else "two tables"
    block = "attention, then MLP" if model.block == BlockKind.SERIAL else "attention and MLP side by side"
    rows = [
        ("Name", model.name, ""),
        ("Family", f"{model.family} (inferred)" if model.inferred else model.family, "The kind of architecture"),
        ("Parameters", f"{short_count(model.n_parameters)} ({size(model.weight_bytes)})", "Numbers that were learned"),
        ("Layers", f"{model.n_layers:,}", "Blocks that the text passes, one after the other"),
        ("In a block", block, "Order of the two parts of a block"),
        ("Heads", f"{model.n_heads:,} of {model.d_head} numbers", "Attention heads in every layer"),
        ("Key and value heads", f"{model.n_kv_heads:,}", "Fewer than heads where heads share them"),
        ("Width of the stream", f"{model.d_model:,}", "Numbers at each position (d_model)"),
        ("Neurons in an MLP", f"{model.d_mlp:,}" if model.d_mlp else "in its experts", "In every layer (d_mlp)"),
        ("Vocabulary", f"{model.d_vocab:,} tokens", "All tokens that the model knows"),
        (
            "Longest text",
            plural(model.context, "token") if model.context else "not stated",
            "Prompt and generated tokens together",
        ),
        ("Input and output table", tables, "Whether tokens are read and written with the same vectors"),
        ("Norm", model.norm, "How the stream is scaled before each part"),
        ("Precision, device", f"{model.dtype}, {model.device}", "How and where the numbers are kept"),
    ]
    if model.features:
        rows.append(("Particulars", "; ".join(model.features), "What not every model has"))
    if model.notes:
        rows.append(("Notes", "; ".join(model.notes), "What its files say that is not done here, or not as they say"))
    body = "".join(
        f'<tr><th scope="row">{escape_html(name)}{f"<small>{escape_html(why)}</small>" if why else ""}</th>'
        f"<td>{escape_html(str(value))}</td></tr>"
        for name, value, why in rows
    )
    st.html(f'<h2 class="part">Card</h2><table class="facts">{body}</table>')


def draw_capabilities(model: ModelCard) -> None:
    """What was checked when the model was opened, and since, with the measured errors."""
    body = "".join(_line(c, model.capabilities[c]) for c in Capability if c in model.capabilities)
    probe = f'<p class="under">Checked on: {escape_html(model.probe)}</p>' if model.probe else ""
    stock = ""
    if model.stock_difference is not None:
        stock = (
            f'<p class="under">The model\'s usual fast attention gives scores that differ from these by at most '
            f"{significant(model.stock_difference)}: it rounds in another order.</p>"
        )
    st.html(
        '<h2 class="part">Checked when it was opened</h2><table class="facts checks"><tr><th>What must hold</th>'
        f'<th class="num">largest error</th><th class="num">allowed</th><th></th></tr>{body}</table>{probe}{stock}'
    )


def _line(capability: Capability, check: Check) -> str:
    error = "bit-equal" if check.exact else "–" if check.error is None else significant(check.error)
    allowed = f"{check.allowed:g}" if check.allowed else "–"
    verdict = '<span class="ok">✓ holds</span>' if check.ok else '<span class="bad">✕ fails</span>'
    if check.pending:
        verdict = "… not yet"
    reason = f"<small>{escape_html(check.reason)}</small>" if check.reason else ""
    start = "" if check.at_start is None else f' title="at position 0: {significant(check.at_start)}"'
    name, words = escape_html(capability.label), escape_html(IN_WORDS[capability])
    return (
        f'<tr><th scope="row">{name}<small>{words}</small>{reason}</th>'
        f'<td class="num"{start}>{error}</td><td class="num">{allowed}</td><td>{verdict}</td></tr>'
    )


def draw_diagnostics(engine: Engine) -> None:
    """Versions, device, card and checks as text; no prompt is in it."""
    st.html(
        '<h2 class="part">Diagnostics</h2><p class="under">To send along with a question or a bug report. '
        "Holds versions and the figures above, no prompt and no secret.</p>"
    )
    st.code(iv.diagnostics(engine), language=None, height=260)
