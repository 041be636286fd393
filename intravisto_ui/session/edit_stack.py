"""The edits of one text: a stack of cards, its undo and redo, and the runs that were made with it.

Cards name places of a text. With another text they are set aside, and come back with theirs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum

from intravisto_core import request
from intravisto_core.engine import Trace
from intravisto_core.errors import TraceError
from intravisto_core.records import ConceptDirection, Token
from intravisto_core.sites import TextMode
from intravisto_ui.session.edit_tree import Card, EditRun, Stack, release_trace

STEPS_KEPT = 100


class Look(StrEnum):
    """Which run the pages show: the one without edits, the edited one, or what the edits changed."""

    BASELINE = "baseline"
    EDITED = "edited"
    DIFFERENCE = "difference"


@dataclass(frozen=True, slots=True)
class SetAside:
    """The cards of another text, which name places of it.

    tokens: of that text, with what was generated. prompt: what it begins with, for people.
    """

    cards: Stack
    tokens: tuple[Token, ...]
    prompt_length: int
    prompt: str


@dataclass
class Edits:
    """Cards, undo, redo, and runs: of one baseline. look: what the pages show. refusal: why no run began.

    aside: the cards of the text that was shown before, which nothing does until they are taken over.
    """

    cards: Stack = ()
    past: list[Stack] = field(default_factory=list)
    future: list[Stack] = field(default_factory=list)
    runs: dict[int, EditRun] = field(default_factory=dict)
    current: int = 0
    look: Look = Look.BASELINE
    refusal: Exception | None = None
    sources: dict[str, Trace] = field(default_factory=dict)
    directions: dict[str, ConceptDirection] = field(default_factory=dict)
    aside: SetAside | None = None
    _ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def begin_anew(self) -> Edits:
        """Empty ones for another text, with the same library of directions."""
        return Edits(directions=self.directions, _ids=self._ids)

    def active_cards(self) -> Stack:
        """The cards that are on."""
        return tuple(card for card in self.cards if card.on)

    def change(self, make: Callable[[Stack], Stack]) -> None:
        """Change the stack, so that it can be undone."""
        changed = make(self.cards)
        if changed == self.cards:
            return
        self.past = [*self.past, self.cards][-STEPS_KEPT:]
        self.future.clear()
        self.cards = changed

    def add(self, what: request.Intervention) -> None:
        """A new card at the end."""
        self.change(lambda cards: (*cards, Card(next(self._ids), what)))

    def replace_card(self, id: int, what: request.Intervention) -> None:
        """Another intervention on a card; a new card where that one is gone."""
        if all(card.id != id for card in self.cards):
            self.add(what)
            return
        self.change(lambda cards: tuple(replace(c, what=what) if c.id == id else c for c in cards))

    def switch(self, id: int) -> None:
        """Turn a card on or off."""
        self.change(lambda cards: tuple(replace(c, on=not c.on) if c.id == id else c for c in cards))

    def remove(self, id: int) -> None:
        """Take a card away."""
        self.change(lambda cards: tuple(c for c in cards if c.id != id))

    def duplicate(self, id: int) -> None:
        """A copy of a card, after it."""
        self.change(
            lambda cards: tuple(
                each for c in cards for each in ((c, replace(c, id=next(self._ids))) if c.id == id else (c,))
            )
        )

    def move(self, id: int, by: int) -> None:
        """Move a card up (−1) or down (+1) in the order."""

        def moved(cards: Stack) -> Stack:
            at = next((i for i, c in enumerate(cards) if c.id == id), None)
            if at is None or not 0 <= at + by < len(cards):
                return cards
            listed = list(cards)
            listed[at], listed[at + by] = listed[at + by], listed[at]
            return tuple(listed)

        self.change(moved)

    def load(self, listed: Iterable[tuple[request.Intervention, bool]]) -> None:
        """A whole stack instead of this one: interventions, and which of them are on."""
        cards = tuple(Card(next(self._ids), what, on) for what, on in listed)
        self.change(lambda _: cards)

    def undo(self) -> None:
        """Back to the stack before the last change."""
        if self.past:
            self.future.append(self.cards)
            self.cards = self.past.pop()

    def redo(self) -> None:
        """Take the last undoing back."""
        if self.future:
            self.past.append(self.cards)
            self.cards = self.future.pop()

    def run(
        self, base: Trace, session: str, free: bool, interventions: Iterable[request.Intervention], story: str = ""
    ) -> EditRun:
        """Run a baseline with the cards that are on; the new node is looked at.

        interventions: of these cards, with a trace where the card names a prompt.

        Raises:
            IntravistoError: an edit does not fit the model or the text.
        """
        changes = tuple(interventions)
        modes = (TextMode.HELD, TextMode.FREE) if free else (TextMode.HELD,)
        wanted = {mode: base.edit_request(*changes, text=mode) for mode in modes}
        parent = self.runs.get(self.current)
        node = EditRun(next(self._ids), parent.id if parent else 0, self.active_cards(), story)
        node.jobs = {mode: base.engine.submit(asked, session=session) for mode, asked in wanted.items()}
        self.runs[node.id] = node
        self.current = node.id
        self.look = Look.DIFFERENCE if self.look == Look.BASELINE else self.look
        return node

    def current_node(self) -> EditRun | None:
        """The run that is looked at; None for the baseline."""
        return self.runs.get(self.current)

    def is_stale(self) -> bool:
        """Whether the run that is looked at was made with other cards than are on now."""
        node = self.current_node()
        made = () if node is None else node.cards
        return [c.what for c in made] != [c.what for c in self.active_cards()]

    def show_run(self, id: int) -> None:
        """Look at a node of the tree; 0 is the baseline. The stack becomes the one that it was run with."""
        self.current = id if id in self.runs else 0
        node = self.current_node()
        if node is not None:
            kept = {c.id for c in node.cards}
            off = tuple(replace(c, on=False) for c in self.cards if c.id not in kept)
            self.change(lambda _: node.cards + off)
        else:
            self.look = Look.BASELINE

    def take_over(self, listed: Iterable[request.Intervention]) -> None:
        """Add the edits of another text, re-aimed at this one; nothing stays set aside."""
        new = tuple(Card(next(self._ids), what) for what in listed)
        self.change(lambda cards: cards + new)
        self.aside = None

    def rest(self) -> None:
        """Another baseline is shown: what runs ends, and the traces may leave memory, but are remembered."""
        for node in list(self.runs.values()):
            node.cancel()
            node.collect()
            if node.held is None:
                del self.runs[node.id]
        for trace in self._all_traces():
            release_trace(trace, forget=False)
        self.refusal = None
        self._look_at_existing()

    def resume(self) -> None:
        """The baseline is shown again: its runs are there as they were; those whose model is gone are not."""
        for node in list(self.runs.values()):
            try:
                for trace in node.traces():
                    trace.pin()
            except TraceError:
                del self.runs[node.id]
        for prompt, trace in list(self.sources.items()):
            try:
                trace.pin()
            except TraceError:
                del self.sources[prompt]
        self._look_at_existing()

    def _look_at_existing(self) -> None:
        """Look at the baseline where the run that was looked at is gone."""
        if self.current not in self.runs:
            self.current, self.look = 0, Look.BASELINE

    def _all_traces(self) -> Iterator[Trace]:
        yield from (trace for node in self.runs.values() for trace in node.traces())
        yield from self.sources.values()

    def drop_runs(self) -> None:
        """Let go of all runs: their baseline is gone."""
        for node in self.runs.values():
            node.cancel()
        for trace in self._all_traces():
            release_trace(trace)
        self.runs.clear()
        self.sources.clear()
        self.current, self.look = 0, Look.BASELINE
