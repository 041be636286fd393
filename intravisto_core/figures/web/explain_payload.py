"""What the card of an explanation in the browser is given: every number and name as it is shown."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from typing import Any

import numpy as np

from intravisto_core.figures.explanation_words import (
    describe_manner,
    find_moments,
    find_top_head,
    moves_contrast,
    name_half,
    name_part,
    read_word,
    show_metric,
    write_pieces,
)
from intravisto_core.figures.numbers import change, probability, rank, share, significant, whole_percent, whole_share
from intravisto_core.figures.text import printable
from intravisto_core.figures.web.flow_payload import round_numbers
from intravisto_core.figures.words import as_sentence
from intravisto_core.records import Explanation
from intravisto_core.sites import Component, ExplainTest, Part

# A text of so many tokens has a chip for each; of a longer one, so many words between the first and the last have.
MOST_COLUMNS, LONG_WORDS = 16, 9
MOST_ARCS = 3
# An arc is drawn for a word whose heads add at least this share of the largest arc, and this much.
ARC_SHARE, ARC_LEAST = 0.15, 0.05
NAMED_HEADS = 3
LISTED_WORDS = 3
MUTED_FROM = 1000
# Rounding that moves no digit that is shown needs no words.
SHOWN_NOISE = 5e-4
WORD = re.compile(r"␣?[^\W\d_][\w'.,()-]*")


def explain_data(found: Explanation, links: bool = False, rev: str = "") -> dict[str, Any]:
    """The data of explain.js.

    links: whether its names lead to other pages, which a page by itself does not have. rev: goes back with every act.
    """
    return {
        "rev": rev,
        "model": printable(found.model),
        "links": links,
        "position": found.position,
        "top": found.n_layers + 1,
        "target": printable(found.target),
        "contrast": printable(found.contrast),
        "pieces": [{"text": p.text, "strong": p.strong, "quiet": p.quiet, "part": p.part} for p in write_pieces(found)],
        "words": words_data(found),
        "rise": rise_data(found),
        "who": who_data(found),
        "foot": list_foot(found),
    }


def list_foot(found: Explanation) -> list[str]:
    """The small print of the card."""
    lines = ["Blue adds, orange takes away."]
    if found.position:
        weight = whole_share(float(np.nanmean(found.sink_weight)))
        several = f" and {len(found.sinks) - 1} more" if len(found.sinks) > 1 else ""
        lines.append(
            f"Attention sinks are set aside (position 0{several}): {weight} of all heads' attention from here."
        )
    if found.noise >= SHOWN_NOISE:
        size = significant(found.noise) if found.has_contrast else share(found.noise)
        lines.append(f"Changes below {size} are rounding.")
    lines += [as_sentence(printable(note)) for note in found.notes]
    return [*lines, "“Adds” is bookkeeping; “without it” and “if hidden” are tests."]


def words_data(found: Explanation) -> dict[str, Any]:
    """The first section: chips of words with their share and the metric when they are hidden; arcs from them."""
    between = found.source[1 : found.position]
    whole, most = float(between.sum()) or math.nan, float(between.max(initial=0.0)) or math.nan
    kept = list_columns(found)
    columns: list[dict[str, Any]] = []
    for place, j in enumerate(kept):
        if place and j > kept[place - 1] + 1:
            columns.append(_gap(found, kept[place - 1] + 1, j, whole))
        columns.append(_column(found, j, whole, most))
    return {
        "columns": columns,
        "arcs": list_arcs(found),
        "about": "shade: what all heads bring from a word · arcs: the heads that add most, from the word they look at",
        "shareName": "heads bring",
        "hiddenName": "lead if hidden" if found.has_contrast else f"{printable(found.target)} if hidden",
        "now": f"now {show_metric(found, found.metric)}",
        "tested": found.test_kind is not None,
    }


def list_columns(found: Explanation) -> list[int]:
    """The positions that get a chip: all of a short text; of a long one those that heads bring most from."""
    last = found.position
    if last < MOST_COLUMNS:
        return list(range(last + 1))
    order = 1 + np.argsort(-found.source[1:last], kind="stable")
    kept = {0, last, *(int(j) for j in order[:LONG_WORDS])}
    # a word alone between two others takes no more room than a sign that it is left out
    return sorted(kept | {j for j in range(last) if j - 1 in kept and j + 1 in kept})


def _column(found: Explanation, j: int, whole: float, most: float) -> dict[str, Any]:
    sink, itself, size = j in found.sinks, j == found.position, float(found.source[j])
    hidden, pending = float(found.hidden[j]), "…" if is_tested(found, j) else ""
    shared = "" if sink or itself else whole_percent(size / whole)
    return {
        "position": j,
        "token": printable(found.tokens[j].shown),
        "kind": "itself" if itself else "sink" if sink else "word",
        "shade": 0.0 if sink or itself or math.isnan(most) else round(size / most, 4),
        "share": "itself" if itself else "sink" if sink else shared,
        "hidden": "–" if itself else pending if math.isnan(hidden) else show_metric(found, hidden),
        "brief": "" if itself or math.isnan(hidden) or found.has_contrast else whole_percent(hidden),
        "halves": not sink and found.metric > 0 and hidden < found.metric / 2,
        "about": f"all heads together bring {change(size).removeprefix('+')} (sum of sizes, logits) from here",
    }


def is_tested(found: Explanation, position: int) -> bool:
    """Whether a word is among those that are, or will be, hidden."""
    if found.test_kind is None or found.test_index is None:
        return False
    return bool(((found.test_kind == ExplainTest.WORD) & (found.test_index == position)).any())


def _gap(found: Explanation, start: int, stop: int, whole: float) -> dict[str, Any]:
    size = float(found.source[start:stop].sum())
    return {
        "kind": "gap",
        "token": "⋯",
        "share": whole_percent(size / whole),
        "about": f"{stop - start} tokens, positions {start} to {stop - 1}, from which heads bring less",
    }


def list_arcs(found: Explanation) -> list[dict[str, Any]]:
    """The words from which the heads that look at them add most, at most three, each with its heads by name."""
    heads = defaultdict(list)
    for number in np.flatnonzero(found.part_kind == Part.HEAD).tolist():
        word = read_word(found, int(found.part_layer[number]), int(found.part_index[number]))
        value = float(found.part_value[number])
        if word is not None and word != found.position and value >= ARC_LEAST:
            heads[word].append((value, number))
    arcs = sorted(((sum(v for v, _ in own), word, own) for word, own in heads.items()), reverse=True)
    shown = [arc for arc in arcs if arc[0] >= ARC_SHARE * arcs[0][0]][:MOST_ARCS]
    return [_arc(found, total, word, sorted(own, reverse=True)) for total, word, own in shown]


def _arc(found: Explanation, total: float, word: int, heads: list[tuple[float, int]]) -> dict[str, Any]:
    """One arc; its label is the first of `texts` that there is room for."""
    names = [name_part(found, number) for _, number in heads]
    listed = _list_names(names, NAMED_HEADS)
    does = _do_together(found, [number for _, number in heads])
    texts = [f"{listed} {does}", listed, _list_names(names, 1), names[0] if len(names) == 1 else f"{len(names)} heads"]
    return {"position": word, "value": total, "texts": [*texts, ""], "number": change(total)}


def _list_names(names: list[str], most: int) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _do_together(found: Explanation, heads: list[int]) -> str:
    """What some heads do, said of them all; where they do it in different ways, that they add."""
    plural = len(heads) > 1
    manners = {describe_manner(found, number, plural) for number in heads[:NAMED_HEADS]}
    if len(manners) == 1:
        return manners.pop()
    what = "the lead" if found.has_contrast else printable(found.target)
    return f"add to {what}"


def rise_data(found: Explanation) -> dict[str, Any]:
    """The second section: ranks after every half, moments, probabilities after every layer."""
    moments = [
        {
            "step": m.step,
            "row": m.row,
            "text": f"{m.what}: layer {m.layer} {name_half(m.half)}",
            "small": f"#{rank(m.rank_before)} → #{rank(m.rank_after)}",
        }
        for m in find_moments(found)
    ]
    ends = [i for i, half in enumerate(found.stream_half) if half != Component.ATTENTION and found.stream_row[i]]
    return {
        "vocabulary": found.d_vocab,
        "layers": found.n_layers,
        "halves": [str(half) for half in found.stream_half],
        "rows": found.stream_row.tolist(),
        "rank": found.rank.tolist(),
        "contrast": found.contrast_rank.tolist() if found.has_contrast else None,
        "moments": moments,
        "inWords": "; ".join(f"{m['text']}, {m['small']}" for m in moments) or "the rank after every layer",
        "chance": round_numbers(found.stream_probability[ends]),
        "chanceNow": whole_percent(float(found.stream_probability[-1])),
        "chanceText": [probability(float(found.stream_probability[i])) for i in ends],
    }


def who_data(found: Explanation) -> dict[str, Any]:
    """The third section: the map of all heads and MLPs, and the rows of the parts that add or take most."""
    value = found.part_value
    heads, mlps = (found.part_kind == kind for kind in (Part.HEAD, Part.MLP))
    listed = found.word_part.tolist()
    top = find_top_head(found)
    what = f"lead over {printable(found.contrast)}" if found.has_contrast else f"logit of {printable(found.target)}"
    sizes = np.sort(np.abs(value[heads | mlps]))
    return {
        "layers": found.n_layers,
        "heads": found.looks_at.shape[1],
        "parts": [_part_data(found, int(i)) for i in np.flatnonzero(heads | mlps)],
        "about": f"what each part adds to the {what} · largest first · then the test without it",
        "first": top if top in listed else (listed[0] if listed else None),
        "rows": listed,
        "words": {str(number): _words_of(found, place) for place, number in enumerate(listed)},
        "scale": float(sizes[-min(len(sizes), 4)]) or 1.0,
        "sum": change(found.logit),
        "sums": f"heads {change(float(value[heads].sum()))}, MLPs {change(float(value[mlps].sum()))}",
        "total": float(found.logit),
        "others": len(value),
    }


def _part_data(found: Explanation, number: int) -> dict[str, Any]:
    kind, layer, index = str(found.part_kind[number]), int(found.part_layer[number]), int(found.part_index[number])
    without = float(found.without[number])
    data = {
        "part": number,
        "kind": kind,
        "layer": layer,
        "head": index,
        "name": name_part(found, number),
        "value": float(f"{found.part_value[number]:.5g}"),
        "number": change(float(found.part_value[number])),
        "without": "" if math.isnan(without) else show_metric(found, without),
        "looks": None,
        "aside": "an MLP reads only this position",
    }
    if kind == Part.HEAD:
        word = read_word(found, layer, index)
        weight, sink = float(found.looks_at_weight[layer, index]), float(found.sink_weight[layer, index])
        data["looks"] = "the sink" if word is None and sink >= 0.5 else "no one word"
        data["aside"] = f"{whole_share(sink)} of its attention goes to the sink"
        if word is not None:
            data["looks"] = "itself" if word == found.position else printable(found.tokens[word].shown)
            data |= {"at": word, "weight": whole_share(weight)}
    return data


def _words_of(found: Explanation, place: int) -> dict[str, Any]:
    """The plain words of one part; those that are no words are left out."""
    ids = found.word_ids[place].tolist()
    texts = [(i, printable(found.shown[i])) for i in ids]
    plain = [(i, text) for i, text in texts if WORD.fullmatch(text)][:LISTED_WORDS]
    wanted = {bare(found.target), bare(found.contrast)} - {""}
    return {
        "down": bool(found.word_down[place]),
        "muted": int(found.word_rank[place]) > MUTED_FROM,
        "words": [{"text": text, "hit": bare(text) in wanted} for _, text in plain],
        "about": _about_words(found, place),
    }


def _about_words(found: Explanation, place: int) -> str:
    rival = moves_contrast(found, int(found.word_part[place]))
    token = printable(found.contrast if rival else found.target)
    side = "pushes down" if found.word_down[place] else "writes"
    return f"the tokens that it {side} most, by angle; {token} stands at place {int(found.word_rank[place]):,}"


def bare(text: str) -> str:
    """A token without its leading space and case: what makes two tokens one word."""
    return text.lstrip("␣ ").casefold()
