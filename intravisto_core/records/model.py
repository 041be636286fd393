"""What a loaded model is, its tokens, and what its self-check found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from intravisto_core.errors import ModelError
from intravisto_core.sites import Capability, TokenKind


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a text.

    text: as the tokenizer decodes it alone. shown: with visible spaces and newlines (`tokens.shown`).
    position: in the text, BOS included. spells: of bytes, the characters that they make, with their neighbours' where
    one is split over several tokens; else, and where they make none, empty. part: which of those tokens, from 0.
    """

    id: int
    text: str
    shown: str
    position: int
    is_prompt: bool
    is_special: bool
    kind: TokenKind = TokenKind.WORD
    spells: str = ""
    part: int = 0


@dataclass(frozen=True, slots=True)
class Check:
    """One identity of docs/methods.md §2, as measured on the loaded model.

    error: the largest e over layers and positions ≥ 1; None where it could not be measured. at_start: the same at
    position 0. median: over all. allowed: the tolerance. exact: bit-equal where that is claimed, else None.
    """

    ok: bool
    error: float | None
    reason: str = ""
    allowed: float = 0.0
    median: float | None = None
    at_start: float | None = None
    exact: bool | None = None


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a loaded model is, and what the self-check found.

    d_mlp: 0 where experts take turns. context: 0 where the model states none. inferred: the family is not declared; its
    parts were found by their structure and held to the same checks. chat: its tokenizer brings a chat template.
    features: what is particular about it, in short phrases. notes: what its files say or hold that is not done here, or
    is not as they say.
    """

    name: str
    family: str
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_model: int
    d_head: int
    d_mlp: int
    d_vocab: int
    context: int
    tied: bool
    block: str
    norm: str
    dtype: str
    device: str
    n_parameters: int
    weight_bytes: int
    stock_difference: float | None = None
    probe: str = ""
    capabilities: Mapping[Capability, Check] = field(default_factory=dict)
    inferred: bool = False
    chat: bool = False
    features: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def require(self, capability: Capability) -> None:
        """Refuse what rests on an identity that this model fails.

        Raises:
            ModelError: with the reason that the self-check gave.
        """
        found = self.capabilities[capability]
        if not found.ok:
            raise ModelError(f"{capability.label}: not shown for this model: {found.reason}")
