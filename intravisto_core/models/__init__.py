"""From a spec to a loaded model: files checked, weights behind one accessor, norms as formulas.

Names load when they are used: a list of models, or an estimate from a file's header, needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from intravisto_core.lazy_names import load_when_used

if TYPE_CHECKING:
    from intravisto_core.models.loaded import LoadedModel as LoadedModel
    from intravisto_core.models.loading import load as load
    from intravisto_core.models.norms import NormFormula as NormFormula
    from intravisto_core.models.weights import Weights as Weights

__getattr__, __dir__ = load_when_used(
    __name__, {"loaded": "LoadedModel", "loading": "load", "norms": "NormFormula", "weights": "Weights"}
)
