"""From a spec to a loaded model: files checked, weights behind one accessor, norms as formulas."""

from intravisto_core.models.loaded import LoadedModel
from intravisto_core.models.loading import load
from intravisto_core.models.norms import NormFormula
from intravisto_core.models.weights import Weights

__all__ = ["LoadedModel", "NormFormula", "Weights", "load"]
