"""Where each generated token came from."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int

from intravisto_core.records.base import Array, Record, check_shapes
from intravisto_core.records.model import Token
from intravisto_core.sites import AttentionDivision, ShareMeasure, SinkHandling


@dataclass(frozen=True, repr=False)
class Route(Record):
    """The flow of each generated token of a run, from the position that says it (docs/methods.md §6).

    G generated tokens; each flow starts one to the left of its token, at row L+1. Masses may be negative under the
    projection.
    """

    trace: str
    """The trace that it was read from, by its id."""
    model: str
    """Name of the model."""
    n_layers: int
    """L, how many layers the model has."""
    prompt_length: int
    """Tokens of the prompt, BOS included."""
    tokens: tuple[Token, ...]
    """All T tokens of the text, prompt first."""
    measure: ShareMeasure
    """How the shares of a sum's parts are measured."""
    attention_division: AttentionDivision
    """How attention is divided over its sources."""
    positions: Int[Array, " G"]
    """Positions of the generated tokens themselves."""
    sources: Float[Array, "G T"]
    """Mass that reaches row 0 at each position."""
    attention: Float[Array, "G L"]
    """Mass through the attention of each layer."""
    mlp: Float[Array, "G L"]
    """Mass through the MLP of each layer."""
    heads: Float[Array, "G L H"]
    """Mass that each head brings from *other* positions; not from attention sinks where they are set aside."""
    lost: Float[Array, "G 5"]
    """Mass that ends in terminals: sink, bias, hidden, undefined, intervention, in that order."""
    conservation: float
    """Largest |1 − Σ of a full cut|."""
    sinks: SinkHandling = SinkHandling.SHOW
    """What was done to attention to the sinks of each layer."""
    notes: tuple[str, ...] = ()
    """Sentences that the reader must know."""

    def __post_init__(self) -> None:
        g = len(self.positions)
        check_shapes(self, sources=(self.sources, (g, len(self.tokens))), lost=(self.lost, (g, 5)))
        check_shapes(self, **{n: (getattr(self, n), (g, self.n_layers)) for n in ("attention", "mlp")})
        check_shapes(self, heads=(self.heads, (g, self.n_layers, self.heads.shape[-1])))

    def _summary(self) -> tuple[str, ...]:
        return (f"{len(self.positions)} generated tokens", f"measure {self.measure.value}", self.model)
