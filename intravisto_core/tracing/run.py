"""One pass over prompt and continuation with the model's KV cache; a turn is one forward call."""

from __future__ import annotations

from collections.abc import Generator as Turns
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache

from intravisto_core.errors import Cancelled, RequestError, TraceError
from intravisto_core.models import LoadedModel
from intravisto_core.models.memory import prefill_chunk
from intravisto_core.request import Generation, TraceRequest
from intravisto_core.sites import Site
from intravisto_core.tracing.attention import captured_by
from intravisto_core.tracing.capture import CaptureSink
from intravisto_core.tracing.edited import EditedData, lay_over
from intravisto_core.tracing.edits import Edits
from intravisto_core.tracing.hooks import capturing
from intravisto_core.tracing.reuse import Reuse, catch_up, copy_rows, fill_cache, skipping
from intravisto_core.tracing.sampling import choose_token
from intravisto_core.tracing.trace_data import TraceData

PREFILL_CHUNK = 512


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run ready to start.

    forced: ids that the continuation begins with, run in one go. n_new: new tokens in all. replay: new tokens of an
    earlier run, fed one by one instead of being chosen, so that the schedule of calls is the same.
    """

    prompt: tuple[int, ...]
    forced: tuple[int, ...]
    n_new: int
    notes: tuple[str, ...] = ()
    replay: tuple[int, ...] = ()

    @classmethod
    def replaying(cls, ids: tuple[int, ...], prompt_length: int, forced_length: int) -> Prepared:
        """An earlier run's ids, to be fed by its own schedule of calls."""
        forced = ids[prompt_length : prompt_length + forced_length]
        return cls(ids[:prompt_length], forced, len(ids) - prompt_length, replay=ids[prompt_length:])


@dataclass(slots=True)
class RunControl:
    """The caller's hand on a run under way: set `cancelled` from any thread."""

    cancelled: bool = False
    sink: CaptureSink | None = None

    def cancel(self) -> None:
        """Stop at the next layer."""
        self.cancelled = True
        if self.sink is not None:
            self.sink.cancelled = True


def prepare(model: LoadedModel, request: TraceRequest) -> Prepared:
    """Turn a request into ids and check them against the model.

    Raises:
        RequestError: no token, an id that the model lacks, or a prompt longer than the context.
    """
    generation, context = request.generation, model.dimensions.context
    if request.chat:
        prompt = tuple(model.reader.encode_chat(request.conversation))
    elif isinstance(request.prompt, str):
        prompt = tuple(model.reader.encode(request.prompt, request.add_special_tokens))
    else:
        prompt = request.prompt
    if not prompt:
        raise RequestError("prompt: expected at least one token; got none. Type something to trace.")
    forced = generation.forced or ()
    if isinstance(forced, str):
        forced = tuple(model.reader.encode(forced, add_special_tokens=False))
    for i in (*prompt, *forced):
        if not 0 <= i < model.weights.n_rows("embed"):
            raise RequestError(f"token id: expected 0 to {model.weights.n_rows('embed') - 1}; got {i}")
    length, n_new, notes = len(prompt), max(generation.max_new_tokens, len(forced)), []
    if context and length + len(forced) > context:
        raise RequestError(
            f"prompt: expected at most {context} tokens, this model's context; got {length + len(forced)}. Shorten it"
        )
    if context and length + n_new > context:
        n_new = context - length
        notes.append(f"stopped at the model's context of {context} tokens")
    if request.chat and (own := model.reader.own_system_prompt(request.conversation)):
        notes.append(f"the model's chat template adds a system prompt of its own: “{own}”")
    if start := model.reader.doubled_start(prompt):
        notes.append(f"begins with the start token {start} twice: models are trained with one")
    return Prepared(prompt, forced, n_new, tuple(notes))


class _Run:
    def __init__(
        self,
        model: LoadedModel,
        prepared: Prepared,
        generation: Generation,
        sink: CaptureSink,
        reuse: Reuse | None = None,
    ) -> None:
        self.model, self.prepared, self.generation, self.sink = model, prepared, generation, sink
        self.reuse = reuse
        self.ids: list[int] = []
        if reuse is None:
            self.cache = DynamicCache(config=model.network.config)
        else:
            self.cache = fill_cache(model, reuse.base, reuse.position)
            self.ids.extend(reuse.base.ids[: reuse.position])
        self.logits: Tensor = torch.empty(0)
        self.kept: list[Tensor] = []

    def forward(self, ids: tuple[int, ...], keep_all: bool = False) -> None:
        """Run these ids after those in the cache; on success they are part of the trace."""
        model, sink = self.model, self.sink
        options = {"logits_to_keep": 1} if model.blueprint.keeps_last_logits and not keep_all else {}
        with sink.call(len(ids)), captured_by(sink):
            out = model.network(
                input_ids=torch.tensor([ids], device=model.device),
                past_key_values=self.cache,
                use_cache=True,
                **options,
            )
        if not bool(torch.isfinite(sink.final[sink.start : sink.stop]).all()):
            raise TraceError(_not_finite(model, sink))
        self.ids.extend(ids)
        self.logits = out.logits[0, -1]
        if keep_all:
            self.kept.append(out.logits[0].float())

    def ended(self, stops: frozenset[int]) -> bool:
        """Whether the text generated so far ends the run."""
        if self.ids[-1] in stops:
            return True
        texts = [s for s in self.generation.stop if isinstance(s, str)]
        if not texts:
            return False
        new = self.model.reader.decode(self.ids[len(self.prepared.prompt) :], skip_special_tokens=False)
        return any(t in new for t in texts)


def _not_finite(model: LoadedModel, sink: CaptureSink) -> str:
    where = ""
    if Site.RESID_PRE in sink.buffers:
        streams = sink.buffers[Site.RESID_PRE][:, sink.rows]
        bad = (~torch.isfinite(streams)).any(-1).nonzero()
        layer = sink.first_layer + int(bad[0, 0]) if len(bad) else model.dimensions.n_layers
        where = f" (first seen {'in the embeddings' if layer == 0 else f'after layer {layer - 1}'})"
    hint = "load it in float32 or bfloat16" if model.dtype == torch.float16 else "check or download the weights again"
    return f"activations: expected finite numbers; this model gave infinity or NaN{where}. To go on, {hint}"


def stop_ids(model: LoadedModel, generation: Generation) -> frozenset[int]:
    """Token ids that end a run: those that the model's files name, and those asked for."""
    configured = getattr(model.network.generation_config, "eos_token_id", None)
    own = [] if configured is None else configured if isinstance(configured, list) else [configured]
    return frozenset([*own, *(s for s in generation.stop if isinstance(s, int))])


def run(
    model: LoadedModel,
    prepared: Prepared,
    generation: Generation,
    sites: tuple[Site, ...] | None = None,
    control: RunControl | None = None,
    *,
    checking: bool = False,
    edits: Edits | None = None,
    reuse: Reuse | None = None,
) -> Turns[int, None, TraceData]:
    """Run a prepared text; yields the number of positions done after each forward call.

    Every token, the last generated one too, goes through the model. A cancel during the prompt raises; later it
    leaves the tokens made so far, marked cancelled. checking: keep all logits and `resid_post` of every layer. edits:
    what is changed on the way; the result is then `EditedData`. reuse: what is taken from another run.

    Raises:
        Cancelled: before the prompt was through.
        TraceError: the model gave infinite values.
    """
    control = control or RunControl()
    length = len(prepared.prompt) + prepared.n_new
    if reuse is None:
        sink = CaptureSink(model, length, sites, checking, edits)
    else:
        first_layer = reuse.layer if reuse.known == length else 0
        sink = CaptureSink(model, length, sites, checking, edits, reuse.base, first_layer, reuse.position)
    control.sink, sink.cancelled = sink, control.cancelled
    work = _Run(model, prepared, generation, sink, reuse)
    cancelled = False
    try:
        with capturing(model, sink):
            yield from _turns(work, checking)
    except Cancelled:
        if len(work.ids) < len(prepared.prompt):
            raise
        cancelled = True
    finally:
        # whoever could cancel this may hold on to it for long
        control.sink = None
    buffers, final, first, last = sink.finish(len(work.ids))
    edited = edits is not None or reuse is not None
    data = (EditedData if edited else TraceData)(
        ids=tuple(work.ids),
        prompt_length=len(prepared.prompt),
        buffers=buffers,
        final=final,
        first=first,
        last=last,
        facts=tuple(sink.facts),
        last_logits=work.logits.float().clone(),
        forced_length=min(len(prepared.forced), len(work.ids) - len(prepared.prompt)),
        cancelled=cancelled,
        notes=prepared.notes,
        step_logits=tuple(work.kept),
        layers_are_tuples=sink.layers_are_tuples,
        routing=tuple(sink.routing),
    )
    if isinstance(data, EditedData):
        data.edits, data.first_layer, data.first_position = edits, sink.first_layer, sink.first_position
        if reuse is not None:
            lay_over(reuse.base, data)
    return data


def _chunk(model: LoadedModel, length: int) -> int:
    """Queries a call, so that the scores over a long text stay small; by what is known before, so that a run that is
    made again has the same calls."""
    return min(PREFILL_CHUNK, prefill_chunk(model.dimensions.n_heads, length, model.dtype.itemsize))


def _turns(work: _Run, checking: bool) -> Turns[int, None, None]:
    prompt, forced = work.prepared.prompt, work.prepared.forced
    done = len(forced)
    if work.reuse is not None:
        done = work.reuse.known - len(prompt)
        yield from _resumed(work, checking)
    size = _chunk(work.model, len(prompt) + len(forced))
    for ids in () if work.reuse is not None else (prompt, forced):
        for start in range(0, len(ids), size):
            work.forward(ids[start : start + size], checking)
            yield len(work.ids)
    stops, replay = stop_ids(work.model, work.generation), work.prepared.replay
    for step in range(done, len(replay) or work.prepared.n_new):
        if step and not replay and work.ended(stops):
            return
        chosen = replay[step] if replay else choose_token(work.logits, work.generation, step)
        work.forward((chosen,), checking)
        yield len(work.ids)


def _resumed(work: _Run, checking: bool) -> Turns[int, None, None]:
    """The known positions from the first that is run on, without the layers that are not."""
    reuse, sink = work.reuse, work.sink
    assert reuse is not None
    size = _chunk(work.model, reuse.known)
    for start in range(reuse.position, reuse.known, size):
        stop = min(start + size, reuse.known)
        with skipping(work.model, reuse, start, stop):
            work.forward(reuse.base.ids[start:stop], checking)
        yield len(work.ids)
    if reuse.known < sink.length:
        catch_up(work.model, work.cache, reuse)
    copy_rows(sink, reuse)
