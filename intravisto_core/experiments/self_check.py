"""Hold a loaded model to the identities of docs/methods.md §2 and say what it may be asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
from intravisto_core.tracing.run import Prepared, stop_ids

PROBE_LENGTH = 24
LONGEST_PROBE = 640
N_GREEDY = 3
WINDOWS = ("sliding_window", "window_size", "attention_chunk_size")
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


@torch.no_grad()
def check_model(model: LoadedModel) -> ModelCard:
    """Measure every identity on a probe.

    Raises:
        ModelError: one of the essential identities fails; the message has the measured error.
    """
    ids, said = choose_probe_ids(model)
    stock, greedy = _stock(model, ids)
    sdpa = _sdpa(model, ids)
    use_traced_attention(model)
    data = _traced(model, ids)
    traced_logits = torch.cat(data.step_logits)
    allowed = identities.allowed_error(model.dtype, model.quantisation)
    errors, exact = identities.check_residual(model, data)
    checks = {
        Capability.RESIDUAL: identities.summarise_errors(errors, allowed, exact, explain_misdeclared(model, ids)),
        Capability.LOGITS: _measured(lambda: identities.check_logits(model, data, traced_logits), allowed),
        Capability.TRACED: _same_run(model, ids, traced_logits, stock, greedy, allowed),
        Capability.CAUSAL: _measured(lambda: _causal(model, ids, traced_logits), allowed),
        Capability.PATTERN: _measured(lambda: identities.check_patterns(model, data), allowed),
        Capability.HEADS: _measured(lambda: identities.check_heads(model, data), allowed),
        Capability.NEURONS: _neurons(model, data, allowed),
    }
    difference = None if sdpa is None else float(identities.compute_relative_error(traced_logits, sdpa).max())
    card = describe(model, checks, difference, said)
    for capability, found in checks.items():
        if capability.essential and not found.ok:
            raise ModelError(
                f"{card.name}: refused: its self-check failed at “{capability.label}” ({capability}): {found.reason}. "
                "What this program would show of it would be wrong"
            )
    return card


def _measured(measure: Callable[[], Tensor], allowed: float) -> Check:
    try:
        return identities.summarise_errors(measure(), allowed)
    except (IntravistoError, RuntimeError) as error:
        return Check(ok=False, error=None, reason=f"could not be measured: {error}", allowed=allowed)


def _neurons(model: LoadedModel, data: TraceData, allowed: float) -> Check:
    architecture = model.blueprint.architecture
    if architecture.experts is not None:
        return _measured(lambda: identities.check_experts(model, data), allowed)
    if architecture.w_out is None:
        return Check(ok=False, error=None, reason=NO_NEURONS, allowed=allowed)
    return _measured(lambda: identities.check_neurons(model, data), allowed)


def _stock(model: LoadedModel, ids: tuple[int, ...]) -> tuple[Float[Tensor, "T V"], list[int]]:
    """Logits of the model as it comes (stock attention, no hook), by the probe's schedule; and its most likely ids.

    The ids are those of plain calls: `generate` would also follow what the checkpoint's generation_config.json says.
    """
    network: Any = model.network
    if model.blueprint.architecture.attention_kind is AttentionKind.INTERFACE:
        network.set_attn_implementation("eager")
    cache = DynamicCache(config=network.config)

    def read(part: tuple[int, ...]) -> Float[Tensor, "n V"]:
        tokens = torch.tensor([part], device=model.device)
        found: Tensor = network(input_ids=tokens, past_key_values=cache, use_cache=True).logits[0].float()
        return found

    logits = torch.cat([read(ids[:-1]), read(ids[-1:])])
    said = [int(logits[-1].argmax())]
    while len(said) < N_GREEDY:
        said.append(int(read((said[-1],))[-1].argmax()))
    return logits, said


def _sdpa(model: LoadedModel, ids: tuple[int, ...]) -> Float[Tensor, "T V"] | None:
    """Logits by the kernel that most users run, where a loaded model can be switched to it; for the card only."""
    if model.blueprint.architecture.attention_kind is not AttentionKind.INTERFACE:
        return None
    try:
        model.network.set_attn_implementation("sdpa")
        return model.network(input_ids=torch.tensor([ids], device=model.device), use_cache=False).logits[0].float()
    except (ValueError, ImportError, RuntimeError):
        return None


def _traced(model: LoadedModel, ids: tuple[int, ...]) -> TraceData:
    try:
        return _finish(model, Prepared(ids[:-1], (), 1, replay=ids[-1:]), checking=True)
    except RuntimeError as error:
        family = model.blueprint.architecture.family
        raise ModelError(
            f"{model.name}: expected modules as declared for {family}; capturing them failed ({error}). "
            "The declaration does not fit this model"
        ) from error


def _finish(model: LoadedModel, prepared: Prepared, checking: bool) -> TraceData:
    return finish_turns(run(model, prepared, Generation(), checking=checking))


def _same_run(
    model: LoadedModel, ids: tuple[int, ...], traced: Tensor, stock: Tensor, greedy: list[int], allowed: float
) -> Check:
    """Identity 3: logits and greedy ids of the traced run are the plain model's."""
    found = identities.summarise_errors(
        identities.compute_relative_error(traced, stock)[None], allowed, exact=torch.equal(traced, stock)
    )
    if not found.ok:
        return found
    own = list(_finish(model, Prepared(ids, (), N_GREEDY), checking=False).ids[len(ids) :])
    stops = stop_ids(model, Generation())
    expected = greedy[: next((n for n, i in enumerate(greedy, 1) if i in stops), N_GREEDY)]
    if own != expected:
        reason = f"greedy ids: expected {expected}, the plain model's; got {own}"
        return identities.summarise_errors(
            identities.compute_relative_error(traced, stock)[None], allowed, reason=reason
        )
    return found


def _causal(model: LoadedModel, ids: tuple[int, ...], logits: Float[Tensor, "T V"]) -> Tensor:
    """Identity 4: another last token leaves all earlier logits as they were."""
    other = (*ids[:-1], (ids[-1] + 1) % model.weights.n_rows("embed"))
    changed = model.network(input_ids=torch.tensor([other], device=model.device), use_cache=False).logits[0].float()
    return identities.compute_relative_error(changed[:-1], logits[:-1])[None]
