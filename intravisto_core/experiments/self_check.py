"""Hold a loaded model to the identities of docs/methods.md §2 and say what it may be asked."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import DynamicCache

from intravisto_core.architectures import AttentionKind
from intravisto_core.errors import IntravistoError, ModelError
from intravisto_core.experiments import identities
from intravisto_core.experiments.block_kind import explain_misdeclared
from intravisto_core.models import LoadedModel
from intravisto_core.models.card import describe
from intravisto_core.progress import finish_turns
from intravisto_core.records import Check, ModelCard
from intravisto_core.request import Generation
from intravisto_core.sites import Capability
from intravisto_core.tracing import TraceData, run, use_traced_attention
from intravisto_core.tracing.preparing import Prepared
from intravisto_core.tracing.run import stop_ids

PROBE_LENGTH = 24
LONGEST_PROBE = 640
N_GREEDY = 3
WINDOWS = ("sliding_window", "window_size", "attention_chunk_size")
PENDING = "not checked yet; it is being checked now, and what rests on it waits for that"
NO_NEURONS = "mixture of experts of a kind of its own: no neurons with a weight each"


def choose_probe_ids(model: LoadedModel) -> tuple[tuple[int, ...], str]:
    """Random ids, twice as long as a sliding window where that is affordable; and what was not reached."""
    config, context = model.config, model.dimensions.context or LONGEST_PROBE
    window = next((w for n in WINDOWS if (w := getattr(config, n, None))), 0)
    length, note = PROBE_LENGTH, ""
    if window and 2 * window + 1 <= min(LONGEST_PROBE, context):
        length = max(length, 2 * window + 1)
    elif window and window < context:
        note = f"; its sliding window of {window} positions was not reached"
    if context < (getattr(config, "max_position_embeddings", None) or 0):
        note += f"; texts end at {context} positions, after which its rotary embedding changes"
    length = min(length, context - N_GREEDY if context > 2 * N_GREEDY else context)
    generator = torch.Generator().manual_seed(0)
    stops = stop_ids(model, Generation())
    allowed = [i for i in range(model.weights.n_rows("embed")) if i not in stops]
    picks = torch.randint(len(allowed), (length,), generator=generator).tolist()
    return tuple(allowed[i] for i in picks), f"{length} random tokens{note}"


class SelfCheck:
    """The identities of a model, measured on one probe in turns, each of one call or of the parts of one layer.

    What every number rests on comes first, identities 1 to 3: what is traced is the model's own run. first_done:
    whether that is measured; no number may be shown before. ended: whether nothing is left.
    """

    def __init__(self, model: LoadedModel) -> None:
        ids, said = choose_probe_ids(model)
        self._checks = {each: Check(ok=False, error=None, reason=PENDING, pending=True) for each in Capability}
        self._card = describe(model, self._checks, None, said)
        self._turns = self._measure(model, ids)
        self.first_done = self.ended = False

    @property
    def card(self) -> ModelCard:
        """The card as far as it is known; what is not measured yet is pending."""
        return replace(self._card, capabilities=dict(self._checks))

    @torch.no_grad()
    def advance(self) -> None:
        """Measure one turn more.

        Raises:
            ModelError: one of the essential identities fails; the message has the measured error.
        """
        try:
            next(self._turns)
        except StopIteration:
            self.ended = True
        except BaseException:
            self.ended = True
            raise

    def close(self) -> None:
        """Measure no more, and let go of the model."""
        self._turns.close()
        self.ended = True

    def _measure(self, model: LoadedModel, ids: tuple[int, ...]) -> Generator[None, None, None]:
        allowed = identities.allowed_error(model.dtype, model.quantisation)
        plain = _Plain(model)
        stock = yield from plain.read_probe(ids)
        use_traced_attention(model)
        data = yield from _traced(model, ids)
        traced = torch.cat(data.step_logits)
        errors, exact = identities.check_residual(model, data)
        misdeclared = explain_misdeclared(model, ids)
        self._note(Capability.RESIDUAL, identities.summarise_errors(errors, allowed, exact, misdeclared))
        self._note(Capability.LOGITS, _measured(lambda: identities.check_logits(model, data, traced), allowed))
        difference = identities.compute_relative_error(traced, stock)[None]
        same = identities.summarise_errors(difference, allowed, exact=torch.equal(traced, stock))
        self._refuse(Capability.TRACED, same)
        self.first_done = True
        yield
        self._card = replace(self._card, notes=(*self._card.notes, *model.look_closer()))
        self._note(Capability.CAUSAL, _measured(lambda: _causal(model, ids, traced), allowed))
        yield
        reason = _explain_greedy(model, ids, plain.go_on())
        same = identities.summarise_errors(difference, allowed, exact=same.exact, reason=reason) if reason else same
        self._note(Capability.TRACED, same)
        yield
        patterns, heads = identities.check_patterns(model, data), identities.check_heads(model, data)
        self._note(Capability.PATTERN, (yield from _measure_in_turns(patterns, allowed)))
        self._note(Capability.HEADS, (yield from _measure_in_turns(heads, allowed)))
        self._note(Capability.NEURONS, (yield from _neurons(model, data, allowed)))
        sdpa = _sdpa(model, ids)
        if sdpa is not None:
            largest = float(identities.compute_relative_error(traced, sdpa).max())
            self._card = replace(self._card, stock_difference=largest)

    def _note(self, capability: Capability, found: Check) -> None:
        self._refuse(capability, found)
        self._checks[capability] = found

    def _refuse(self, capability: Capability, found: Check) -> None:
        if capability.essential and not found.ok:
            raise ModelError(
                f"{self._card.name}: refused: its self-check failed at “{capability.label}” ({capability}): "
                f"{found.reason}. What this program would show of it would be wrong"
            )


def check_model(model: LoadedModel) -> ModelCard:
    """Measure every identity on a probe.

    Raises:
        ModelError: one of the essential identities fails; the message has the measured error.
    """
    check = SelfCheck(model)
    while not check.ended:
        check.advance()
    return check.card


def _measured(measure: Callable[[], Tensor], allowed: float) -> Check:
    try:
        return identities.summarise_errors(measure(), allowed)
    except (IntravistoError, RuntimeError) as error:
        return _not_measured(error, allowed)


def _measure_in_turns(errors: Iterator[Tensor], allowed: float) -> Generator[None, None, Check]:
    """As `_measured`, a turn for each part."""
    found: list[Tensor] = []
    while True:
        try:
            part = next(errors, None)
        except (IntravistoError, RuntimeError) as error:
            return _not_measured(error, allowed)
        if part is None:
            return identities.summarise_errors(torch.cat(found), allowed)
        found.append(part)
        yield


def _not_measured(error: Exception, allowed: float) -> Check:
    return Check(ok=False, error=None, reason=f"could not be measured: {error}", allowed=allowed)


def _neurons(model: LoadedModel, data: TraceData, allowed: float) -> Generator[None, None, Check]:
    architecture = model.blueprint.architecture
    if architecture.experts is not None:
        return (yield from _measure_in_turns(identities.check_experts(model, data), allowed))
    if architecture.w_out is None:
        return Check(ok=False, error=None, reason=NO_NEURONS, allowed=allowed)
    return (yield from _measure_in_turns(identities.check_neurons(model, data), allowed))


class _Plain:
    """The model as it comes (stock attention, no hook), run by the probe's schedule: its logits, and how it goes on."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._cache = DynamicCache(config=model.network.config)
        self._last: Float[Tensor, " V"] = torch.empty(0)

    def read_probe(self, ids: tuple[int, ...]) -> Generator[None, None, Float[Tensor, "T V"]]:
        """The logits of the probe."""
        self._use_stock_attention()
        prompt = self._read(ids[:-1])
        yield
        step = self._read(ids[-1:])
        self._last = step[-1]
        yield
        return torch.cat([prompt, step])

    def go_on(self) -> list[int]:
        """The most likely ids of further plain calls.

        They are not those of `generate`, which would also follow what the checkpoint's generation_config.json says.
        """
        self._use_stock_attention()
        said = [int(self._last.argmax())]
        while len(said) < N_GREEDY:
            said.append(int(self._read((said[-1],))[-1].argmax()))
        use_traced_attention(self._model)
        return said

    def _use_stock_attention(self) -> None:
        network: Any = self._model.network
        if self._model.blueprint.architecture.attention_kind is AttentionKind.INTERFACE:
            network.set_attn_implementation("eager")

    def _read(self, ids: tuple[int, ...]) -> Float[Tensor, "n V"]:
        tokens, network = torch.tensor([ids], device=self._model.device), cast(Any, self._model.network)
        found: Tensor = network(input_ids=tokens, **self._model.cached(self._cache)).logits[0].float()
        return found


def _sdpa(model: LoadedModel, ids: tuple[int, ...]) -> Float[Tensor, "T V"] | None:
    """Logits by the kernel that most users run, where a loaded model can be switched to it; for the card only."""
    if model.blueprint.architecture.attention_kind is not AttentionKind.INTERFACE:
        return None
    try:
        model.network.set_attn_implementation("sdpa")
        return model.network(input_ids=torch.tensor([ids], device=model.device), use_cache=False).logits[0].float()
    except (ValueError, ImportError, RuntimeError):
        return None
    finally:
        use_traced_attention(model)


def _traced(model: LoadedModel, ids: tuple[int, ...]) -> Generator[None, None, TraceData]:
    turns = run(model, Prepared(ids[:-1], (), 1, replay=ids[-1:]), Generation(), checking=True)
    try:
        while True:
            try:
                next(turns)
            except StopIteration as end:
                return cast(TraceData, end.value)
            yield
    except RuntimeError as error:
        family = model.blueprint.architecture.family
        raise ModelError(
            f"{model.name}: expected modules as declared for {family}; capturing them failed ({error}). "
            "The declaration does not fit this model"
        ) from error


def _explain_greedy(model: LoadedModel, ids: tuple[int, ...], greedy: list[int]) -> str:
    """Why the traced run goes on otherwise than the plain model, or ""."""
    own = list(finish_turns(run(model, Prepared(ids, (), N_GREEDY), Generation())).ids[len(ids) :])
    stops = stop_ids(model, Generation())
    expected = greedy[: next((n for n, i in enumerate(greedy, 1) if i in stops), N_GREEDY)]
    return "" if own == expected else f"greedy ids: expected {expected}, the plain model's; got {own}"


def _causal(model: LoadedModel, ids: tuple[int, ...], logits: Float[Tensor, "T V"]) -> Tensor:
    """Identity 4: another last token leaves all earlier logits as they were."""
    other = (*ids[:-1], (ids[-1] + 1) % model.weights.n_rows("embed"))
    changed = model.network(input_ids=torch.tensor([other], device=model.device), use_cache=False).logits[0].float()
    return identities.compute_relative_error(changed[:-1], logits[:-1])[None]
