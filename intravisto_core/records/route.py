"""Where each generated token came from."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int

from intravisto_core.records.base import Array, Record, check_shapes
from intravisto_core.records.model import Token
from intravisto_core.sites import AttentionDivision, ShareMeasure


@dataclass(frozen=True)
class Route(Record):
    """The route over a generation: the flow of each generated token, from the position that says it (methods §6).

    G generated tokens. positions: (G,) of the generated tokens themselves; each flow starts one to the left, at row
    L+1. tokens: of all T positions. sources: (G, T) mass that reaches row 0 at each position. attention, mlp: (G, L)
    mass through the attention and the MLP nodes of each layer. heads: (G, L, H) mass that each head brings from *other*
    positions than the one it writes to (and, where position 0 is hidden, not from it). lost: (G, 5) mass that ends in
    the terminals sink, bias, hidden, undefined, intervention, in that order. All are signed under the projection.
    """

    trace: str
    model: str
    n_layers: int
    prompt_length: int
    tokens: tuple[Token, ...]
    measure: ShareMeasure
    attention_division: AttentionDivision
    positions: Int[Array, " G"]
    sources: Float[Array, "G T"]
    attention: Float[Array, "G L"]
    mlp: Float[Array, "G L"]
    heads: Float[Array, "G L H"]
    lost: Float[Array, "G 5"]
    conservation: float
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        g = len(self.positions)
        check_shapes(self, sources=(self.sources, (g, len(self.tokens))), lost=(self.lost, (g, 5)))
        check_shapes(self, **{n: (getattr(self, n), (g, self.n_layers)) for n in ("attention", "mlp")})
        check_shapes(self, heads=(self.heads, (g, self.n_layers, self.heads.shape[-1])))
