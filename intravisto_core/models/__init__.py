"""From a spec to a loaded model: files checked, weights behind one accessor, norms as formulas.

What needs torch is loaded when it is used: a list of models, or an estimate from a file's header, needs none.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from intravisto_core.models.loaded import LoadedModel
    from intravisto_core.models.loading import load
    from intravisto_core.models.norms import NormFormula
    from intravisto_core.models.weights import Weights

__all__ = ["LoadedModel", "NormFormula", "Weights", "load"]

# the module of each name; PEP 562
_MODULES = {"LoadedModel": "loaded", "NormFormula": "norms", "Weights": "weights", "load": "loading"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"{__name__} has no {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
