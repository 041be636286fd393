"""Claims about what an edit does, and what tests them (docs/methods.md §9)."""

from __future__ import annotations

from typing import Annotated, Any

from intravisto_core.errors import RequestError, expected
from intravisto_core.records import Evidence
from intravisto_core.request.base import View, frozen_request
from intravisto_core.request.checks import TraceId, check, check_whole, read_texts, read_token_choice
from intravisto_core.request.fields import list_of
from intravisto_core.request.functions import Apply
from intravisto_core.request.interventions import FreezePattern, KnockOut, Written
from intravisto_core.request.positions import Generated, Positions
from intravisto_core.request.prompts import is_one_token
from intravisto_core.sites import ControlKind, Effect

MOST_PROMPTS = 1000
LEAST_DRAWS, MOST_DRAWS = 5, 100

DEFAULT = "default"


def _read_edit(value: Any, name: str) -> tuple[Written, ...]:
    found = tuple(list_of(value))
    for each in found:
        if isinstance(each, Apply):
            raise RequestError(
                "edit: expected one that can be written to a file, so that others can test the claim again; got a "
                "function (Apply). Use an intervention without a function, such as SetValue"
            )
        if getattr(each, "trace_source", None) is not None:
            raise RequestError(
                "edit: expected one that can be made in every prompt; this one takes its values from one trace. Use a "
                "mean over a PromptSet, or another operation"
            )
        check(isinstance(each, Written), name, "an intervention, or several", type(each).__name__)
        places = (each.queries, each.keys) if isinstance(each, KnockOut) else (getattr(each, "positions", "all"),)
        if any(isinstance(place, Generated) for place in places):
            raise RequestError(expected(name, "positions of the prompt", "a generated step", "Prompts are only read"))
    check(bool(found), name, "an intervention, or several", value)
    check(not all(isinstance(each, FreezePattern) for each in found), name, "an edit that changes something", value)
    return found


def _read_tokens(value: Any, name: str) -> str | int | tuple[str | int | None, ...] | None:
    """One token for all prompts, or a list with one for each; None is the default."""
    if is_one_token(value):
        return read_token_choice(value, name)
    return tuple(read_token_choice(each, name) for each in list_of(value))


def _read_controls(value: Any, name: str) -> str | tuple[ControlKind, ...]:
    if isinstance(value, str) and value == DEFAULT:
        return value
    found = tuple(dict.fromkeys(ControlKind.parse(each, name) for each in list_of(value)))
    check(bool(found), name, f'"default", or of {", ".join(ControlKind)}', value)
    return found


def _read_prompts(value: Any, name: str) -> tuple[str, ...] | None:
    if value is None:
        return None
    found = read_texts(value, name)
    check(0 < len(found) <= MOST_PROMPTS, name, f"1 to {MOST_PROMPTS} texts, or None", f"{len(found)} texts")
    check(len(set(found)) == len(found), name, "every prompt once", "the same prompt twice")
    return found


def _name_layers(layers: list[int]) -> str:
    """`layer 3`, `layers 0 to 5`, `layers 0, 2, 5`; negatives as they are."""
    if len(layers) == 1:
        return f"layer {layers[0]}" + (" (from the end)" if layers[0] < 0 else "")
    if len(layers) > 2 and layers == list(range(layers[0], layers[0] + len(layers))) and layers[0] >= 0:
        return f"layers {layers[0]} to {layers[-1]}"
    return f"layers {', '.join(map(str, layers))}"


Edit = Annotated[tuple[Written, ...], _read_edit]
Tokens = Annotated[str | int | tuple[str | int | None, ...] | None, _read_tokens]
Controls = Annotated[str | tuple[ControlKind, ...], _read_controls]
Prompts = Annotated[tuple[str, ...] | None, _read_prompts]


@frozen_request
class Claim:
    """What an edit is said to do to the lead of one token over another (docs/methods.md §9).

    edit: one intervention, or several that are made together; kept as a tuple. Not a function, and none that takes its
    values from a trace. target, contrast: a text (its first token counts) or a token id; a list has one for each
    prompt; None: each prompt's own top token, and its runner-up. effect: "lowers" or "raises" the lead; None takes what
    the edit does in the trace's own prompt. position: where the lead is read; None is the last token of each prompt,
    negatives count from the prompt's end.
    """

    edit: Edit
    target: Tokens = None
    contrast: Tokens = None
    effect: Effect | None = None
    position: int | None = None

    def describe(self) -> str:
        """The edit in words: `layer 3, last prompt token, head 2: taken away`; what many layers share is said once."""
        layers: dict[str, list[int]] = {}
        for each in self.edit:
            layers.setdefault(each.describe(str, ""), []).append(each.layer)
        return "; ".join(f"{_name_layers(named)}, {what}" for what, named in layers.items())

    def places(self) -> tuple[Positions, ...]:
        """Every positions that its edits name."""
        found: list[Positions] = []
        for each in self.edit:
            if isinstance(each, KnockOut):
                found += [each.queries, each.keys]
            elif not isinstance(each, FreezePattern):
                found.append(each.positions)
        return tuple(found)


@frozen_request
class EvidenceView(View[Evidence]):
    """A claim tested over prompts, beside controls (docs/methods.md §9).

    trace: an unedited one, whose prompt is that of the claim's discovery. prompts: texts, each once; the trace's own
    prompt counts only where it is among them. None: that prompt alone, which makes an anecdote. They are written as the
    trace's prompt was (special tokens, chat). controls: "default" tries every kind, or the kinds to use: `position`,
    `part`, `direction`, `prompt`. draws: of each kind in each prompt, 5 to 100. seed: of draws and of the interval.
    """

    trace: TraceId
    claim: Claim
    prompts: Prompts = None
    controls: Controls = DEFAULT
    draws: int = LEAST_DRAWS
    seed: int = 0

    def __post_init__(self) -> None:
        check_whole(self.draws, "draws", LEAST_DRAWS, MOST_DRAWS)
        check_whole(self.seed, "seed", 0)
        n = 1 if self.prompts is None else len(self.prompts)
        for name, value in (("target", self.claim.target), ("contrast", self.claim.contrast)):
            if isinstance(value, tuple):
                check(len(value) == n, name, f"one token, or {n}, one for each prompt", len(value))


ClaimRequest = Claim | EvidenceView
