"""Loaded models under a byte budget, leased to sessions."""

from __future__ import annotations

import math
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from intravisto_core.engine.dispatcher import NO_LIMITS
from intravisto_core.engine.job import Job
from intravisto_core.engine.limits import Limits
from intravisto_core.engine.local import LocalEngine
from intravisto_core.engine.opening import Opening
from intravisto_core.errors import BusyError
from intravisto_core.models.free_memory import free_bytes
from intravisto_core.models.placement import device_of
from intravisto_core.progress import Report
from intravisto_core.request import ModelSpec

LEASE_SECONDS = 900.0
IDLE_SECONDS = 1800.0
SWEEP_SECONDS = 30.0


@dataclass(slots=True)
class _Place:
    """Room for one model: taken before it is loaded. leases: until when, by session. used: when last, on the clock."""

    opening: Opening
    nbytes: int = 0
    engine: LocalEngine | None = None
    leases: dict[str, float] = field(default_factory=dict)
    used: float = 0.0


class Pool:
    """Engines by spec.

    byte_budget: of all weights together; None is unlimited. A lease lapses `lease_seconds` after its last renewal;
    leased models and those at work are never taken away; one that nobody leased for `idle_seconds` is let go of, and
    sooner where its room is needed, be it that the budget is used up or that the device is full. Loading one model
    does not hold up leases of another. clock: seconds, for tests. limits: of what strangers may ask of each engine.
    """

    def __init__(
        self,
        byte_budget: int | None = None,
        lease_seconds: float = LEASE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        idle_seconds: float = IDLE_SECONDS,
        limits: Limits = NO_LIMITS,
        joining: bool = False,
    ) -> None:
        self.byte_budget = byte_budget
        self.lease_seconds = min(lease_seconds, idle_seconds)
        self.idle_seconds = idle_seconds
        self._limits, self._joining = limits, joining
        self._clock = clock
        self._places: dict[ModelSpec, _Place] = {}
        self._lock = threading.RLock()
        self._sweeping = False

    def open(self, spec: ModelSpec, session: str = "", token: str | None = None) -> Job:
        """A job whose result is the engine of a spec, loaded if need be; the session's lease is renewed.

        Its progress is in bytes while something is downloaded. Sessions that ask for one spec share the load; it stops
        when all of them cancelled. token: for the Hub, kept nowhere.
        """
        with self._lock:
            self._sweep_now_and_then()
            place = self._places.get(spec)
            if place is None or (place.engine is None and not place.opening.over and place.opening.abandoned):
                place = self._places[spec] = _Place(self._opening(spec, token))
                job = place.opening.job(session)
                place.opening.start()
            else:
                job = place.opening.job(session)
            place.used = self._clock()
            place.leases[session] = place.used + self.lease_seconds
            return job

    def lease(self, spec: ModelSpec, session: str = "", token: str | None = None) -> LocalEngine:
        """Open a model and wait for it.

        Raises:
            BusyError: loading it would take a model that others are using; says until when.
            ModelError: it cannot be opened.
        """
        engine: LocalEngine = self.open(spec, session, token).result()
        return engine

    def renew(self, spec: ModelSpec, session: str = "") -> bool:
        """Keep a model that is here for a session; whether it is here."""
        with self._lock:
            place = self._places.get(spec)
            if place is None:
                return False
            place.used = self._clock()
            place.leases[session] = place.used + self.lease_seconds
            return True

    def release(self, spec: ModelSpec, session: str = "") -> None:
        """Give a lease back; the model stays until its room is needed, or for `idle_seconds`."""
        with self._lock:
            if spec in self._places:
                self._places[spec].leases.pop(session, None)

    def drop_idle(self, unused_for: float = 0.0) -> list[ModelSpec]:
        """Close every model that nobody leases and nobody used for so many seconds; gives their specs."""
        with self._lock:
            now = self._clock()
            idle = [spec for spec in self._idle() if now - self._places[spec].used >= unused_for]
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

    def _opening(self, spec: ModelSpec, token: str | None) -> Opening:
        def load(report: Report) -> LocalEngine:
            def make_room(nbytes: int) -> None:
                self._take(spec, nbytes)

            options: dict[str, Any] = {"limits": self._limits, "joining": self._joining}
            return LocalEngine(spec, token=token, report=report, make_room=make_room, **options)

        def ended(engine: LocalEngine | None) -> None:
            with self._lock:
                place = self._places.get(spec)
                if place is None or place.opening is not opening:
                    if engine is not None:
                        engine.close()
                elif engine is None:
                    del self._places[spec]
                else:
                    place.engine, place.nbytes = engine, engine.model.weight_bytes
                    if opening.abandoned:
                        place.leases.clear()

        opening = Opening(spec, load, ended)
        return opening

    def _take(self, spec: ModelSpec, needed: int) -> None:
        with self._lock:
            self._make_room(spec, needed)
            if spec in self._places:
                self._places[spec].nbytes = needed

    def _idle(self) -> list[ModelSpec]:
        """Specs that are loaded and not leased, the longest unused first."""
        now = self._clock()
        for place in self._places.values():
            place.leases = {s: until for s, until in place.leases.items() if until > now}
        free = [s for s, p in self._places.items() if p.engine is not None and not p.leases and not p.engine.busy]
        return sorted(free, key=lambda s: self._places[s].used)

    def _close(self, spec: ModelSpec) -> None:
        engine = self._places.pop(spec).engine
        if engine is not None:
            engine.close()

    def _make_room(self, spec: ModelSpec, needed: int) -> None:
        others = {s: p for s, p in self._places.items() if s != spec}
        device = device_of(spec.device_map)

        def free() -> float:
            return math.inf if self.byte_budget is None else self.byte_budget - sum(p.nbytes for p in others.values())

        for old in self._idle():
            if old != spec and (free() < needed or free_bytes(device) < needed):
                self._close(old)
                del others[old]
        if free() >= needed or not others:
            return
        until = min(max(p.leases.values(), default=0.0) for p in others.values()) - self._clock()
        raise BusyError(
            f"{spec.source}: expected {needed / 1e6:.0f} MB of room for models; {free() / 1e6:.0f} MB are free of "
            f"{(self.byte_budget or 0) / 1e6:.0f} MB, and the loaded models are in use. "
            f"Try again in {max(0.0, until):.0f} s"
        )

    def _sweep_now_and_then(self) -> None:
        """A thread that lets go of what was idle for long; it ends with the pool."""
        if self._sweeping:
            return
        self._sweeping = True
        threading.Thread(target=_sweep, args=(weakref.ref(self),), name="intravisto-sweep", daemon=True).start()


def _sweep(reference: weakref.ref[Pool]) -> None:
    while True:
        time.sleep(SWEEP_SECONDS)
        pool = reference()
        if pool is None:
            return
        pool.drop_idle(pool.idle_seconds)
        del pool
