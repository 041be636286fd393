"""Records made by hand, with the token texts that break careless pictures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from intravisto_core.records import DecodedGrid, Shares, Token
from intravisto_core.sites import Component, Lens, NormPolicy, Reading, ShareMeasure, TokenKind

NASTY = (
    "<s>",
    "<br>",
    "%{y}",
    "$x$",
    "&lt;",
    "<b>bold</b>",
    "</script>",
    "`code`",
    "\"quoted\" 'too'",
    "a_b*c*",
    "日本語",
    "مرحبا",
    "שלום",
    "👩\u200d👩\u200d👧",
    "⟨U+200B⟩",
    "e\u0301",
    "\x00\x1b",
    "\ud83d",
    "\ufffe",
    "␣the",
    "␣",
    "⏎⏎",
    "␣internationalisation",
)
WORDS = ("␣the", "␣Rome", "␣Italy", "␣capital", ".", "?", "⏎", "␣is", "␣Paris", "␣of", "␣language", "ing")
D_VOCAB = 4096


def shown(token_id: int) -> str:
    """Text of a made-up token: the nasty ones first, then words with a number."""
    if token_id < len(NASTY):
        return NASTY[token_id]
    return f"{WORDS[token_id % len(WORDS)]}{token_id}"


def tokens(length: int, prompt_length: int, nasty: bool = True) -> tuple[Token, ...]:
    """A text of made-up tokens, the first one special."""
    ids = [(p % len(NASTY)) if nasty else len(NASTY) + (7 * p) % 900 for p in range(length)]
    words = [Token(i, shown(i), shown(i), p, p < prompt_length, False) for p, i in enumerate(ids)]
    return (replace(words[0], shown="<|bos|>", is_special=True, kind=TokenKind.SPECIAL), *words[1:])


def grid(
    n_layers: int = 4,
    length: int = 24,
    prompt_length: int = 18,
    k: int = 6,
    component: Component = Component.BLOCK,
    nasty: bool = True,
    seed: int = 0,
    **changes: Any,
) -> DecodedGrid:
    """A grid of all rows and positions of a made-up trace."""
    draw = np.random.default_rng(seed)
    shape = (n_layers + 2, length)
    ids = draw.integers(0, len(NASTY) if nasty else 3000, (*shape, k))
    certain = draw.uniform(0.02, 0.999, shape) ** draw.uniform(0.3, 2.0, shape)
    rest = np.sort(draw.dirichlet(np.ones(k), shape), axis=-1)[..., ::-1] * (1 - certain[..., None]) * 0.9
    probabilities = np.concatenate([certain[..., None], rest[..., : k - 1]], axis=-1).astype(np.float32)
    probabilities = np.sort(probabilities, axis=-1)[..., ::-1]
    numbers = {n: draw.uniform(0, 3, shape).astype(np.float32) for n in ("kl_final", "kl_below", "norms")}
    blank = [""] * (n_layers + 2)
    made = DecodedGrid(
        trace="trace-1",
        model="made up",
        n_layers=n_layers,
        prompt_length=prompt_length,
        component=component,
        lens=Lens.OUTPUT,
        norm=NormPolicy.FINAL,
        reading=Reading.TOP,
        rows=np.arange(n_layers + 2),
        positions=np.arange(length),
        tokens=tokens(length, prompt_length, nasty),
        says=ids[-1, :, 0],
        token_ids=ids,
        probabilities=probabilities,
        logits=draw.normal(0, 3, (*shape, k)).astype(np.float32),
        p_max=probabilities[..., 0],
        entropy=draw.uniform(0, 8, shape).astype(np.float32),
        next_log_prob=-draw.uniform(0, 9, shape).astype(np.float32),
        cosine=draw.uniform(-1, 1, shape).astype(np.float32),
        top3_share=draw.uniform(0, 1, shape).astype(np.float32),
        blank=tuple(blank),
        shown={i: shown(i) for i in range(3000)},
        d_vocab=D_VOCAB,
        **numbers,
    )
    if component is not Component.BLOCK:
        made = blanked(made, (0, n_layers + 1), f"{component.label} is nothing at this row")
    return replace(made, **changes)


def blanked(made: DecodedGrid, rows: tuple[int, ...], reason: str) -> DecodedGrid:
    """The grid with those rows blank."""
    where = list(rows)
    reasons = tuple(reason if r in where else b for r, b in enumerate(made.blank))
    changes: dict[str, Any] = {"blank": reasons, "token_ids": made.token_ids.copy()}
    changes["token_ids"][where] = -1
    for name in ("probabilities", "logits", "p_max", "entropy", "kl_final", "kl_below", "next_log_prob"):
        changes[name] = getattr(made, name).copy()
        changes[name][where] = np.nan
    return replace(made, **changes)


def update(n_layers: int = 4, length: int = 24, k: int = 6, **changes: Any) -> DecodedGrid:
    """A grid of what attention wrote, under the stream policy."""
    made = grid(n_layers, length, k=k, component=Component.ATTENTION, norm=NormPolicy.STREAM, **changes)
    size = np.sort(np.abs(made.logits), axis=-1)[..., ::-1]
    nothing = np.full_like(made.probabilities, np.nan)
    return replace(
        made,
        probabilities=nothing,
        p_max=nothing[..., 0],
        entropy=nothing[..., 0],
        logits=size,
        suppressed_ids=np.where(made.token_ids < 0, -1, (made.token_ids + 3) % 20),
        suppressed_logits=-size * 0.8,
    )


def shares(n_layers: int = 4, length: int = 24, measure: ShareMeasure = ShareMeasure.NORM, seed: int = 3) -> Shares:
    """Shares of a serial block; signed ones under the projection."""
    draw = np.random.default_rng(seed)
    signed = measure is ShareMeasure.PROJECTION
    attention, mlp = draw.uniform(-0.3 if signed else 0, 1.2 if signed else 1, (2, n_layers, length))
    return Shares("trace-1", measure, "serial", attention, mlp, 1 - attention, 1 - mlp, tokens(length, length))
