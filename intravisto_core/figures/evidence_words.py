"""What a test of a claim found, in plain sentences, made from the numbers alone by the rules in this file."""

from __future__ import annotations

import numpy as np

from intravisto_core.figures.numbers import significant
from intravisto_core.figures.text import printable
from intravisto_core.figures.words import as_sentence
from intravisto_core.records import Evidence, Retest
from intravisto_core.sites import Verdict


def name_lead(found: Evidence) -> str:
    """`the lead of ␣Rome over ␣Paris`; of several targets in general terms."""
    if len(set(found.targets)) == 1 and len(set(found.contrasts)) == 1:
        return f"the lead of {found.targets[0]} over {found.contrasts[0]}"
    if len(set(found.targets)) == 1:
        return f"the lead of {found.targets[0]} over its rival"
    return "the lead of each prompt's token over its rival"


def name_claim(found: Evidence) -> str:
    """What is claimed, as a sentence without a full stop."""
    return f"{found.edit}: it {found.effect} {name_lead(found)}"


def write_measured(found: Evidence) -> str:
    """The sentence with the numbers: the edit's mean effect, and the control's."""
    size, more = significant(abs(found.mean_effect)), significant(abs(found.mean_difference))
    # the way that it really goes, which need not be the claim's
    way = "raises" if found.effects.mean() >= 0 else "lowers"
    kind = found.kinds.index(found.control)
    control = significant(float(found.control_means[:, kind].mean()))
    if found.n == 1:
        return (
            f"In the one prompt that was tested the edit {way} it by {size} logits; the strongest kind of control, "
            f"{found.control.label}, moves it by {control} on average"
        )
    new = f"{found.n_new} of them new" if found.n_new < found.n else "all of them new"
    low, high = map(significant, found.interval)
    compared = "more" if found.mean_difference > 0 else "less"
    return (
        f"Over {found.n} prompts ({new}) the edit {way} it by {size} logits on average: {more} {compared} than the "
        f"strongest kind of control, {found.control.label}, which moves it by {control}. The 95 % interval of what the "
        f"edit does beyond that control is {low} to {high}"
    )


def write_rank(found: Evidence) -> str:
    """How many draws of the control do as much."""
    n = int((~np.isnan(found.draws[:, found.kinds.index(found.control)])).sum())
    as_much = round(found.rank * (1 + n)) - 1
    return f"Of {n} such controls {as_much} did as much as the edit (rank {significant(found.rank)})"


def write_verdict(found: Evidence) -> str:
    """What the test came to, and why."""
    if found.verdict is Verdict.SUPPORTED:
        return "The claim is supported: the edit does more than the average control"
    if found.verdict is Verdict.ANECDOTE:
        return "One prompt (n = 1) is an anecdote. Test it on at least 8 prompts"
    return f"The claim is not distinguishable from controls. What is missing: {'; '.join(found.missing)}"


def write_left_out(found: Evidence) -> tuple[str, ...]:
    """The kinds of controls that could not be drawn, each with the reason."""
    return tuple(f"no control by {kind.label}: {why}" for kind, why in found.left_out)


def write_finding(found: Evidence) -> str:
    """The claim, what was measured, the rank, the verdict."""
    parts = (name_claim(found), write_measured(found), write_rank(found), write_verdict(found))
    return " ".join(as_sentence(printable(part)) for part in parts)


def caption(found: Evidence) -> tuple[str, ...]:
    """Sentences under the picture."""
    return (
        f"One row a prompt. A dot is how far the edit moves the lead in the direction of the claim; grey shapes are "
        f"how far controls move it in either direction, {found.n_draws} of each kind at most. The line leads from the "
        f"mean of the strongest kind ({found.control.label}) to the edit.",
        f"Noise floor: {significant(found.noise_floor)} logits. Draws and interval have seed {found.seed}.",
        *(as_sentence(printable(line)) for line in (*write_left_out(found), *found.notes)),
    )


def write_retest(found: Retest) -> str:
    """Whether a finding still holds, and what it rests on."""
    where = f"on {found.model}, the model of the finding" if found.same_model else f"on another model, {found.model}"
    which = "its own prompts" if found.same_prompts else "other prompts"
    first = f"The claim {'holds' if found.holds else 'does not hold'} {where}, with {which}"
    before = f"Before ({found.before.model}, n = {found.before.n}): {found.before.verdict}"
    parts = [first, before, write_measured(found.now), write_rank(found.now), write_verdict(found.now)]
    if found.same_model and found.same_prompts:
        parts.append(f"Effects differ from those in the file by {significant(found.largest_change)} logits at most")
    return " ".join(as_sentence(printable(part)) for part in (name_claim(found.now), *parts))
