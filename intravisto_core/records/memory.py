"""What a model and a run will take, beside what is free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from intravisto_core.records.base import Summarised

TIGHT = 0.85
_UNITS = (("kB", 1e3), ("MB", 1e6), ("GB", 1e9), ("TB", 1e12))


@dataclass(frozen=True, repr=False, slots=True)
class MemoryEstimate(Summarised):
    """Bytes by what takes them (docs/loading.md), estimated before anything is allocated."""

    weights: int
    """Of weights in memory once loaded; 0 where they are there already."""
    loading: int
    """What loading takes besides, for a moment."""
    kv_cache: int
    """Of the run's key-value cache."""
    trace: int
    """Of the run's captured activations."""
    workspace: int
    """The most that one call or view takes for a moment."""
    device: str
    """Where the run is."""
    free: Mapping[str, int]
    """Free bytes by device, when this was estimated."""
    offloaded: int = 0
    """Of weights that stay on disk."""
    mapped: int = 0
    """Of file pages while files are read; the system drops them when it needs room. In the peak alone."""
    stays: int = 0
    """Those of them that are still mapped during the run."""
    in_file: int = 0
    """Of a trace too large for memory, kept in a mapped file."""
    remedies: tuple[str, ...] = ()
    """What would make it smaller, best first; only where it does not fit easily."""
    note: str = ""
    """What else there is to say of the weights."""

    def _summary(self) -> tuple[str, ...]:
        return (self.line(), self.verdict)

    @property
    def run(self) -> int:
        """What the run takes beside the weights."""
        return self.kv_cache + self.trace + self.workspace

    @property
    def total(self) -> int:
        """The most that is in memory at once: loading comes before the run."""
        return self.weights + max(self.loading + self.mapped, self.run + self.stays)

    @property
    def needed(self) -> int:
        """What must be free for it."""
        return self.weights + max(self.loading, self.run)

    @property
    def available(self) -> int:
        """What is free where it is needed."""
        return self.free.get(self.device, 0)

    @property
    def fits(self) -> bool:
        """Whether there is room for it now."""
        return self.needed <= self.available

    @property
    def verdict(self) -> str:
        """ "fits", "tight" (hardly anything would be left) or "too large"."""
        if not self.fits:
            return "too large"
        return "tight" if self.needed > TIGHT * self.available else "fits"

    def line(self) -> str:
        """How much of how much, in a few words."""
        return f"{size(self.needed)} of {size(self.available)} free ({self.device})"

    def text(self) -> str:
        """The parts, the verdict and the remedies, a sentence each."""
        parts = {
            "weights": self.weights,
            "for a moment while loading": self.loading if self.loading > self.run else 0,
            "key-value cache": self.kv_cache,
            "trace": self.trace,
            "workspace": self.workspace,
        }
        listed = ", ".join(f"{name} {size(n)}" for name, n in parts.items() if n)
        on_disk = {"of weights stay on": self.offloaded, "of trace go to": self.in_file}
        beside = "".join(f" {size(n)} {what} disk." for what, n in on_disk.items() if n)
        verdict = {"fits": "It fits.", "tight": "It fits, tightly.", "too large": "It does not fit."}[self.verdict]
        todo = " Smaller: " + "; ".join(self.remedies) + "." if self.remedies else ""
        note = f" {self.note}." if self.note else ""
        return f"{self.line()}: {listed}.{beside}{note} {verdict}{todo}"


def size(n_bytes: float) -> str:
    """Bytes in words: three significant digits in the largest unit that keeps the number at 1 or above.

    Below 1 kB, whole bytes; above 1,000 TB, whole terabytes.
    """
    if round(n_bytes) < 1000:
        n = round(n_bytes)
        return f"{n} byte{'' if n == 1 else 's'}"
    for unit, scale in _UNITS:
        # 999.5 of a unit would be written as 1,000 of it
        if n_bytes < 999.5 * scale:
            return f"{n_bytes / scale:.3g} {unit}"
    unit, scale = _UNITS[-1]
    return f"{n_bytes / scale:,.0f} {unit}"
