"""Which model is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from intravisto_core.request.checks import check, put

DTYPES = ("auto", "float32", "bfloat16", "float16")
DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Which model, and how it is loaded.

    source: "demo" or a local folder. dtype: one of `DTYPES`; "auto" takes the checkpoint's own.
    device_map: one of `DEVICES`; "auto" takes the GPU where there is one.
    """

    source: str = "demo"
    dtype: str = "auto"
    device_map: str = "auto"

    def __post_init__(self) -> None:
        put(self, source=str(self.source))
        check(self.dtype in DTYPES, "dtype", "one of " + ", ".join(DTYPES), self.dtype)
        check(self.device_map in DEVICES, "device_map", "one of " + ", ".join(DEVICES), self.device_map)
