"""What a model and a run will take: asked for once each, in a thread, as the Hub may take seconds to answer."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass

import intravisto_core as iv
from intravisto_core.errors import IntravistoError
from intravisto_core.records import MemoryEstimate
from intravisto_core.request import ModelSpec

KEPT = 20
log = logging.getLogger("intravisto")


@dataclass(frozen=True, slots=True)
class Answer:
    """An estimate, or why there is none."""

    estimate: MemoryEstimate | None = None
    error: IntravistoError | None = None


class Estimates:
    """Of models that are not opened yet. Safe to read from any thread."""

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[ModelSpec, bool], Answer | None] = OrderedDict()
        self._lock = threading.Lock()

    def ask(self, spec: ModelSpec, prompt_tokens: int, new_tokens: int, token: str) -> Answer | None:
        """The answer, or None while it is on its way; the first call asks."""
        key = (spec, bool(token))
        with self._lock:
            if key in self._answers:
                return self._answers[key]
            self._answers[key] = None
            while len(self._answers) > KEPT:
                self._answers.popitem(last=False)
        asked = (key, prompt_tokens, new_tokens, token)
        threading.Thread(target=self._ask, args=asked, name="intravisto-estimate", daemon=True).start()
        return None

    def forget(self, spec: ModelSpec) -> None:
        """Ask again at the next look."""
        with self._lock:
            for key in [k for k in self._answers if k[0] == spec and self._answers[k] is not None]:
                del self._answers[key]

    def _ask(self, key: tuple[ModelSpec, bool], prompt_tokens: int, new_tokens: int, token: str) -> None:
        try:
            answer = Answer(iv.estimate_memory(key[0], prompt_tokens, new_tokens, token=token or None))
        except IntravistoError as error:
            answer = Answer(error=error)
        except Exception:
            log.exception("an estimate ended with an unexpected error")
            answer = Answer(error=IntravistoError("its size could not be read; see the log of the process"))
        with self._lock:
            self._answers[key] = answer
