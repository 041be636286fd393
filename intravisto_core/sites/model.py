"""What there is to say of a model as a whole: how its blocks are wired, what holds of it, what its tokens are."""

from __future__ import annotations

from intravisto_core.sites.choice import Choice


class BlockKind(Choice):
    """Whether attention and MLP act one after the other or both on the block's input."""

    SERIAL = "serial", "serial"
    PARALLEL = "parallel", "parallel"


class Capability(Choice):
    """An identity of docs/methods.md §2; a view whose identity fails is refused."""

    RESIDUAL = "residual", "stream adds up"
    LOGITS = "logits", "final stream gives the logits"
    TRACED = "traced", "traced run equals the plain model"
    CAUSAL = "causal", "no position sees a later one"
    PATTERN = "pattern", "pattern times values gives the heads"
    HEADS = "heads", "heads add up to attention"
    NEURONS = "neurons", "neurons add up to the MLP"

    @property
    def essential(self) -> bool:
        """Whether a model that fails it is refused altogether."""
        return self in (Capability.RESIDUAL, Capability.LOGITS, Capability.TRACED, Capability.CAUSAL)


class TokenKind(Choice):
    """What sort of token an id is."""

    WORD = "word", "text", "A piece of text."
    SPECIAL = "special", "special token", "A mark for the model, as the start of a text or a change of role; no text."
    BYTES = "bytes", "bytes", "Bytes: a part of a character that is split over several tokens, or a rare character."
    UNKNOWN = "unknown", "unknown token", "Stands for text that the vocabulary cannot write; what it was is lost."
    UNUSED = "unused", "unused id", "A row of the model's table that no text leads to."
