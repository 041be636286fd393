"""What an explanation says in plain sentences. All of it is made by the rules in this file, from the numbers alone.

A cause is claimed of nothing but a test, and what one prompt shows is called an anecdote.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from intravisto_core.figures.numbers import change, probability, significant
from intravisto_core.figures.text import printable
from intravisto_core.records import Explanation
from intravisto_core.sites import Component, Part

THRESHOLDS = (100, 10, 5, 1)
MOST_MOMENTS = 5
# A head that gives no word at least so much of its attention looks at nothing worth naming.
LOOKS_LEAST = 0.15
# A part whose list has the token among so many first ones writes it, or pushes it down.
WRITES_AMONG = 10
MOST_NAMED_WORDS = 2
# A test that moves the metric by less than this share of it is said to leave it.
LEAST_MOVED = 0.005
ORDINALS = ("first", "second", "third", "fourth", "fifth")
HEDGE = "One prompt, so an anecdote."


@dataclass(frozen=True, slots=True)
class Moment:
    """A step at which the target comes up.

    step: number of the reading after it. row, half: of that reading. what: "first", "top 5" and the like, or "jump",
    the step that multiplies its place most while it is still out of sight.
    """

    step: int
    row: int
    half: str
    what: str
    rank_before: int
    rank_after: int

    @property
    def layer(self) -> int:
        """Layer of the step, 0-based."""
        return self.row - 1


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a sentence. strong: what carries it. quiet: the hedge. part: the number of the part that it names."""

    text: str
    strong: bool = False
    quiet: bool = False
    part: int = -1


def find_moments(found: Explanation) -> list[Moment]:
    """At most five, from the bottom up.

    A threshold k counts at the first step that brings the rank from above k to k or below, if no later one exceeds
    10 k (12 for k = 1). Several thresholds at one step are one moment, named by the last.
    """
    by_step: dict[int, str] = {}
    for k in THRESHOLDS:
        step = _find_crossing(found.rank, k)
        if step is not None:
            by_step[step] = "first" if k == 1 else f"top {k}"
    jump = find_jump(found)
    if jump is not None:
        by_step.setdefault(jump, "jump")
    return [_moment(found, step, what) for step, what in sorted(by_step.items())][:MOST_MOMENTS]


def _find_crossing(rank: np.ndarray, k: int) -> int | None:
    within = max(10 * k, 12)
    for step in range(1, len(rank)):
        if rank[step] <= k < rank[step - 1] and (rank[step:] <= within).all():
            return step
    return None


def find_jump(found: Explanation) -> int | None:
    """The step that divides the rank most, at least by 2, from above 100; the first tenth of the layers aside.

    It brings the rank to where it never was before, and no later step takes it back above where it came from.
    """
    rank, best, most = found.rank.astype(float), None, math.log(2)
    for step in range(1, len(rank)):
        before, after = rank[step - 1], rank[step]
        late = found.stream_row[step] - 1 >= found.n_layers // 10
        lasting = after <= rank[:step].min() and rank[step:].max() < before
        if late and lasting and before > THRESHOLDS[0] and math.log(before / after) >= most:
            best, most = step, math.log(before / after)
    return best


def _moment(found: Explanation, step: int, what: str) -> Moment:
    row, half = int(found.stream_row[step]), str(found.stream_half[step])
    return Moment(step, row, half, what, int(found.rank[step - 1]), int(found.rank[step]))


def name_half(half: str) -> str:
    """`attention`, `MLP`, or `block` where both join at once."""
    return Component(half).label if half != Component.BLOCK else "block"


def name_part(found: Explanation, number: int) -> str:
    """`L23H4`, `MLP 28`; other parts by their own label."""
    part, layer = Part(str(found.part_kind[number])), int(found.part_layer[number])
    if part is Part.HEAD:
        return f"L{layer}H{int(found.part_index[number])}"
    return f"MLP {layer}" if part is Part.MLP else part.label


def name_word(found: Explanation, position: int) -> str:
    """A token of the text in quotes; of one that occurs more than once up to the position, which."""
    shown = found.tokens[position].shown
    same = [t.position for t in found.tokens[: found.position + 1] if t.shown == shown]
    which = same.index(position)
    ordinal = f"the {ORDINALS[which]} " if len(same) > 1 and which < len(ORDINALS) else ""
    return f"{ordinal}‘{printable(shown)}’"


def show_metric(found: Explanation, value: float) -> str:
    """The metric of the tests as text: `+3.19` of a lead, `47.4 %` of a probability."""
    return change(value) if found.has_contrast else probability(value)


def read_word(found: Explanation, layer: int, head: int) -> int | None:
    """The position that a head looks at with weight enough to be named; None where it looks mostly at sinks."""
    weight = float(found.looks_at_weight[layer, head])
    return int(found.looks_at[layer, head]) if weight >= LOOKS_LEAST else None


def moves_contrast(found: Explanation, number: int) -> bool:
    """Whether a part acts more through the contrast than through the target."""
    own, value = float(found.part_own[number]), float(found.part_value[number])
    return found.has_contrast and abs(value - own) > abs(own)


def describe_manner(found: Explanation, number: int, plural: bool = False) -> str:
    """`writes ␣Paris`, `adds to ␣Paris`, `pushes ␣John down`: what a part does to the token that it moves most."""
    rival = moves_contrast(found, number)
    own, value = float(found.part_own[number]), float(found.part_value[number])
    raised = (own - value if rival else own) >= 0
    token = printable(found.contrast if rival else found.target)
    ending = "" if plural else "s"
    if not raised:
        return f"{'push' if plural else 'pushes'} {token} down"
    listed = np.flatnonzero(found.word_part == number)
    first = len(listed) > 0 and not found.word_down[listed[0]] and found.word_rank[listed[0]] <= WRITES_AMONG
    return f"{'write' if first else 'add'}{ending} {'' if first else 'to '}{token}"


def find_top_head(found: Explanation) -> int | None:
    """The head that adds most, as the number of its part; None where none adds anything."""
    heads = np.flatnonzero(found.part_kind == Part.HEAD)
    top = heads[np.argmax(found.part_value[heads])] if len(heads) else None
    return int(top) if top is not None and found.part_value[top] > 0 else None


def write_sentence(found: Explanation) -> str:
    """All sentences as one text."""
    return "".join(piece.text for piece in write_pieces(found))


def write_pieces(found: Explanation) -> list[Piece]:
    """The sentences in pieces: what the model says, when it comes up, who adds to it, and what the tests say."""
    pieces = [*_say_result(found), *_say_rise(found), *_say_parts(found), *_say_tests(found)]
    return [*pieces, Piece(f" {HEDGE}", quiet=True)]


def _say_result(found: Explanation) -> Iterator[Piece]:
    target, chance = printable(found.target), probability(found.probability)
    if found.top_id == found.target_id:
        yield Piece("The model says ")
        yield Piece(target, strong=True)
        yield Piece(" with ")
        yield Piece(chance, strong=True)
    else:
        yield Piece("The model gives ")
        yield Piece(target, strong=True)
        yield Piece(" ")
        yield Piece(chance, strong=True)
        yield Piece(f" and would say {printable(found.shown[found.top_id])} first")
    if found.has_contrast:
        side = "ahead of" if found.lead >= 0 else "behind"
        yield Piece(f", {significant(abs(found.lead))} logits {side} {printable(found.contrast)}")
    yield Piece(".")


def _say_rise(found: Explanation) -> Iterator[Piece]:
    moments = find_moments(found)
    first = next((m for m in moments if m.what == "first"), None)
    jump_step = find_jump(found)
    jump = None if jump_step is None else _moment(found, jump_step, "jump")
    if (found.rank == 1).all():
        yield Piece(" It is first from the embeddings on.")
        return
    unseen = jump is not None and (found.rank[: jump.step] > THRESHOLDS[0]).all()
    if jump is not None and unseen and (first is None or jump.step < first.step):
        if jump.layer > 0:
            yield Piece(f" Up to layer {jump.layer - 1} it is not in sight; it rises from ")
        else:
            yield Piece(" It rises from ")
        yield Piece(f"layer {jump.layer}", strong=True)
        yield Piece(" and " if first is not None else "")
    elif first is not None:
        yield Piece(" It ")
    if first is not None:
        yield Piece("is first from ")
        yield Piece(f"layer {first.layer}", strong=True)
        yield Piece(" on.")
        return
    end = int(found.rank[-1])
    if jump is not None and unseen:
        yield Piece(f"; at the end it stands at place {end:,}.")
    else:
        yield Piece(f" At the end it stands at place {end:,}.")


def _say_parts(found: Explanation) -> Iterator[Piece]:
    mlps, heads = (change(float(found.part_value[found.part_kind == k].sum())) for k in (Part.MLP, Part.HEAD))
    yield Piece(f" To its {'lead' if found.has_contrast else 'logit'}, MLPs add {mlps} and heads {heads}.")
    top = find_top_head(found)
    if top is None:
        return
    yield Piece(" Of the heads, ")
    yield Piece(name_part(found, top), strong=True, part=top)
    yield Piece(f" adds most, {change(float(found.part_value[top]))}: it ")
    word = read_word(found, int(found.part_layer[top]), int(found.part_index[top]))
    if word is not None:
        yield Piece("looks at ")
        itself = word == found.position
        yield Piece("its own position" if itself else name_word(found, word), strong=not itself)
        yield Piece(" and ")
    yield Piece(f"{describe_manner(found, top)}.")


def _say_tests(found: Explanation) -> Iterator[Piece]:
    if found.tests is None or not len(found.tests):
        return
    subject = "the lead" if found.has_contrast else printable(found.target)
    top = find_top_head(found)
    told = ""
    if top is not None and not math.isnan(found.without[top]):
        told = f"without {name_part(found, top)}, {_say_change(found, subject, float(found.without[top]))}"
        yield Piece(f" Tested: {told}")
    hidden = _find_hidden(found)
    if hidden is None:
        yield Piece("." if told else "")
        return
    yield Piece("; " if told else " Tested: ")
    if not len(hidden):
        yield Piece(f"no single word that is hidden from {_name_position(found)} halves it.")
        return
    yield Piece(f"when {_name_position(found)} cannot see ")
    for place, word in enumerate(hidden):
        yield Piece("; or " if place else "")
        yield Piece(name_word(found, word), strong=True)
        yield Piece(f", to {show_metric(found, float(found.hidden[word]))}")
    yield Piece(".")
    yield from _say_disagreement(found, hidden)


def _say_change(found: Explanation, subject: str, after: float) -> str:
    """How the metric moves in a test; what exceeds neither the noise nor the least share is no change."""
    shown, moved = show_metric(found, after), abs(after - found.metric)
    if moved <= found.noise or moved <= LEAST_MOVED * abs(found.metric):
        return f"{subject} stays at {shown}"
    if found.has_contrast and after < 0 <= found.metric:
        return f"{subject} turns to {shown}"
    return f"{subject} {'falls' if after < found.metric else 'rises'} to {shown}"


def _name_position(found: Explanation) -> str:
    ends = (found.prompt_length - 1, len(found.tokens) - 1)
    return "the last position" if found.position in ends else f"position {found.position}"


def _find_hidden(found: Explanation) -> list[int] | None:
    """The words whose hiding at least halves the metric, the strongest first; sinks aside. None: not tested yet."""
    words = [j for j in range(found.position) if j not in found.sinks and not math.isnan(found.hidden[j])]
    if not words or found.metric <= 0:
        return None
    halving = [j for j in words if found.hidden[j] < found.metric / 2]
    return sorted(halving, key=lambda j: float(found.hidden[j]))[:MOST_NAMED_WORDS]


def _say_disagreement(found: Explanation, hidden: list[int]) -> Iterator[Piece]:
    """Where what heads bring and the tests do not name the same word first."""
    words = [j for j in found.sources["position"].tolist() if j not in found.sinks]
    if words and words[0] not in hidden:
        yield Piece(f" By what heads bring, {name_word(found, words[0])} comes first; by the test it does not.")
