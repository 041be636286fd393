"""One pass over prompt and continuation with the model's KV cache; a turn is one forward call."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from collections.abc import Generator as Turns
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from transformers import DynamicCache

from intravisto_core.errors import Cancelled, TraceError
from intravisto_core.models import LoadedModel
from intravisto_core.request import Generation
from intravisto_core.sites import Site
from intravisto_core.tracing.attention import captured_by
from intravisto_core.tracing.callbacks import Callback
from intravisto_core.tracing.capture import CaptureSink
from intravisto_core.tracing.edited import EditedData, lay_over
from intravisto_core.tracing.edits import Edits
from intravisto_core.tracing.functions import Seen
from intravisto_core.tracing.hooks import capturing
from intravisto_core.tracing.module_values import find_modules, needs_all_logits
from intravisto_core.tracing.prefix import Prefix, take_prefix
from intravisto_core.tracing.preparing import Prepared
from intravisto_core.tracing.reuse import Reuse, catch_up, copy_rows, fill_cache, skipping
from intravisto_core.tracing.run_calls import call_size
from intravisto_core.tracing.sampling import choose_token
from intravisto_core.tracing.trace_data import TraceData

CHANGED_BY_FUNCTION = "a function changed it (Apply)"


class Stoppable(Protocol):
    """What a run looks at between layers: set `cancelled` to stop it."""

    cancelled: bool


def make_id() -> str:
    """A random handle of a trace, which nobody guesses."""
    return secrets.token_urlsafe(12)


@dataclass(slots=True)
class RunControl:
    """The caller's hand on a run under way: set `cancelled` from any thread.

    callbacks: functions around modules, of the run that was asked for; not of others that it needs. new_id: gives the
    handle of each trace that is remembered of it.
    """

    cancelled: bool = False
    sink: Stoppable | None = None
    callbacks: tuple[Callback, ...] = ()
    new_id: Callable[[], str] = make_id

    def cancel(self) -> None:
        """Stop at the next layer."""
        self.cancelled = True
        if self.sink is not None:
            self.sink.cancelled = True


class _Run:
    def __init__(
        self,
        model: LoadedModel,
        prepared: Prepared,
        generation: Generation,
        sink: CaptureSink,
        reuse: Reuse | None = None,
        all_logits: bool = False,
        prefix: Prefix | None = None,
    ) -> None:
        self.model, self.prepared, self.generation, self.sink = model, prepared, generation, sink
        self.reuse, self.all_logits = reuse, all_logits
        self.known = 0 if prefix is None else prefix.n
        self.ids: list[int] = []
        self.cache: DynamicCache | None = None
        if reuse is None and self.in_one_call:
            pass  # nothing comes after it that would ask a cache
        elif prefix is not None:
            self.cache = fill_cache(model, prefix.base, prefix.n)
            self.ids.extend(prefix.base.ids[: prefix.n])
        elif reuse is None:
            self.cache = DynamicCache(config=model.network.config)
        else:
            self.cache = fill_cache(model, reuse.base, reuse.position)
            self.ids.extend(reuse.base.ids[: reuse.position])
        self.logits: Tensor = torch.empty(0)
        self.kept: list[Tensor] = []

    @property
    def call_size(self) -> int:
        """Positions of the prompt in one forward call."""
        length = len(self.prepared.prompt) + len(self.prepared.forced)
        if self.sink.edits is not None and self.sink.edits.have_functions:
            return length  # a function is called once for the prompt
        return call_size(self.model, length)

    @property
    def in_one_call(self) -> bool:
        """Whether all there is to run is the prompt, in one call."""
        n_prompt = len(self.prepared.prompt)
        return not self.prepared.n_new and not self.prepared.forced and n_prompt <= self.call_size

    def forward(self, ids: tuple[int, ...], keep_all: bool = False) -> None:
        """Run these ids after those in the cache; on success they are part of the trace."""
        model, sink = self.model, self.sink
        last_only = model.blueprint.keeps_last_logits and not keep_all and not self.all_logits
        options = {"logits_to_keep": 1} if last_only else {}
        with sink.call(len(ids)), captured_by(sink):
            out = model.network(
                input_ids=torch.tensor([ids], device=model.device),
                **model.cached(self.cache),
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
        return text_ends(self.model, self.ids, len(self.prepared.prompt), self.generation, stops)


def text_ends(
    model: LoadedModel, ids: list[int], prompt_length: int, generation: Generation, stops: frozenset[int]
) -> bool:
    """Whether the last token, or a text in what was generated, ends the run."""
    if ids[-1] in stops:
        return True
    texts = [s for s in generation.stop if isinstance(s, str)]
    if not texts:
        return False
    new = model.reader.decode(ids[prompt_length:], skip_special_tokens=False)
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
    modules: tuple[str, ...] = (),
    callbacks: tuple[Callback, ...] = (),
    prefix: Prefix | None = None,
) -> Turns[int, None, TraceData]:
    """Run a prepared text; yields the number of positions done after each forward call.

    Every token, the last generated one too, goes through the model. A cancel during the prompt raises; later it
    leaves the tokens made so far, marked cancelled. checking: keep all logits and `resid_post` of every layer. edits:
    what is changed on the way; the result is then `EditedData`. reuse: what is taken from another run. modules: what is
    kept of besides (see `TraceRequest`). callbacks: functions of the user's own around modules. prefix: the first
    positions, which are known.

    Raises:
        Cancelled: before the prompt was through.
        TraceError: the model gave infinite values.
    """
    control = control or RunControl()
    length = len(prepared.prompt) + prepared.n_new
    looking_back = edits is not None and edits.look_back
    if reuse is None:
        sink = CaptureSink(model, length, sites, checking or looking_back, edits)
    else:
        first_layer = reuse.layer if reuse.known == length else 0
        sink = CaptureSink(model, length, sites, checking, edits, reuse.base, first_layer, reuse.position)
    if edits is not None and edits.have_functions:
        edits.seen = Seen(sink, model.network, model.dimensions.n_layers, 0, {0: 0})
    control.sink, sink.cancelled = sink, control.cancelled
    found = find_modules(model, modules)
    work = _Run(model, prepared, generation, sink, reuse, needs_all_logits(model, found), prefix)
    if prefix is not None:
        take_prefix(sink, prefix)
    cancelled = False
    try:
        with capturing(model, sink, found, callbacks):
            yield from _turns(work, checking)
    except Cancelled:
        if len(work.ids) < len(prepared.prompt):
            raise
        cancelled = True
    finally:
        # whoever could cancel this may hold on to it for long
        control.sink = None
    buffers, final, first, last = sink.finish(len(work.ids))
    if looking_back and not checking:
        buffers.pop(Site.RESID_POST, None)
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
        modules=sink.joined_modules(),
        only_once=_find_only_once(edits, sink),
    )
    if isinstance(data, EditedData):
        data.edits, data.first_layer, data.first_position = edits, sink.first_layer, sink.first_position
        if reuse is not None:
            lay_over(reuse.base, data)
    return data


def _find_only_once(edits: Edits | None, sink: CaptureSink) -> str:
    """Why a run cannot be made again, or ""."""
    if sink.changed_by:
        return f"hooks changed it at {', '.join(sorted(sink.changed_by))}"
    return CHANGED_BY_FUNCTION if edits is not None and edits.have_functions else ""


def _turns(work: _Run, checking: bool) -> Turns[int, None, None]:
    prompt, forced = work.prepared.prompt, work.prepared.forced
    done = len(forced)
    if work.reuse is not None:
        done = work.reuse.known - len(prompt)
        yield from _resumed(work, checking)
    for ids in () if work.reuse is not None else (prompt, forced):
        for start in range(work.known if ids is prompt else 0, len(ids), work.call_size):
            work.forward(ids[start : start + work.call_size], checking)
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
    assert work.cache is not None
    size = call_size(work.model, reuse.known)
    for start in range(reuse.position, reuse.known, size):
        stop = min(start + size, reuse.known)
        with skipping(work.model, reuse, start, stop):
            work.forward(reuse.base.ids[start:stop], checking)
        if stop < sink.length:
            # the call that follows counts the positions before it by the cache of its first layer
            catch_up(work.model, work.cache, reuse, start, stop)
        yield len(work.ids)
    copy_rows(sink, reuse)
