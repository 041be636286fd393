"""Which declaration belongs to a transformers `model_type`."""

from __future__ import annotations

from intravisto_core.architectures import experts, gated, gpt2, layer_norm, own_attention
from intravisto_core.architectures.declaration import Architecture
from intravisto_core.errors import ModelError, expected

_BY_FAMILY: dict[str, Architecture] = {
    a.family: a for group in (gated, gpt2, layer_norm, experts, own_attention) for a in group.ALL
}


def names() -> tuple[str, ...]:
    """The declared families, sorted."""
    return tuple(sorted(_BY_FAMILY))


def find(family: str) -> Architecture:
    """The declaration of a `model_type`.

    Raises:
        ModelError: none is declared; the message lists those that are.
    """
    try:
        return _BY_FAMILY[family]
    except KeyError:
        todo = "Choose a model of one of these families"
        raise ModelError(expected("model family", names(), family, todo)) from None
