"""The two runs of each pair of a patching grid, and how corrupt prompts are made of clean ones (docs/methods.md §8)."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from intravisto_core.analysis.alignment import Pair, align, describe_parting, find_first_difference
from intravisto_core.errors import RequestError, expected
from intravisto_core.experiments.patch_metric import Measured
from intravisto_core.progress import Progress, relay_positions
from intravisto_core.request import (
    EmbeddingNoise,
    Generation,
    PatchingRequest,
    PathPatchingRequest,
    ResampleTokens,
    SwapTokens,
    TraceRequest,
)
from intravisto_core.request.prompts import Prompt
from intravisto_core.request.ranges import indices
from intravisto_core.sites import Patching, PatchMetric, Site, TokenKind
from intravisto_core.traces.trace_store import Traces
from intravisto_core.tracing import RunControl, TraceData, prepare_in_turns, run
from intravisto_core.tracing.edits import Edits
from intravisto_core.tracing.preparing import Prepared
from intravisto_core.tracing.reuse import NEEDED
from intravisto_core.tracing.site_edits import SiteEdit
from intravisto_core.views.typed_tokens import DefaultContrast, read_token, target_and_contrast

Asked = PatchingRequest | PathPatchingRequest


@dataclass(frozen=True, slots=True)
class PairRuns:
    """A clean and a corrupt run. pairs: aligned positions. first: the first clean position that can differ."""

    clean: TraceData
    corrupt: TraceData
    pairs: tuple[Pair, ...]
    first: int
    measured: Measured
    notes: tuple[str, ...] = ()
    noise: Edits | None = None

    def receiver(self, direction: Patching) -> TraceData:
        """The run that values are put in."""
        return self.corrupt if direction is Patching.DENOISE else self.clean

    def donor(self, direction: Patching) -> TraceData:
        """The run that values are taken from."""
        return self.clean if direction is Patching.DENOISE else self.corrupt


def count_draws(request: Asked) -> int:
    """How many corrupt runs each clean prompt has."""
    return 1 if isinstance(request.corrupt, tuple | SwapTokens) else request.corrupt.draws


def describe_made(request: Asked) -> str:
    """How the corrupt prompts are made, or ""."""
    made = request.corrupt
    if isinstance(made, SwapTokens):
        return f"{made.first!r} and {made.second!r} swapped"
    if isinstance(made, ResampleTokens):
        return f"tokens drawn anew, {made.draws} draws, seed {made.seed}"
    if isinstance(made, EmbeddingNoise):
        return (
            f"noise of {made.sigma:g} standard deviations on what layer 0 reads, {made.draws} draws, seed {made.seed}"
        )
    return ""


def make_pairs(
    traces: Traces, request: Asked, control: RunControl
) -> Generator[Progress, None, Iterator[Generator[Progress, None, PairRuns]]]:
    """All pairs, prompt by prompt and draw by draw; each is run when its turn comes.

    Raises:
        RequestError: prompts of different lengths where columns are positions.
    """
    clean: list[Prepared] = []
    for prompt in request.clean:
        clean.append((yield from _prepare(traces, prompt, request)))
    lengths = {len(p.prompt) for p in clean}
    if not request.by_head and len(lengths) > 1:
        raise RequestError(
            f"clean: expected prompts of one length, since columns are positions; got {sorted(lengths)} tokens. "
            "Patch heads (z, q, k, v), or write prompts of one length"
        )

    def each() -> Iterator[Generator[Progress, None, PairRuns]]:
        for number in range(len(clean)):
            for draw in range(count_draws(request)):
                yield _make_pair(traces, request, control, clean[number], number, draw)

    return each()


def _prepare(traces: Traces, prompt: Prompt, request: Asked) -> Generator[Progress, None, Prepared]:
    asked = TraceRequest(prompt, add_special_tokens=request.add_special_tokens, chat=request.chat)
    return (yield from prepare_in_turns(traces.model, asked))


def _make_pair(
    traces: Traces, request: Asked, control: RunControl, clean: Prepared, number: int, draw: int
) -> Generator[Progress, None, PairRuns]:
    held = (Site.ATTN_OUT, Site.MLP_OUT) if isinstance(request, PathPatchingRequest) else ()
    sites = tuple(site for site in Site if site in {*NEEDED, *held, *request.what.captured})
    made, ids = request.corrupt, clean.prompt
    base = yield from _run(traces, clean, sites, control)
    noise, first = None, 0
    if isinstance(made, EmbeddingNoise):
        places = indices(made.positions, len(ids), "positions")
        noise, first = _draw_noise(base, made, places, draw), min(places)
        corrupt = yield from _run(traces, clean, sites, control, noise)
        pairs: tuple[Pair, ...] = tuple((i, i) for i in range(len(ids)))
    else:
        other = yield from _prepare(traces, _corrupt_prompt(traces, request, ids, number, draw), request)
        corrupt = yield from _run(traces, other, sites, control)
        first = find_first_difference(ids, other.prompt)
        pairs = _align(traces, request, ids, other.prompt)
    measured, notes = _measure(traces, request, base, number)
    return PairRuns(base, corrupt, pairs, first, measured, notes, noise)


def _corrupt_prompt(traces: Traces, request: Asked, ids: tuple[int, ...], number: int, draw: int) -> Prompt:
    made = request.corrupt
    if isinstance(made, SwapTokens):
        return _swap(traces, made, ids)
    if isinstance(made, ResampleTokens):
        return _resample(traces, made, ids, draw)
    assert isinstance(made, tuple)
    return made[number]


def _align(traces: Traces, request: Asked, clean: tuple[int, ...], corrupt: tuple[int, ...]) -> tuple[Pair, ...]:
    if clean == corrupt:
        raise RequestError("corrupt: expected a prompt that differs from the clean one; got the same tokens")
    show = traces.model.reader.shown
    if request.what is Site.PATTERN and len(clean) != len(corrupt):
        raise RequestError(
            f"what: a pattern is put in place of one of the same length; the prompts have {len(clean)} and "
            f"{len(corrupt)} tokens. {describe_parting(clean, corrupt, show)}"
        )
    return align(clean, corrupt, request.alignment, show)


def _measure(traces: Traces, request: Asked, clean: TraceData, number: int) -> tuple[Measured, tuple[str, ...]]:
    def own(tokens: tuple[str | int | None, ...]) -> str | int | None:
        return tokens[number if len(tokens) > 1 else 0]

    logits = read_last_logits(traces, clean)
    wanted, against = own(request.target), own(request.contrast)
    compared = request.metric is PatchMetric.LOGIT_DIFF
    default = DefaultContrast.RUNNER_UP if compared else DefaultContrast.NONE
    target, contrast, notes = target_and_contrast(traces.model, logits, wanted, against if compared else None, default)
    return Measured(request.metric, target, max(contrast, -1), logits), notes


def read_last_logits(traces: Traces, data: TraceData) -> Tensor:
    """(V,) after the last position, by the path that patched runs take."""
    return traces.model.logits(data.final[-1:])[0]


def _run(
    traces: Traces, prepared: Prepared, sites: tuple[Site, ...], control: RunControl, edits: Edits | None = None
) -> Generator[Progress, None, TraceData]:
    """The run of a prompt, kept in the store by its ids and sites; one with noise is not kept."""
    key = ("ids", prepared.prompt, sites)
    data: TraceData | None = traces.store.get(key) if edits is None else None
    if data is None:
        turns = run(traces.model, prepared, Generation(), sites, control, edits=edits)
        data = yield from relay_positions(turns, len(prepared.prompt), "reading the prompts")
        if edits is None:
            traces.store.put(key, data, data.nbytes)
    return data


def _swap(traces: Traces, made: SwapTokens, ids: tuple[int, ...]) -> tuple[int, ...]:
    """The ids with two tokens swapped.

    Raises:
        RequestError: a text of several tokens, or neither token stands there.
    """
    found = [read_token(traces.model, token, name) for token, name in ((made.first, "first"), (made.second, "second"))]
    for token, name in zip(found, ("first", "second"), strict=True):
        if token.n_tokens > 1:
            raise RequestError(expected(name, "one token", f"“{token.text}”, which has {token.n_tokens}"))
    first, second = (token.id for token in found)
    places = set(indices(made.positions, len(ids), "positions"))
    swapped = {first: second, second: first}
    out = tuple(swapped.get(id, id) if i in places else id for i, id in enumerate(ids))
    if out == ids:
        shown = " and ".join(f"{traces.model.reader.shown(i)!r}" for i in (first, second))
        raise RequestError(f"corrupt: expected {shown} in the clean prompt; got a prompt with neither")
    return out


def _resample(traces: Traces, made: ResampleTokens, ids: tuple[int, ...], draw: int) -> tuple[int, ...]:
    """The ids with others of the vocabulary at some positions, each word as likely.

    Raises:
        RequestError: a special token is to be drawn anew.
    """
    reader, size = traces.model.reader, traces.model.dimensions.d_vocab
    usual = np.array([i for i in range(size) if reader.kind(i) is TokenKind.WORD])
    tokens, out = reader.tokens(ids, len(ids)), list(ids)
    for position in indices(made.positions, len(ids), "positions"):
        if tokens[position].is_special:
            raise RequestError(
                expected("positions", "tokens of the text", f"{position}, a special token ({tokens[position].shown})")
            )
        others = usual[usual != ids[position]]
        if not len(others):
            raise RequestError("corrupt: expected a vocabulary with other tokens to put in; it has none")
        out[position] = int(np.random.default_rng((made.seed, draw, position)).choice(others))
    return tuple(out)


def _draw_noise(base: TraceData, made: EmbeddingNoise, places: tuple[int, ...], draw: int) -> Edits:
    """Normal noise on what enters layer 0, each element its own."""
    stream = base.site(Site.RESID_PRE, 0).float()
    spread = float(stream[1:].std()) if len(stream) > 1 else float(stream.std())
    generator = np.random.default_rng((made.seed, draw))
    drawn = generator.standard_normal((len(places), stream.shape[1])) * spread * made.sigma
    noise = dict(zip(sorted(places), torch.from_numpy(drawn).float(), strict=True))

    def change(x: Tensor, positions: list[int]) -> Tensor:
        return x.float() + torch.stack([noise[p] for p in positions]).to(x.device)

    return Edits((SiteEdit(Site.RESID_PRE, 0, tuple(sorted(places)), change),))
