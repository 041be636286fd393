"""What a loaded model is, its tokens, and what its self-check found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from intravisto_core.errors import ModelError, PendingError
from intravisto_core.records.base import Summarised
from intravisto_core.sites import Capability, TokenKind


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a text."""

    id: int
    """Its number in the vocabulary."""
    text: str
    """As the tokenizer decodes it alone."""
    shown: str
    """The same with visible spaces and newlines (`tokens.shown`)."""
    position: int
    """In the text, BOS included."""
    is_prompt: bool
    """Whether it is of the prompt; else it was generated."""
    is_special: bool
    """Whether it is a special token of the tokenizer, as BOS."""
    kind: TokenKind = TokenKind.WORD
    """What sort of token it is."""
    spells: str = ""
    """Of bytes, the characters that they make, with their neighbours' where one is split; else empty."""
    part: int = 0
    """Which of the tokens that make these characters it is, from 0."""
    template: str = ""
    """In a chat: "marks" or "system" (a system prompt of its own) where the model's template wrote it; else empty."""

    def __deepcopy__(self, _: object) -> Token:
        # nothing in it can be written to, and every record of a long text holds thousands
        return self


@dataclass(frozen=True, repr=False, slots=True)
class Check(Summarised):
    """One identity of docs/methods.md §2, as measured on the loaded model."""

    ok: bool
    """Whether it holds."""
    error: float | None
    """The largest e over layers and positions ≥ 1; None where it could not be measured."""
    reason: str = ""
    """Why it does not hold, else empty."""
    allowed: float = 0.0
    """The tolerance."""
    median: float | None = None
    """The median e over layers and positions."""
    at_start: float | None = None
    """The largest e at position 0."""
    exact: bool | None = None
    """Whether it is bit-equal where that is claimed, else None."""
    pending: bool = False
    """Whether it is still to be measured; `ok` is false until then."""

    def _summary(self) -> tuple[str, ...]:
        if self.pending:
            return ("pending",)
        return ("ok" if self.ok else "not ok", "not measured" if self.error is None else f"error {self.error:.1e}")


@dataclass(frozen=True, repr=False, slots=True)
class ModelCard(Summarised):
    """What a loaded model is, and what the self-check found."""

    name: str
    """As it was asked for."""
    family: str
    """Its family, as docs/families.md names it."""
    n_layers: int
    """L, its layers."""
    n_heads: int
    """Attention heads a layer."""
    n_kv_heads: int
    """Heads of keys and values a layer."""
    d_model: int
    """Width of the stream."""
    d_head: int
    """Width of a head."""
    d_mlp: int
    """Neurons of an MLP; 0 where there are experts."""
    d_vocab: int
    """V, the size of its vocabulary."""
    context: int
    """The longest text in tokens, 0 where the model states none."""
    tied: bool
    """Whether one table embeds and unembeds."""
    block: str
    """ "serial" or "parallel": how attention and MLP of a block are wired."""
    norm: str
    """What kind of norm it has, in words."""
    dtype: str
    """Data type that it computes in, as torch names it."""
    device: str
    """Device that it runs on, as torch names it."""
    n_parameters: int
    """How many parameters it has."""
    weight_bytes: int
    """Bytes of its weights."""
    stock_difference: float | None = None
    """Largest difference of its logits to those of the sdpa kernel; None where not measured."""
    probe: str = ""
    """The text that it was checked on, in words."""
    capabilities: Mapping[Capability, Check] = field(default_factory=dict)
    """What the self-check found, by capability."""
    inferred: bool = False
    """Whether its parts were found by their structure, as its family is not declared."""
    chat: bool = False
    """Whether its tokenizer brings a chat template."""
    features: tuple[str, ...] = ()
    """What is particular about it, in short phrases."""
    notes: tuple[str, ...] = ()
    """What its files say or hold that is not done here, or is not as they say."""

    def _summary(self) -> tuple[str, ...]:
        return (self.name, self.family, f"{self.n_layers} layers", f"width {self.d_model}", self.dtype)

    @property
    def pending(self) -> tuple[Capability, ...]:
        """What the self-check has not measured yet."""
        return tuple(each for each, found in self.capabilities.items() if found.pending)

    def require(self, capability: Capability) -> None:
        """Refuse what rests on an identity that this model fails.

        Raises:
            PendingError: it is not measured yet.
            ModelError: with the reason that the self-check gave.
        """
        if not self.holds(capability):
            raise ModelError(f"{capability.label}: not shown for this model: {self.capabilities[capability].reason}")

    def holds(self, capability: Capability) -> bool:
        """Whether this model passes an identity.

        Raises:
            PendingError: it is not measured yet.
        """
        found = self.capabilities[capability]
        if found.pending:
            raise PendingError(f"{capability.label}: {found.reason}. Ask again in a moment")
        return found.ok
