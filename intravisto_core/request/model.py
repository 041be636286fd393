"""Which model is asked for."""

from __future__ import annotations

import os
from typing import Annotated, Any

from intravisto_core.errors import RequestError, expected
from intravisto_core.request.base import frozen_request
from intravisto_core.request.checks import check, set_fields

DTYPES = ("auto", "float32", "bfloat16", "float16")
QUANTISATIONS = (None, "int8", "nf4")
DEVICES = ("auto", "cpu", "cuda", "offload")


def _read_source(value: Any, name: str) -> str:
    try:
        source = os.fspath(value)
    except TypeError:
        raise RequestError(expected(name, '"demo", a folder, or a name on the Hub', value)) from None
    check(isinstance(source, str) and source != "", name, '"demo", a folder, or a name on the Hub', value)
    return str(source)


@frozen_request
class ModelSpec:
    """Which model, and how it is loaded.

    source: "demo", a local folder, or the name of a model on the Hugging Face Hub. revision: a branch, tag or commit
    of the Hub; None is its main branch. dtype: one of `DTYPES`; "auto" takes the checkpoint's own. quantisation: of
    the blocks' matrices, one of `QUANTISATIONS`; "nf4" is 4 bit with double quantisation. device_map: one of
    `DEVICES`; "auto" takes the GPUs, and host memory beside them where they are too small; "offload" keeps the blocks
    on disk and reads each when its turn comes.
    """

    source: Annotated[str, _read_source] = "demo"
    revision: str | None = None
    dtype: str = "auto"
    quantisation: str | None = None
    device_map: str = "auto"

    def __post_init__(self) -> None:
        set_fields(self, revision=self.revision or None)
        check(self.dtype in DTYPES, "dtype", "one of " + ", ".join(DTYPES), self.dtype)
        allowed = "None, " + " or ".join(q for q in QUANTISATIONS if q)
        check(self.quantisation in QUANTISATIONS, "quantisation", allowed, self.quantisation)
        check(self.device_map in DEVICES, "device_map", "one of " + ", ".join(DEVICES), self.device_map)
        check(
            not (self.quantisation and self.device_map == "offload"),
            "quantisation",
            "None with device_map 'offload': packed weights are not read from disk piece by piece",
            self.quantisation,
        )
