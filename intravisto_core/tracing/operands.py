"""What an operation is computed from: the model, the unedited run, other runs, token texts, directions, tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from intravisto_core.analysis import interventions as maths
from intravisto_core.errors import RequestError, expected
from intravisto_core.models import LoadedModel
from intravisto_core.request import PromptSet, TensorRef
from intravisto_core.request.intervention_fields import Direction
from intravisto_core.request.interventions import AtSite
from intravisto_core.sites import Lens, Site
from intravisto_core.tracing.expert_edits import ExpertNeuron
from intravisto_core.tracing.trace_data import TraceData

MOST_REPORTED = 8
UPDATES = (Site.ATTN_OUT, Site.MLP_OUT)

Sources = Mapping[str | PromptSet, Sequence[TraceData]]
# The columns of a site that an intervention is about: a head's or a neuron's; None is all of them.
Columns = slice | ExpertNeuron | None


@dataclass(frozen=True, slots=True)
class Text:
    """The text that positions are about. length: what it has, or can come to have."""

    prompt_length: int
    length: int


@dataclass(frozen=True, slots=True)
class Operands:
    """What the operations of one edit take their values from.

    baseline: the unedited run. sources: other unedited runs, by trace id or by prompt set. notes: for the reader.
    """

    model: LoadedModel
    text: Text
    baseline: TraceData
    sources: Sources
    notes: list[str] = field(default_factory=list)

    def row(self, each: AtSite, layer: int) -> int:
        """The heatmap row of a site."""
        return layer if each.site is Site.RESID_PRE else layer + 1

    def ids(self, token: str) -> list[int]:
        """The tokens of a text; of several the mean is taken, and it is said."""
        ids = self.model.reader.encode_typed(token)
        if len(ids) > 1:
            self.say(f"“{self.model.reader.shown(ids[0])}…” has {len(ids)} tokens: their mean is taken")
        return ids

    def direction(self, value: Direction, row: int) -> Float[Tensor, " d"]:
        """The vector of a direction, of unit norm."""
        if isinstance(value, str):
            return maths.compute_token_direction(self.model, self.ids(value), Lens.OUTPUT, row)
        vector = self.tensor(value, "direction")
        width = self.model.dimensions.d_model
        if vector.shape != (width,):
            raise RequestError(expected("direction", f"a vector of {width} numbers", tuple(vector.shape)))
        if not bool(vector.norm() > 0):
            raise RequestError("direction: expected one that is not zero; got zero")
        return maths.scale_to_unit(vector)

    def tensor(self, ref: TensorRef, name: str) -> Tensor:
        """The array of a reference."""
        if ref.content is None:
            raise RequestError(
                f"{name}: expected the array {ref.hash[:12]}… beside the request; it did not come with it"
            )
        return torch.from_numpy(ref.content.copy()).to(self.model.device)

    def values(self, source: TraceData, site: Site, layer: int, columns: Columns) -> Float[Tensor, "T width"]:
        """A site of an unedited trace, as rows of positions."""
        if isinstance(columns, ExpertNeuron):
            return replace(columns, layer=layer).values(source)
        x = source.site(site, layer)
        rows = x.transpose(0, 1).flatten(1) if site is Site.Z else x
        return rows if columns is None else rows[:, columns]

    def source(self, key: str | PromptSet) -> Sequence[TraceData]:
        """The traces that a source stands for."""
        return self.sources[key]

    def say(self, note: str) -> None:
        """Tell the reader something, once."""
        if note not in self.notes:
            self.notes.append(note)

    def report(
        self, layer: int, site: Site, places: list[int], before: Tensor, asked: list[int], after: Tensor
    ) -> None:
        """Say what a replaced main component came to: the new top token need not be the requested one."""
        shown = self.model.reader.shown
        new = shown(asked[0]) + ("…" if len(asked) > 1 else "")
        for place, old, top in zip(places, before.tolist(), after.tolist(), strict=True):
            reported = sum("main component" in note for note in self.notes)
            if reported == MOST_REPORTED:
                self.say("further main components were replaced; only the first are listed")
            if reported < MOST_REPORTED:
                self.say(
                    f"layer {layer}, position {place}, {site.label}: main component {shown(old)} became {new}; "
                    f"the top token there is now {shown(top)}"
                )
