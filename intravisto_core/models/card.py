"""What a model is, in the words of its card."""

from __future__ import annotations

from collections.abc import Mapping

from intravisto_core.models import quantisation
from intravisto_core.models.features import features
from intravisto_core.models.loaded import LoadedModel
from intravisto_core.records import Check, ModelCard
from intravisto_core.sites import BlockKind, Capability


def describe(
    model: LoadedModel,
    capabilities: Mapping[Capability, Check],
    stock_difference: float | None = None,
    probe: str = "",
) -> ModelCard:
    """The card of a loaded model with what its self-check found."""
    size, blueprint = model.dimensions, model.blueprint
    return ModelCard(
        name=model.name,
        family=blueprint.architecture.family,
        n_layers=size.n_layers,
        n_heads=size.n_heads,
        n_kv_heads=size.n_kv_heads,
        d_model=size.d_model,
        d_head=size.d_head,
        d_mlp=size.d_mlp,
        d_vocab=size.d_vocab,
        context=size.context,
        tied=model.weights.tied,
        block=str(BlockKind.PARALLEL if blueprint.parallel else BlockKind.SERIAL),
        norm=blueprint.architecture.norm.label,
        dtype=str(model.dtype).removeprefix("torch."),
        device=str(model.device),
        n_parameters=quantisation.n_parameters(model.network),
        weight_bytes=quantisation.resident_bytes(model.network),
        stock_difference=stock_difference,
        probe=probe,
        capabilities=dict(capabilities),
        inferred=blueprint.architecture.inferred,
        chat=model.reader.has_chat_template,
        features=features(model),
        notes=model.notes,
    )
