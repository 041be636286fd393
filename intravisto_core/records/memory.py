"""What a model and a run will take, beside what is free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

TIGHT = 0.85


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Bytes by what takes them (docs/loading.md), reckoned before anything is allocated.

    weights: in memory once loaded, 0 where they are there already. loading: what loading takes besides, for a moment.
    kv_cache, trace: of the run. workspace: the most that one call or view takes for a moment. offloaded: weights that
    stay on disk. mapped: pages of the files while they are read, which the system drops when it needs room; they count
    in the peak and not in what must fit. stays: those of them that are still mapped during the run. in_file: a trace
    too large for memory, kept in a mapped file. device: where the run is. free: bytes by device, as they were when this
    was reckoned. remedies: what would make it smaller, best first; only where it does not fit easily. note: what else
    there is to say of the weights.
    """

    weights: int
    loading: int
    kv_cache: int
    trace: int
    workspace: int
    device: str
    free: Mapping[str, int]
    offloaded: int = 0
    mapped: int = 0
    stays: int = 0
    in_file: int = 0
    remedies: tuple[str, ...] = ()
    note: str = ""

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


def size(n: int) -> str:
    """Bytes in words."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if n >= 0.995 * scale:
            return f"{n / scale:.1f} {unit}" if n < 9.95 * scale else f"{n / scale:.0f} {unit}"
    return f"{n / 1e3:.0f} kB"
