"""Loaded models under a byte budget, leased to sessions."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from intravisto_core.engine.local import LocalEngine
from intravisto_core.errors import BusyError
from intravisto_core.models import folder as folders
from intravisto_core.request import ModelSpec

LEASE_SECONDS = 900.0


@dataclass(slots=True)
class _Place:
    """Room for one model: taken before it is loaded. ready is set when loading has ended, well or badly."""

    nbytes: int
    engine: LocalEngine | None = None
    error: Exception | None = None
    ready: threading.Event = field(default_factory=threading.Event)
    leases: dict[str, float] = field(default_factory=dict)
    used: float = 0.0


class Pool:
    """Engines by spec.

    byte_budget: of all weights together; None is unlimited. A lease lapses `lease_seconds` after its last renewal;
    leased models are never taken away. Loading one model does not hold up leases of another. clock: seconds, for tests.
    """

    def __init__(
        self,
        byte_budget: int | None = None,
        lease_seconds: float = LEASE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.byte_budget = byte_budget
        self.lease_seconds = lease_seconds
        self._clock = clock
        self._places: dict[ModelSpec, _Place] = {}
        self._lock = threading.RLock()

    def lease(self, spec: ModelSpec, session: str = "") -> LocalEngine:
        """The engine of a spec, loaded if need be; the session's lease is renewed.

        Raises:
            BusyError: loading it would take a model that others are using; says until when.
            ModelError: it cannot be opened.
        """
        needed = 0 if spec in self._places else estimated_bytes(spec)
        with self._lock:
            place = self._places.get(spec)
            mine = place is None
            if place is None:
                self._make_room(spec, needed)
                place = self._places[spec] = _Place(needed)
            place.used = self._clock()
            place.leases[session] = place.used + self.lease_seconds
        if mine:
            self._load(spec, place)
        place.ready.wait()
        if place.engine is None:
            raise place.error or BusyError(f"{spec.source}: it was closed while it was being opened. Try again")
        return place.engine

    def _load(self, spec: ModelSpec, place: _Place) -> None:
        try:
            place.engine = LocalEngine(spec)
            place.nbytes = place.engine.model.weight_bytes
        except Exception as error:
            place.error = error
            with self._lock:
                self._places.pop(spec, None)
        finally:
            place.ready.set()

    def release(self, spec: ModelSpec, session: str = "") -> None:
        """Give a lease back; the model stays until its room is needed."""
        with self._lock:
            if spec in self._places:
                self._places[spec].leases.pop(session, None)

    def drop_idle(self) -> list[ModelSpec]:
        """Close every model that nobody leases; gives their specs."""
        with self._lock:
            idle = self._idle()
            for spec in idle:
                self._close(spec)
            return idle

    @property
    def specs(self) -> tuple[ModelSpec, ...]:
        """What is loaded, or being loaded, now."""
        return tuple(self._places)

    def close(self) -> None:
        """Close everything."""
        with self._lock:
            for spec in list(self._places):
                self._close(spec)

    def _idle(self) -> list[ModelSpec]:
        """Specs that are loaded and not leased, the longest unused first."""
        now = self._clock()
        for place in self._places.values():
            place.leases = {s: until for s, until in place.leases.items() if until > now}
        free = [s for s, p in self._places.items() if p.ready.is_set() and not p.leases]
        return sorted(free, key=lambda s: self._places[s].used)

    def _close(self, spec: ModelSpec) -> None:
        engine = self._places.pop(spec).engine
        if engine is not None:
            engine.close()

    def _make_room(self, spec: ModelSpec, needed: int) -> None:
        if self.byte_budget is None:
            return

        def free() -> int:
            return (self.byte_budget or 0) - sum(p.nbytes for p in self._places.values())

        for old in self._idle():
            if free() < needed:
                self._close(old)
        if free() >= needed or not self._places:
            return
        until = min(max(p.leases.values(), default=0.0) for p in self._places.values()) - self._clock()
        raise BusyError(
            f"{spec.source}: expected {needed / 1e6:.0f} MB of room for models; {free() / 1e6:.0f} MB are free of "
            f"{self.byte_budget / 1e6:.0f} MB, and the loaded models are in use. Try again in {max(0.0, until):.0f} s"
        )


def estimated_bytes(spec: ModelSpec) -> int:
    """Bytes that the weights will take: file size, scaled by the dtype asked for."""
    folder = folders.resolve(spec.source)
    size = folders.file_bytes(folder)
    if spec.dtype == "auto":
        return size
    config = folders.read_config(folder)
    stored = getattr(torch, str(config.get("dtype") or config.get("torch_dtype") or "float32"), torch.float32)
    wanted: torch.dtype = getattr(torch, spec.dtype)
    return size * wanted.itemsize // stored.itemsize
