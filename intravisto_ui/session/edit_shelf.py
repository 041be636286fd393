"""The edits of runs that are not shown: each run has its own, and gets them back when it is shown again."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from intravisto_core.engine import Trace
from intravisto_ui.session.edit_stack import Edits, SetAside


@dataclass
class EditShelf:
    """of: the edits of a run, by the id of its trace."""

    of: dict[str, Edits] = field(default_factory=dict)

    def exchange(self, edits: Edits, before: Trace, prompt: str, shown: Trace, same: bool, again: str) -> Edits:
        """Put away the edits of the run before, and give those of the one that is shown now.

        Of a run that is new the cards come along if its prompt is the same, or come back from an earlier run of the
        same request; else they are set aside.

        prompt: of the run before, for people. same: whether both have the same prompt. again: the trace of an earlier
        run of the same request, or "".
        """
        edits.rest()
        self.of[before.id] = edits
        if (known := self.of.get(shown.id)) is not None:
            known.resume()
            return known
        new = edits.begin_anew()
        earlier = edits if same else self.of.get(again)
        if earlier is not None:
            new.cards, new.aside = earlier.cards, earlier.aside
            new.past, new.future = list(earlier.past), list(earlier.future)
        elif edits.cards:
            new.aside = SetAside(edits.cards, before.tokens, before.prompt_length, prompt)
        else:
            new.aside = edits.aside
        return new

    def forget_but(self, traces: Collection[str]) -> None:
        """Let go of the edits of all runs but these, by the ids of their traces."""
        for gone in [id for id in self.of if id not in traces]:
            self.of.pop(gone).drop_runs()
