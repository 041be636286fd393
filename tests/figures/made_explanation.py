"""A small explanation made by hand: 10 layers, 2 heads, five words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from intravisto_core.records import Explanation, Token

WORDS = ("The", "␣cat", "␣saw", "␣the", "␣cat")
LAYERS, HEADS = 10, 2
HEAD, MLP, EMBEDDING = 0, 1, 2
"""Numbers of parts: head 1 of layer 8, the MLP of layer 9, the embedding."""


def explanation(ranks: tuple[int, ...] | None = None, **changes: Any) -> Explanation:
    """The target ␣sat at position 4. ranks: after every half, the embeddings first."""
    rank = np.array(ranks or [900, *[800] * 16, 60, 9, 2, 1], np.int32)
    steps = np.arange(len(rank))
    halves = np.array(["block", *["attention", "mlp"] * LAYERS])
    looks = np.full((LAYERS, HEADS), 1, np.int32)
    weight = np.full((LAYERS, HEADS), 0.05, np.float32)
    weight[8, 1] = 0.6
    made = Explanation(
        trace="t",
        model="hand-made",
        n_layers=LAYERS,
        d_vocab=1000,
        prompt_length=5,
        tokens=tuple(Token(i, w, w, i, True, False) for i, w in enumerate(WORDS)),
        position=4,
        target_id=70,
        contrast_id=-1,
        target="␣sat",
        contrast="",
        probability=0.6,
        top_id=70,
        lead=float("nan"),
        stream_row=((steps + 1) // 2).astype(np.int32),
        stream_half=halves,
        rank=rank,
        stream_probability=np.linspace(0, 0.6, len(rank), dtype=np.float32),
        contrast_rank=np.zeros(len(rank), np.int32),
        contrast_probability=np.full(len(rank), np.nan, np.float32),
        part_kind=np.array(["head", "mlp", "embedding"]),
        part_layer=np.array([8, 9, -1], np.int32),
        part_index=np.array([1, -1, -1], np.int32),
        part_value=np.array([2.0, 3.0, 0.5]),
        part_own=np.array([2.0, 3.0, 0.5]),
        logit=5.5,
        remainder=0.0,
        soft_cap=0.0,
        looks_at=looks,
        looks_at_weight=weight,
        sink_weight=np.full((LAYERS, HEADS), 0.4, np.float32),
        sinks=(0,),
        source=np.array([4.0, 3.0, 1.0, 0.5, 2.0]),
        word_part=np.array([MLP, HEAD], np.int32),
        word_ids=np.array([[70, 71], [70, 72]], np.int32),
        word_down=np.array([False, False]),
        word_rank=np.array([2000, 1], np.int32),
        shown={70: "␣sat", 71: "<b>", 72: "␣lay"},
    )
    return replace(made, **changes)


def with_tests(made: Explanation, head: float, words: dict[int, float], noise: float = 0.0) -> Explanation:
    """With a test of the head, and of words by position."""
    n = 1 + len(words)
    return replace(
        made,
        test_kind=np.array(["head", *["word"] * len(words)]),
        test_layer=np.array([8, *[-1] * len(words)], np.int32),
        test_index=np.array([1, *words], np.int32),
        test_before=np.full(n, made.metric),
        test_after=np.array([head, *words.values()]),
        noise=noise,
    )


def against(made: Explanation, lead: float = 4.0) -> Explanation:
    """The same against ␣lay, which the head pushes down: −1.5 of its 2 are the contrast's."""
    return replace(
        made,
        contrast_id=72,
        contrast="␣lay",
        lead=lead,
        contrast_rank=np.full(len(made.rank), 5, np.int32),
        contrast_probability=np.full(len(made.rank), 0.1, np.float32),
        part_own=np.array([0.5, 3.0, 0.5]),
        word_down=np.array([False, True]),
    )
