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
GGUF = ".gguf"


def _read_source(value: Any, name: str) -> str:
    try:
        source = os.fspath(value)
    except TypeError:
        raise RequestError(expected(name, '"demo", a folder, or a name on the Hub', value)) from None
    check(isinstance(source, str) and source != "", name, '"demo", a folder, or a name on the Hub', value)
    return str(source)


def _read_file(value: Any, name: str) -> str | None:
    """The name of a GGUF file of a folder, and nothing outside of it."""
    if value is None or (isinstance(value, str) and not value):
        return None
    plain = isinstance(value, str) and value.lower().endswith(GGUF) and not value.startswith("/") and "\\" not in value
    inside = plain and not {"", ".", ".."} & set(value.split("/"))
    check(inside, name, 'a name such as "model.Q4_K_M.gguf"', value)
    return str(value)


def _read_base(value: Any, name: str) -> str | None:
    return None if value is None else _read_source(value, name)


@frozen_request
class ModelSpec:
    """Which model, and how it is loaded.

    source: "demo", a local folder, a GGUF file, the name of a model on the Hugging Face Hub, "owner/name:file.gguf"
    for a GGUF file there, "ollama:name" for a model of Ollama on this machine, or a LoRA adapter (a folder or a name on
    the Hub). revision: a branch, tag or commit of the Hub; None is its main branch. dtype: one of `DTYPES`; "auto"
    takes the checkpoint's own, and float32 for GGUF. quantisation: of the blocks' matrices, one of `QUANTISATIONS`;
    "nf4" is 4 bit with double quantisation. device_map: one of `DEVICES`; "auto" takes the GPUs, and host memory beside
    them where they are too small; "offload" keeps the blocks on disk and reads each when its turn comes. file: which
    GGUF file of a folder or repository; None where there is one. base: of an adapter, the source of the model that it
    changes; None as its config names it. adapter_scale: what the adapter's change is multiplied by before it is added
    to the base.
    """

    source: Annotated[str, _read_source] = "demo"
    revision: str | None = None
    dtype: str = "auto"
    quantisation: str | None = None
    device_map: str = "auto"
    file: Annotated[str | None, _read_file] = None
    base: Annotated[str | None, _read_base] = None
    adapter_scale: float = 1.0

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
