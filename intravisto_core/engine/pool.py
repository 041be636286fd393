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
class _Loaded:
    engine: LocalEngine
    nbytes: int
    leases: dict[str, float] = field(default_factory=dict)
    used: float = 0.0


class Pool:
    """Engines by spec.

    byte_budget: of all weights together; None is unlimited. A lease lapses `lease_seconds` after its last renewal;
    leased models are never taken away. clock: seconds, for tests.
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
        self._models: dict[ModelSpec, _Loaded] = {}
        self._lock = threading.RLock()

    def lease(self, spec: ModelSpec, session: str = "") -> LocalEngine:
        """The engine of a spec, loaded if need be; the session's lease is renewed.

        Raises:
            BusyError: loading it would take a model that others are using; says until when.
            ModelError: it cannot be opened.
        """
        with self._lock:
            loaded = self._models.get(spec)
            if loaded is None:
                needed = estimated_bytes(spec)
                self._make_room(spec, needed)
                engine = LocalEngine(spec)
                loaded = self._models[spec] = _Loaded(engine, engine.model.weight_bytes)
            now = self._clock()
            loaded.used = now
            loaded.leases[session] = now + self.lease_seconds
            return loaded.engine

    def release(self, spec: ModelSpec, session: str = "") -> None:
        """Give a lease back; the model stays until its room is needed."""
        with self._lock:
            if spec in self._models:
                self._models[spec].leases.pop(session, None)

    def drop_idle(self) -> list[ModelSpec]:
        """Close every model that nobody leases; gives their specs."""
        with self._lock:
            idle = [s for s, m in self._models.items() if not self._leased(m)]
            for spec in idle:
                self._models.pop(spec).engine.close()
            return idle

    @property
    def specs(self) -> tuple[ModelSpec, ...]:
        """What is loaded now."""
        return tuple(self._models)

    def close(self) -> None:
        """Close everything."""
        with self._lock:
            for loaded in self._models.values():
                loaded.engine.close()
            self._models.clear()

    def _leased(self, loaded: _Loaded) -> bool:
        now = self._clock()
        loaded.leases = {s: until for s, until in loaded.leases.items() if until > now}
        return bool(loaded.leases)

    def _make_room(self, spec: ModelSpec, needed: int) -> None:
        if self.byte_budget is None:
            return
        free = self.byte_budget - sum(m.nbytes for m in self._models.values())
        idle = sorted((s for s, m in self._models.items() if not self._leased(m)), key=lambda s: self._models[s].used)
        for old in idle:
            if free >= needed:
                return
            free += self._models[old].nbytes
            self._models.pop(old).engine.close()
        if free >= needed or not self._models:
            return
        until = min(max(m.leases.values()) for m in self._models.values()) - self._clock()
        raise BusyError(
            f"{spec.source}: expected {needed / 1e6:.0f} MB of room for models; {free / 1e6:.0f} MB are free of "
            f"{self.byte_budget / 1e6:.0f} MB, and the loaded models are in use. Try again in {max(0.0, until):.0f} s"
        )


def estimated_bytes(spec: ModelSpec) -> int:
    """Bytes that the weights will take: file size, scaled by the dtype asked for."""
    folder = folders.resolve(spec.source)
    size = folders.file_bytes(folder)
    if spec.dtype == "auto":
        return size
    stored = str(
        folders.read_config(folder).get("dtype") or folders.read_config(folder).get("torch_dtype") or "float32"
    )
    return size * getattr(torch, spec.dtype).itemsize // getattr(torch, stored, torch.float32).itemsize
