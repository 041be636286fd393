"""PyTorch and transformers, which take seconds to load: they load behind the first picture, once a process."""

from __future__ import annotations

import logging
import sys
import threading

from intravisto_ui.session import garbage

log = logging.getLogger("intravisto")
ENGINE = "intravisto_core.engine.local"


class Libraries:
    """What a model needs. Safe to ask from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()

    def are_loaded(self) -> bool:
        """Whether nothing is left to wait for."""
        if self._thread is not None:
            return self._ended.is_set()
        return hasattr(sys.modules.get(ENGINE), "LocalEngine")

    def start(self) -> None:
        """Begin to load them in a thread, unless that was done before."""
        with self._lock:
            if self._thread is None and not self.are_loaded():
                self._thread = threading.Thread(target=self._load, name="intravisto-libraries", daemon=True)
                self._thread.start()

    def put_aside(self) -> None:
        """Spare what was loaded so far from the collection after a rerun, which would hold up loading the rest."""
        if not self.are_loaded():
            garbage.freeze()

    def _load(self) -> None:
        try:
            with garbage.put_aside():
                __import__(ENGINE)
        except Exception:
            log.exception("the libraries of models could not be loaded")
        finally:
            self._ended.set()


_libraries = Libraries()


def libraries() -> Libraries:
    """Those of this process."""
    return _libraries
