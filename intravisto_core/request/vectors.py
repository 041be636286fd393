"""What can be asked of vectors that no run holds: how a lens reads them, and what a module makes of them."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np

from intravisto_core.errors import RequestError, expected
from intravisto_core.records import DecodedVectors, ModuleValue
from intravisto_core.request.base import View, frozen_request
from intravisto_core.request.checks import check, check_whole
from intravisto_core.request.fields import list_of
from intravisto_core.request.modules import ModulePath
from intravisto_core.request.tensor_refs import TensorRef
from intravisto_core.request.views import TOP_K_KEPT
from intravisto_core.sites import Lens, NormPolicy

MOST_VECTORS = 4096


def read_array(value: Any, name: str) -> TensorRef:
    """An array of any kind (NumPy, a tensor on any device, lists of numbers) by its hash."""
    if isinstance(value, TensorRef):
        return value
    if hasattr(value, "detach"):
        value = value.detach().float().cpu().numpy()
    if not hasattr(value, "__array__"):
        value = value if isinstance(value, int | float) else list_of(value)
    try:
        return TensorRef.of(np.asarray(value, dtype=np.float32))
    except RequestError:
        raise
    except Exception:  # also an object's own
        raise RequestError(expected(name, "an array of numbers", type(value).__name__)) from None


Numbers = Annotated[TensorRef, read_array]


@frozen_request
class DecodeRequest(View[DecodedVectors]):
    """How a lens reads any vectors of the stream (docs/methods.md §3).

    x: (d) or (n, d), n up to 4,096. norm: None is the final norm, of the input lens the norm alone; the stream policy
    needs a stream beside the vector, and is refused. row: the heatmap row that a mixed lens reads them at; None is L.
    """

    x: Numbers
    lens: Lens = Lens.OUTPUT
    norm: NormPolicy | None = None
    top_k: int = 5
    row: int | None = None

    def __post_init__(self) -> None:
        check_whole(self.top_k, "top_k", 1, TOP_K_KEPT)
        shape = self.x.shape
        check(len(shape) in (1, 2) and shape[0] > 0, "x", "a vector (d), or vectors (n, d)", shape)
        check(len(shape) == 1 or shape[0] <= MOST_VECTORS, "x", f"at most {MOST_VECTORS:,} vectors", shape)
        if self.norm is NormPolicy.STREAM:
            raise RequestError(
                "norm: the stream policy takes the scale of a stream, and a vector alone has none. Choose final, "
                "norm_only or none; trace.logits(position, row, component) has a stream"
            )


@frozen_request
class ModuleRequest(View[ModuleValue]):
    """What a module makes of an array, outside a run. x: as the module takes it, whole numbers for an embedding."""

    path: ModulePath
    x: Numbers
