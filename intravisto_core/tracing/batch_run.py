"""Several prompts in one pass: the prompts padded at the right, then one call a generated token (docs/methods.md §11).

After the prompts the cache is laid anew, with the padding before each text instead of behind it, so that windows,
distances and positions come out as in a run alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Generator as Turns
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from intravisto_core.architectures import AttentionKind
from intravisto_core.errors import Cancelled, IntravistoError, TraceError
from intravisto_core.models import LoadedModel
from intravisto_core.models.run_memory import prefill_chunk
from intravisto_core.request import Generation
from intravisto_core.sites import Site
from intravisto_core.tracing.attention import captured_by
from intravisto_core.tracing.batch_sink import BatchSink
from intravisto_core.tracing.edited import EditedData
from intravisto_core.tracing.edits import Edits
from intravisto_core.tracing.functions import Seen
from intravisto_core.tracing.hooks import capturing
from intravisto_core.tracing.preparing import Prepared
from intravisto_core.tracing.reuse import find_moving_rope
from intravisto_core.tracing.run import CHANGED_BY_FUNCTION, RunControl, stop_ids, text_ends
from intravisto_core.tracing.run_calls import PREFILL_CHUNK
from intravisto_core.tracing.sampling import choose_token
from intravisto_core.tracing.trace_data import TraceData


def find_batch_obstacle(model: LoadedModel, length: int) -> str:
    """Why a model's prompts run one by one, or "". length: of the longest text."""
    config, architecture = model.network.config, model.blueprint.architecture
    if architecture.inferred:
        return "the model's family is not declared, so nobody has held its batches to single runs"
    if "int8" in str(model.quantisation):
        return "8-bit layers scale their inputs over all rows"
    if architecture.w_out is None and model.dtype != torch.float32:
        return "below float32 rounding can send a position to other experts"
    if reason := find_moving_rope(config, length):
        return reason
    text = config.get_text_config()
    if getattr(text, "num_kv_shared_layers", 0):
        return "layers share their keys and values"
    if config is not text:
        return "the model also reads images, and counts positions in its own way"
    if getattr(text, "attention_chunk_size", None):
        return "attention is cut into chunks of the padded text"
    if model.offloaded:
        return "its weights are fetched at every call"
    return ""


def fits_one_call(model: LoadedModel, n_rows: int, longest: int) -> bool:
    """Whether prompts are short enough to be read in one call, and together small enough."""
    return longest <= min(
        PREFILL_CHUNK, prefill_chunk(model.dimensions.n_heads * n_rows, longest, model.dtype.itemsize)
    )


@dataclass(slots=True)
class Row:
    """One prompt of a batch. index: its place in the list that was asked for. edits: functions and edits of its run."""

    prepared: Prepared
    index: int
    edits: Edits | None = None
    ids: list[int] = field(default_factory=list)
    logits: Tensor | None = None
    error: IntravistoError | None = None
    going: bool = True


def run_batch(
    model: LoadedModel,
    rows: Sequence[Row],
    generation: Generation,
    sites: tuple[Site, ...] | None,
    control: RunControl,
) -> Turns[int, None, list[TraceData | IntravistoError]]:
    """Run prompts together; yields how many positions of all are done. A row that fails is that row's alone.

    A cancel during the prompts raises; later it leaves the tokens made so far, marked cancelled.

    Raises:
        Cancelled: before the prompts were through.
    """
    n_new = max(row.prepared.n_new for row in rows)
    kept = sites if sites is None or not n_new else (*sites, Site.K, Site.V)
    edited = [row.edits or Edits() for row in rows] if any(row.edits for row in rows) else None
    sink = BatchSink(model, [len(row.prepared.prompt) for row in rows], n_new, kept, edited)
    if edited is not None:
        places = {row.index: i for i, row in enumerate(rows)}
        for row, edits in zip(rows, edited, strict=True):
            edits.seen = Seen(sink, model.network, model.dimensions.n_layers, row.index, places)
    control.sink, sink.cancelled = sink, control.cancelled
    work = _Batch(model, rows, generation, sink)
    cancelled = False
    try:
        with capturing(model, sink):
            yield work.read_prompts()
            for step in range(n_new):
                if not work.choose(step):
                    break
                yield work.generate(step)
    except Cancelled:
        if any(not row.ids for row in rows):
            raise
        cancelled = True
    finally:
        control.sink = None
    unwanted = () if kept is sites else tuple(s for s in (Site.K, Site.V) if s not in (sites or ()))
    return [_data_of(sink, place, row, cancelled, unwanted) for place, row in enumerate(rows)]


def _data_of(
    sink: BatchSink, place: int, row: Row, cancelled: bool, unwanted: tuple[Site, ...]
) -> TraceData | IntravistoError:
    """A row as the run alone would have left it."""
    if row.error is not None:
        return row.error
    n = len(row.ids)
    buffers, final, first, last = sink.pick(place, n)
    for site in (*unwanted, *(() if sink.row_edits is None else (Site.RESID_POST,))):
        buffers.pop(site, None)
    assert row.logits is not None
    data = (TraceData if row.edits is None else EditedData)(
        ids=tuple(row.ids),
        prompt_length=len(row.prepared.prompt),
        buffers=buffers,
        final=final,
        first=first,
        last=last,
        facts=sink.pick_facts(place, n),
        last_logits=row.logits.float().clone(),
        cancelled=cancelled and row.going,
        notes=row.prepared.notes,
        layers_are_tuples=sink.layers_are_tuples,
        routing=sink.pick_routing(place, n),
        only_once=CHANGED_BY_FUNCTION if row.edits is not None and row.edits.have_functions else "",
    )
    if isinstance(data, EditedData):
        data.edits = row.edits
    return data


class _Batch:
    def __init__(self, model: LoadedModel, rows: Sequence[Row], generation: Generation, sink: BatchSink) -> None:
        self.model, self.rows, self.generation, self.sink = model, rows, generation, sink
        self.stops = stop_ids(model, generation)
        self.cache = DynamicCache(config=model.network.config)
        self.shifts = [sink.longest - n for n in sink.lengths]
        self.logits = torch.empty(0)
        self.chosen: list[int] = []
        self.takes_positions = "position_ids" in inspect.signature(model.network.forward).parameters

    def read_prompts(self) -> int:
        """All prompts in one call; on success they are part of the traces."""
        model, sink = self.model, self.sink
        padded = [
            [*row.prepared.prompt, *[row.prepared.prompt[-1]] * s]
            for row, s in zip(self.rows, self.shifts, strict=True)
        ]
        options = {"logits_to_keep": 1} if model.blueprint.keeps_last_logits else {}
        with sink.call(sink.longest), captured_by(sink):
            model.network(
                input_ids=torch.tensor(padded, device=model.device),
                **model.cached(self.cache),
                **options,
            )
        last = torch.tensor([n - 1 for n in sink.lengths], device=model.device)
        self.logits = model.logits(sink.final[torch.arange(sink.n_rows, device=model.device), last])
        for place, row in enumerate(self.rows):
            row.ids.extend(row.prepared.prompt)
            row.logits = self.logits[place]
            if not bool(torch.isfinite(sink.final[place, : sink.lengths[place]]).all()):
                self._fail(row)
        self._end_failed()
        if any(self.shifts) and any(row.prepared.n_new for row in self.rows):
            self.cache = self._laid_anew()
        return self._done()

    def choose(self, step: int) -> bool:
        """The next token of every row that goes on; whether any does. Rows that have ended are run no more."""
        for row in self.fed:
            row.going = row.going and step < row.prepared.n_new and not (step and self._ended(row))
        if not any(row.going for row in self.fed):
            return False
        self._drop_ended()
        if self.generation.temperature is None:
            self.chosen = self.logits.argmax(-1).tolist()
        else:
            self.chosen = [choose_token(own, self.generation, step) for own in self.logits]
        return True

    def _drop_ended(self) -> None:
        places, fed = self.sink.fed, self.fed
        staying = [i for i, row in enumerate(fed) if row.going]
        if len(staying) < len(fed):
            self.sink.drop({p: len(row.ids) for p, row in zip(places, fed, strict=True) if not row.going})
            kept = torch.tensor(staying, device=self.model.device)
            self.cache.batch_select_indices(kept)
            self.logits = self.logits[kept]

    def generate(self, step: int) -> int:
        """One call for the tokens chosen; on success they are part of the traces of the rows that go on."""
        model, sink = self.model, self.sink
        device, slots = model.device, sink.longest + step + 1
        options: dict[str, Any] = {}
        if self.takes_positions:
            options["position_ids"] = torch.tensor([[sink.lengths[p] + step] for p in sink.fed], device=device)
        shifts = torch.tensor([self.shifts[p] for p in sink.fed], device=device)
        mask = torch.arange(slots, device=device)[None] >= shifts[:, None]
        with sink.call(1), captured_by(sink):
            out = model.network(
                input_ids=torch.tensor([[i] for i in self.chosen], device=device),
                attention_mask=mask.long(),
                **model.cached(self.cache),
                **options,
            )
        self.logits = out.logits[:, -1].float()
        finite = torch.isfinite(sink.final[sink.fed, slots - 1]).all(-1).tolist()
        for i, row in enumerate(self.fed):
            row.ids.append(self.chosen[i])
            row.logits = self.logits[i]
            if not finite[i]:
                self._fail(row)
        self._end_failed()
        return self._done()

    @property
    def fed(self) -> list[Row]:
        """The rows that are still run."""
        return [self.rows[place] for place in self.sink.fed]

    def _ended(self, row: Row) -> bool:
        return text_ends(self.model, row.ids, len(row.prepared.prompt), self.generation, self.stops)

    def _fail(self, row: Row) -> None:
        row.going = False
        row.error = TraceError(
            "activations: expected finite numbers; this model gave infinity or NaN. To go on, load it in another "
            "dtype, or check its weights"
        )

    def _end_failed(self) -> None:
        """Rows that a function failed for go no further."""
        for place, error in self.sink.errors.items():
            self.rows[place].error, self.rows[place].going = error, False

    def _done(self) -> int:
        return sum(len(row.ids) for row in self.rows)

    def _laid_anew(self) -> DynamicCache:
        """A cache with the keys and values of the prompts at the end of their rows."""
        model, sink = self.model, self.sink
        cache, repeats = DynamicCache(config=model.network.config), 1
        if model.blueprint.architecture.attention_kind is AttentionKind.FALCON:
            new = model.network.config.new_decoder_architecture
            repeats = model.dimensions.n_heads // model.dimensions.n_kv_heads if new else 1
        places = torch.arange(sink.longest, device=model.device)[None] - torch.tensor(
            self.shifts, device=model.device
        ).unsqueeze(1)
        places = places.clamp(min=0)[:, None, :, None]
        for layer in range(sink.n_layers):
            k, v = (
                x.gather(2, places.expand(-1, x.shape[1], -1, x.shape[3])).repeat_interleave(repeats, 1)
                for x in (sink.buffers[s][layer][:, :, : sink.longest] for s in (Site.K, Site.V))
            )
            cache.update(k.contiguous(), v.contiguous(), layer)
        return cache
