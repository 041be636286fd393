"""What an operation is computed from: the model, the unedited run, other runs, token texts, directions, tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from intravisto_core.analysis import interventions as maths
from intravisto_core.analysis.read_back import PlaceReading
from intravisto_core.architectures import AttentionKind
from intravisto_core.errors import ModelError, RequestError, expected
from intravisto_core.models import LoadedModel
from intravisto_core.request import PromptSet, Replace, ReplaceMain, TensorRef
from intravisto_core.request.at_site import AtSite
from intravisto_core.request.intervention_fields import Direction
from intravisto_core.sites import Lens, NormPolicy, Site
from intravisto_core.tracing.edits import INSIDE_ATTENTION
from intravisto_core.tracing.expert_edits import ExpertNeuron
from intravisto_core.tracing.trace_data import TraceData

# kinds of attention whose queries, keys and values are given one by one, in one place
OPEN_KINDS = (AttentionKind.INTERFACE, AttentionKind.GPT_NEO, AttentionKind.GPTJ)
MOST_REPORTED = 8
READS_BACK, RAISES = "the new vector reads back as", "the new vector raises most"

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
    vectors: the whitened ones of the interventions that put one in. reports: whether what vectors read back as is said,
    which takes a product with the whole table.
    """

    model: LoadedModel
    text: Text
    baseline: TraceData
    sources: Sources
    notes: list[str] = field(default_factory=list)
    vectors: dict[Replace, Float[Tensor, " d"]] = field(default_factory=dict)
    reports: bool = True

    def row(self, each: AtSite, layer: int) -> int:
        """The heatmap row of a site."""
        return layer if each.site is Site.RESID_PRE else layer + 1

    def ids(self, token: str) -> list[int]:
        """The tokens of a text; of several the mean is taken, and it is said."""
        ids = self.model.reader.encode_typed(token)
        if len(ids) > 1:
            self.say(f"“{self.model.reader.shown(ids[0])}…” has {len(ids)} tokens: their mean is taken")
        return ids

    def reading(self, each: Replace | ReplaceMain, layer: int) -> PlaceReading:
        """How vectors at a place are read: by the lens that the new one is made for."""
        if isinstance(each, ReplaceMain):
            return PlaceReading.at(each.site, self.row(each, layer), each.lens)
        return PlaceReading.at(each.site, self.row(each, layer), each.vector.table or each.read_lens, each.read_norm)

    def whitened(self, each: Replace) -> Float[Tensor, " d"]:
        """The whitened vector of an intervention, which was made before the run."""
        return self.vectors[each]

    def direction(self, value: Direction, row: int) -> Float[Tensor, " d"]:
        """The vector of a direction, of unit norm."""
        if isinstance(value, str):
            reading = PlaceReading(Lens.OUTPUT, row, NormPolicy.FINAL)
            return maths.compute_token_direction(self.model, self.ids(value), reading)
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
        rows = x.transpose(0, 1).flatten(1) if site.per_head else x
        return rows if columns is None else rows[:, columns]

    def source(self, key: str | PromptSet) -> Sequence[TraceData]:
        """The traces that a source stands for."""
        return self.sources[key]

    def say(self, note: str) -> None:
        """Tell the reader something, once."""
        if note not in self.notes:
            self.notes.append(note)

    @torch.no_grad()
    def report_read_back(
        self, each: Replace, layer: int, reading: PlaceReading, places: list[int], new: Float[Tensor, "n d"]
    ) -> None:
        """Say what a vector that was put in reads back as. new: as the stream keeps it, in its dtype."""
        if not self.reports:
            return
        room = MOST_REPORTED - sum(any(words in note for words in (READS_BACK, RAISES)) for note in self.notes)
        if len(places) > room:
            self.say("further vectors were put in; only the first are listed")
        if room <= 0:
            return
        for place, z in zip(places, reading.logits(self.model, new[:room]), strict=False):
            top, lens = int(z.argmax()), "" if reading.lens is Lens.OUTPUT else f" under the {reading.lens.label} lens"
            sure = "" if reading.is_update else f" ({write_percent(float(z.softmax(-1)[top]))})"
            reads = RAISES if reading.is_update else READS_BACK
            shown = self.model.reader.shown(top)
            self.say(f"layer {layer}, position {place}, {each.site.label}: {reads} {shown}{sure}{lens}")

    @torch.no_grad()
    def report_main(
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


def require_site(model: LoadedModel, site: Site) -> None:
    """Refuse a site that a model does not have.

    Raises:
        RequestError: it is the middle of parallel blocks.
        ModelError: the family's code gives queries, keys and values in one piece, where none can be changed alone.
    """
    kind = model.blueprint.architecture.attention_kind
    if site in INSIDE_ATTENTION and kind not in OPEN_KINDS:
        allowed = f"a site outside of attention: {kind.label} gives its queries, keys and values in one piece"
        raise ModelError(expected("site", allowed, str(site)))
    if site is Site.RESID_MID and model.blueprint.parallel:
        raise RequestError("resid_mid: a parallel block adds attention and MLP at once and has none")


def write_percent(p: float) -> str:
    """A probability in a sentence, with three digits: 99.9 %."""
    return ">99.9 %" if p > 0.9995 else f"{100 * p:.3g} %"
