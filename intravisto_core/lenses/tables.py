"""The lenses that read the model's own two tables, and are not trained."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intravisto_core.lenses.base import LensConfig, VocabularyLens
from intravisto_core.sites import Lens

# The exponent of the depth r/(L+1) in the share a of the output table; the others read one table at every row.
_EXPONENTS = {Lens.LINEAR: 1, Lens.QUADRATIC: 2}


class TableLens(VocabularyLens):
    """The output table, the input table, a mix of both by depth, or whichever is surer at a cell."""

    def __init__(self, kind: Lens) -> None:
        self._config = LensConfig(kind)
        self.compares_tables = kind is Lens.MAX

    @property
    def config(self) -> LensConfig:
        """Which lens it is."""
        return self._config

    @property
    def ends_at_the_model(self) -> bool:
        """Whether its row L+1 is read by the output table alone."""
        return self._config.kind in (Lens.OUTPUT, Lens.LINEAR, Lens.QUADRATIC)

    def mix(self, rows: Int[Tensor, " n"], n_layers: int) -> Float[Tensor, " n"]:
        """The share a of the output table; where tables are compared it is settled cell by cell later."""
        depth = rows.float() / (n_layers + 1)
        kind = self._config.kind
        if kind in _EXPONENTS:
            return depth ** _EXPONENTS[kind]
        return torch.full_like(depth, 0.0 if kind is Lens.INPUT else 1.0)


_LENSES = {kind: TableLens(kind) for kind in Lens}


def table_lens(kind: Lens) -> TableLens:
    """The lens of a kind that reads the model's own tables."""
    return _LENSES[kind]
