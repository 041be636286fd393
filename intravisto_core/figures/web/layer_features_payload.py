"""What the pictures of the inside of a layer are given of dictionaries: their parts, and the card of one feature."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from intravisto_core.figures.numbers import change, nats, significant, whole_share
from intravisto_core.figures.text import printable
from intravisto_core.figures.words import as_sentence
from intravisto_core.records import FeatureCard, LayerFeatures, LayerGraph, Token, TokenList
from intravisto_core.sites import FeaturePart, LayerWidth

DIGITS = 4
MOST_TOKENS = 40


def round_digits(value: float) -> float | None:
    """With the digits that a picture needs; None for what is no number."""
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def over_text(tokens: Sequence[Token], values: np.ndarray) -> dict[str, Any]:
    """Values over a text: of a long one its end, and of what is before it how much there is and the largest.

    largest: the size that tokens are shaded by, of positions from 1 on: position 0 has values of its own kind.
    """
    first = max(0, len(tokens) - MOST_TOKENS)
    sizes = np.nan_to_num(np.abs(values[1:] if len(values) > 2 else values))
    before = None
    if first:
        place = int(np.nan_to_num(np.abs(values[1:first])).argmax()) + 1 if first > 1 else 0
        before = {
            "count": first,
            "position": place,
            "token": printable(tokens[place].shown),
            "value": round_digits(float(values[place])),
        }
    return {
        "first": first,
        "tokens": [printable(t.shown) for t in tokens[first:]],
        "values": [round_digits(float(v)) for v in values[first:]],
        "largest": round_digits(float(sizes.max())) if len(sizes) else 0.0,
        "before": before,
    }


def features_data(graph: LayerGraph) -> list[dict[str, Any]]:
    """Every dictionary with its parts."""
    return [
        {
            "name": printable(each.dictionary),
            "about": (
                f"{each.place} · {each.n_active:,} of {each.n_features:,} features active · leaves out "
                f"{whole_share(each.error)} of its length"
            ),
            "rows": [part_data(graph, each, i) for i in range(len(each))],
        }
        for each in graph.dictionaries
    ]


def part_data(graph: LayerGraph, features: LayerFeatures, i: int) -> dict[str, Any]:
    """One row."""
    kind = FeaturePart(str(features.part_kind[i]))
    names = {
        FeaturePart.FEATURE: f"F{int(features.part_index[i])}",
        FeaturePart.OTHERS: f"{int(features.part_count[i]):,} others",
    }
    words = [printable(graph.shown[int(t)]) for t in features.part_ids[i]]
    low = " ".join(printable(graph.shown[int(t)]) for t in features.part_low_ids[i])
    data: dict[str, Any] = {
        "kind": str(kind),
        "name": names.get(kind, kind.label),
        "index": int(features.part_index[i]),
        "dictionary": features.dictionary,
        "rank": int(features.part_rank[i]),
        "act": round_digits(float(features.part_act[i])),
        "tokens": words,
        "hover": (
            f"size {significant(float(features.part_size[i]))} · pull on {printable(graph.target)} "
            f"{change(float(features.part_pull[i]))} · against {printable(graph.contrast)} "
            f"{change(float(features.part_versus[i]))}\nwrites {' '.join(words)}\npushes down {low}\n"
            f"without it: KL {nats(float(features.part_kl[i]))}; with it entropy changes by "
            f"{change(float(features.part_entropy[i]))} nats"
        ),
    }
    return data | {str(width): round_digits(float(features.value(width)[i])) for width in LayerWidth}


def feature_data(card: FeatureCard) -> dict[str, Any]:
    """The card of one feature."""
    act = float(card.activation[card.position])
    where = (
        f"active {change(act)} · size {significant(card.size)}, place {card.place:,} of {card.n_active:,} active · "
        f"pull {change(card.pull)} · without it KL {nats(card.kl)}, entropy {change(-card.entropy_change)}"
        if card.size
        else "not active here"
    )
    return {
        "layer": card.layer,
        "feature": card.feature,
        "dictionary": card.dictionary,
        "position": card.position,
        "vocabulary": card.d_vocab,
        "target": printable(card.target),
        "title": f"Feature {card.feature}",
        "about": f"{printable(card.dictionary)} · {where}",
        "active": bool(card.size),
        "rank": card.rank,
        "over": over_text(card.tokens, card.activation),
        "promoted": list_data(card.promoted),
        "suppressed": list_data(card.suppressed),
        "notes": [as_sentence(printable(x)) for x in card.notes],
    }


def list_data(found: TokenList) -> list[list[Any]]:
    """Tokens with their change of logit, and the ranks before and after."""
    columns = (found.texts, found.changes.tolist(), found.before.tolist(), found.after.tolist())
    return [[printable(text), round_digits(z), b, a] for text, z, b, a in zip(*columns, strict=True)]
