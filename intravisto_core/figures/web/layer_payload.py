"""What the pictures of the inside of a layer are given: the layer itself, and the cards of one head and one neuron."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from intravisto_core.figures.numbers import change, nats, probability, significant
from intravisto_core.figures.text import printable
from intravisto_core.figures.web.layer_features_payload import (
    feature_data,
    features_data,
    list_data,
    over_text,
    round_digits,
)
from intravisto_core.figures.words import as_sentence
from intravisto_core.records import FeatureCard, HeadCard, LayerGraph, NeuronCard
from intravisto_core.records.layer import SOURCE_NAMES
from intravisto_core.sites import Lane, LayerPart, LayerWidth, RankPalette

TOLD_FIRED = 6
STATE_NAMES = {"resid_mid": "after attention"}


def _list(values: np.ndarray) -> list[float | None]:
    return [round_digits(float(v)) for v in values]


def name_state(graph: LayerGraph, name: str) -> str:
    """A state of the stream in words."""
    if name == "resid_pre":
        return f"layer {graph.layer - 1}, output" if graph.layer else "embeddings"
    return STATE_NAMES.get(name, f"layer {graph.layer}, output")


def layer_data(
    graph: LayerGraph,
    ranks: Sequence[int] = (),
    links: bool = False,
    rev: str = "",
    palette: RankPalette = RankPalette.DIVERGING,
) -> dict[str, Any]:
    """The data of layer.js. ranks: of the target at heatmap rows 0 to L, for the strip over all layers.

    links: whether its names lead elsewhere, which a page by itself does not have. rev: goes back with every act.
    """
    return {
        "rev": rev,
        "model": printable(graph.model),
        "palette": str(palette),
        "links": links,
        "layer": graph.layer,
        "layers": graph.n_layers,
        "position": graph.position,
        "positions": len(graph.tokens),
        "vocabulary": graph.d_vocab,
        "target": printable(graph.target),
        "contrast": printable(graph.contrast),
        "width": str(graph.width),
        "parallel": graph.parallel,
        "ranks": [int(r) for r in ranks],
        "states": [state_data(graph, i) for i in range(len(graph.state_name))],
        "lanes": [lane_data(graph, lane) for lane in Lane],
        "sources": source_data(graph),
        "features": features_data(graph),
        "notes": [as_sentence(printable(n)) for n in graph.notes],
    }


def state_data(graph: LayerGraph, i: int) -> dict[str, Any]:
    """A card of the stream."""
    return {
        "name": name_state(graph, str(graph.state_name[i])),
        "size": round_digits(float(graph.state_size[i])),
        "entropy": round_digits(float(graph.state_entropy[i])),
        "rank": int(graph.state_rank[i]),
        "chance": probability(float(graph.state_probability[i])),
        "tokens": [
            [printable(graph.shown[int(t)]), probability(float(p))]
            for t, p in zip(graph.state_ids[i][:4], graph.state_top[i][:4], strict=True)
        ],
    }


def _measures(numbers: tuple[float, float, float]) -> dict[str, float | None]:
    return dict(zip((str(w) for w in LayerWidth), map(round_digits, numbers), strict=True))


def lane_data(graph: LayerGraph, lane: Lane) -> dict[str, Any]:
    """One lane with its rows; those inside an expert follow it."""
    at = list(Lane).index(lane)
    numbers = (float(graph.lane_size[at]), float(graph.lane_pull[at]), float(graph.lane_versus[at]))
    return {
        "rows": [part_data(graph, i) for i in np.flatnonzero(graph.part_lane == lane).tolist()],
        "sum": _measures(numbers),
        "sizes": round_digits(float(graph.lane_sizes[at])),
        "count": int(graph.lane_count[at]),
        "half": int(graph.lane_half[at]),
        "rank": int(graph.lane_rank[at]),
        "tokens": [printable(graph.shown[int(t)]) for t in graph.lane_ids[at]],
    }


def part_data(graph: LayerGraph, i: int) -> dict[str, Any]:
    """One row."""
    kind, expert = LayerPart(str(graph.part_kind[i])), int(graph.part_expert[i])
    inside = bool(graph.inside[i])
    numbers = (float(graph.part_size[i]), float(graph.part_pull[i]), float(graph.part_versus[i]))
    data: dict[str, Any] = {
        "kind": str(kind),
        "name": _name(graph, i, kind, expert),
        "index": int(graph.part_index[i]),
        "expert": expert,
        "inside": inside,
        "rank": int(graph.part_rank[i]),
        "act": round_digits(float(graph.part_act[i])),
        "tokens": [printable(graph.shown[int(t)]) for t in graph.part_ids[i]],
        "fired": [printable(graph.shown[int(t)]) for t in graph.part_fired_ids[i] if t >= 0],
        "hover": _hover(graph, i),
    }
    return data | _measures(numbers)


def _name(graph: LayerGraph, i: int, kind: LayerPart, expert: int) -> str:
    index, count = int(graph.part_index[i]), int(graph.part_count[i])
    if kind is LayerPart.EXPERT:
        return f"expert {expert} × {significant(float(graph.part_weight[i]))}"
    names = {LayerPart.HEAD: f"H{index}", LayerPart.NEURON: f"N{index}", LayerPart.OTHERS: f"{count:,} others"}
    names |= {LayerPart.ATTENTION_BIAS: "bias", LayerPart.MLP_BIAS: "bias"}
    return names.get(kind, kind.label)


def _hover(graph: LayerGraph, i: int) -> str:
    low = " ".join(printable(graph.shown[int(t)]) for t in graph.part_low_ids[i])
    words = " ".join(printable(graph.shown[int(t)]) for t in graph.part_ids[i])
    pull, versus = change(float(graph.part_pull[i])), change(float(graph.part_versus[i]))
    entropy = change(float(graph.part_entropy[i]))
    return (
        f"size {significant(float(graph.part_size[i]))} · pull on {printable(graph.target)} {pull} · "
        f"against {printable(graph.contrast)} {versus}\nwrites {words}\npushes down {low}\n"
        f"without it: KL {nats(float(graph.part_kl[i]))}; with it entropy changes by {entropy} nats"
    )


def source_data(graph: LayerGraph) -> dict[str, Any]:
    """What the heads with rows read, the positions in order."""
    names = [SOURCE_NAMES[p] if p < 0 else printable(graph.tokens[p].shown) for p in graph.source_position.tolist()]
    return {
        "positions": graph.source_position.tolist(),
        "names": names,
        "weight": [_list(row) for row in graph.source_weight],
        "size": [_list(row) for row in graph.source_size],
        "pull": [_list(row) for row in graph.source_pull],
        "versus": [_list(row) for row in graph.source_versus],
    }


def cards_data(
    head: HeadCard | None,
    neuron: NeuronCard | None,
    feature: FeatureCard | None = None,
    links: bool = False,
    rev: str = "",
    palette: RankPalette = RankPalette.DIVERGING,
) -> dict[str, Any]:
    """The data of layer_cards.js."""
    return {
        "rev": rev,
        "palette": str(palette),
        "links": links,
        "head": None if head is None else head_data(head),
        "neuron": None if neuron is None else neuron_data(neuron),
        "feature": None if feature is None else feature_data(feature),
    }


def head_data(card: HeadCard) -> dict[str, Any]:
    """The card of one head."""
    n = card.position + 1
    seen = [j for j in np.argsort(-np.nan_to_num(card.scores[:n], nan=-np.inf), kind="stable") if card.weights[j] > 0]
    return {
        "layer": card.layer,
        "head": card.head,
        "position": card.position,
        "vocabulary": card.d_vocab,
        "target": printable(card.target),
        "title": f"Head {card.head}",
        "about": (
            f"size {significant(card.size)} · pull {change(card.pull)} · against {printable(card.contrast)} "
            f"{change(card.versus)} · without it KL {nats(card.kl)}, entropy {change(-card.entropy_change)}"
        ),
        "kv": card.kv_head,
        "rank": card.rank,
        "over": over_text(card.tokens[:n], card.sizes[:n]),
        "sink": round_digits(card.sink_weight),
        "sources": [
            {
                "position": int(j),
                "token": printable(card.tokens[int(j)].shown),
                "weight": round_digits(float(card.weights[j])),
                "size": round_digits(float(card.sizes[j])),
                "pull": round_digits(float(card.pulls[j])),
                "rank": int(card.source_rank[row]),
                "writes": [printable(card.shown[int(t)]) for t in card.source_ids[row]],
                "answers": [printable(card.shown[int(t)]) for t in card.key_ids[row] if t >= 0],
                "takes": [printable(card.shown[int(t)]) for t in card.value_ids[row] if t >= 0],
            }
            for row, j in enumerate(card.source_position)
        ],
        "looks": [printable(card.shown[int(t)]) for t in card.query_ids if t >= 0],
        "finds": [[printable(card.tokens[int(j)].shown), round_digits(float(card.scores[j]))] for j in seen[:6]],
        "rows": [
            {
                "name": f"z {int(index)}",
                "value": round_digits(float(card.row_value[row])),
                "size": round_digits(float(card.row_size[row])),
                "pull": round_digits(float(card.row_pull[row])),
                "writes": [printable(card.shown[int(t)]) for t in card.row_ids[row]],
            }
            for row, index in enumerate(card.row_index)
        ],
        "promoted": list_data(card.promoted),
        "suppressed": list_data(card.suppressed),
        "notes": [as_sentence(printable(x)) for x in card.notes],
    }


def name_fired(kind: str, layer: int, index: int) -> str:
    """A part of the stream in words."""
    if kind == "head":
        return f"L{layer}H{index}" if index >= 0 else f"attention bias, layer {layer}"
    names = {"attention": f"attention, layer {layer}", "mlp": f"MLP, layer {layer}", "embedding": "embedding"}
    names |= {"norm": "the norm's shift", "bias": "its bias", "rest": "edits and rounding"}
    return names.get(kind, kind)


def neuron_data(card: NeuronCard) -> dict[str, Any]:
    """The card of one neuron."""
    p, gated = card.position, card.gate is not None
    by = card.fired_gate if gated else card.fired_up
    told = np.argsort(-np.abs(by), kind="stable")[:TOLD_FIRED] if len(by) else np.zeros(0, int)
    inputs = (
        f"= act(gate {significant(float(card.gate[p]))}) × up {change(float(card.up[p]))} "
        if gated and card.up is not None and card.gate is not None
        else ""
    )
    expert = f"expert {card.expert}, " if card.expert >= 0 else ""
    return {
        "layer": card.layer,
        "neuron": card.neuron,
        "expert": card.expert,
        "position": p,
        "vocabulary": card.d_vocab,
        "target": printable(card.target),
        "title": f"{expert}neuron {card.neuron}".capitalize(),
        "about": (
            f"active {change(float(card.activation[p]))} {inputs}· size {significant(card.size)}, place {card.place:,} "
            f"of {card.n_neurons:,} · pull {change(card.pull)} · without it KL {nats(card.kl)}, entropy "
            f"{change(-card.entropy_change)}"
        ),
        "rank": card.rank,
        "over": over_text(card.tokens, card.activation),
        "gated": gated,
        "fired": [
            [
                name_fired(str(card.fired_kind[i]), int(card.fired_layer[i]), int(card.fired_index[i])),
                str(card.fired_kind[i]),
                round_digits(float(by[i])),
            ]
            for i in told
        ],
        "rest": round_digits(float(by.sum() - by[told].sum())) if len(by) else None,
        "total": round_digits(float(by.sum())) if len(by) else None,
        "gate_reads": list(map(printable, card.gate_reads.texts)),
        "gate_against": list(map(printable, card.gate_against.texts)),
        "up_reads": list(map(printable, card.up_reads.texts)),
        "up_against": list(map(printable, card.up_against.texts)),
        "up_positive": bool(card.up is None or not card.up[p] < 0),
        "promoted": list_data(card.promoted),
        "suppressed": list_data(card.suppressed),
        "notes": [as_sentence(printable(x)) for x in card.notes],
    }
