"""Which model is asked for."""

from __future__ import annotations

import math

from intravisto_core.request.base import frozen_request
from intravisto_core.request.checks import check, put

DTYPES = ("auto", "float32", "bfloat16", "float16")
QUANTISATIONS = (None, "int8", "nf4")
DEVICES = ("auto", "cpu", "cuda", "offload")
GGUF = ".gguf"


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

    source: str = "demo"
    revision: str | None = None
    dtype: str = "auto"
    quantisation: str | None = None
    device_map: str = "auto"
    file: str | None = None
    base: str | None = None
    adapter_scale: float = 1.0

    def __post_init__(self) -> None:
        put(self, source=str(self.source), revision=self.revision or None)
        put(self, file=self.file or None, base=None if self.base is None else str(self.base))
        check(self.file is None or _is_gguf(self.file), "file", 'a name such as "model.Q4_K_M.gguf"', self.file)
        check(_is_finite(self.adapter_scale), "adapter_scale", "a finite number", self.adapter_scale)
        put(self, adapter_scale=float(self.adapter_scale))
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


def _is_gguf(file: object) -> bool:
    """Whether it names a GGUF file of a folder, and nothing outside of it."""
    if not isinstance(file, str) or not file.lower().endswith(GGUF) or "\\" in file:
        return False
    return not file.startswith("/") and not {"", ".", ".."} & set(file.split("/"))


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
