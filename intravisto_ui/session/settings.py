"""What the server allows: everything on one's own machine, fixed models and limits in the public mode.

Environment: INTRAVISTO_MODELS_FILE names a file that fixes the list of models (docs/deploy.md). INTRAVISTO_PUBLIC=1
turns the public mode on. Then, without such a file, INTRAVISTO_MODELS lists the models on offer ("demo", folders of the
server and names on the Hub, separated by commas), and INTRAVISTO_PROMPT_TOKENS, INTRAVISTO_NEW_TOKENS,
INTRAVISTO_QUEUE, INTRAVISTO_PROMPTS and INTRAVISTO_SECONDS change the limits. INTRAVISTO_IDLE_MINUTES is how long a
model that nobody uses stays in memory; with 0 it stays for good. INTRAVISTO_ENGINE is the address of a service whose
models are used in place of models of this machine (docs/service.md); its token is INTRAVISTO_TOKEN.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath

from intravisto_core.engine.limits import Limits
from intravisto_core.errors import ModelError, RequestError, expected
from intravisto_core.request import MAX_NEW_TOKENS, ModelSpec
from intravisto_ui.server.environment import is_public

DEMO = "demo"
MODELS = "INTRAVISTO_MODELS"
MODELS_FILE = "INTRAVISTO_MODELS_FILE"
IDLE_MINUTES = "INTRAVISTO_IDLE_MINUTES"
ENGINE = "INTRAVISTO_ENGINE"
USUAL_IDLE_MINUTES = 30
LIMITS = {"prompt_tokens": 256, "new_tokens": 64, "queue": 20, "prompts": 16, "seconds": 120}
MOST_TOKENS_TYPED = 32
PINNING_SESSIONS = 8  # one session keeps at most this part of what may be pinned


@dataclass(frozen=True, slots=True)
class Settings:
    """What may be asked for. Sizes are None where there is no limit but the model's own.

    models: those on offer, as they are loaded; None for any. queue: how many runs may wait before one more is refused.
    prompts: of a direction or a mean. seconds: of the model's time for one request.
    idle_minutes: after how long a model that nobody uses is let go of; 0 is never.
    """

    public: bool = False
    models: tuple[ModelSpec, ...] | None = None
    prompt_tokens: int | None = None
    new_tokens: int = MAX_NEW_TOKENS
    queue: int | None = None
    prompts: int | None = None
    seconds: int | None = None
    idle_minutes: int = USUAL_IDLE_MINUTES

    def check_model(self, spec: ModelSpec) -> None:
        """Raises:
        ModelError: the model is not on offer here, or not in that precision or place.
        """
        if self.models is not None and spec not in self.models:
            offered = ", ".join(name(m.source) for m in self.models)
            raise ModelError(f"model: expected one that this server offers ({offered}); got another one")

    def limits(self) -> Limits:
        """What one request may ask of an engine."""
        if not self.public:
            return Limits()
        # torch is loaded here
        from intravisto_core.traces.trace_store import STORE_BYTES

        return Limits(
            prompt_tokens=self.prompt_tokens,
            new_tokens=self.new_tokens,
            prompts=self.prompts,
            tokens_typed=MOST_TOKENS_TYPED,
            queue=self.queue,
            seconds=self.seconds,
            pinned_bytes=STORE_BYTES,
            pinned_bytes_a_session=STORE_BYTES // PINNING_SESSIONS,
        )


def name(source: str) -> str:
    """A model's source in words that show no path of the server."""
    return "demo model" if source == DEMO else PurePath(source).name or source


def read_engine(environment: Mapping[str, str] | None = None) -> str | None:
    """The address of the service that the app uses, or None."""
    return (os.environ if environment is None else environment).get(ENGINE, "").strip() or None


def read(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of an environment, by default of this process.

    Raises:
        RequestError: a limit is no whole number.
    """
    given = os.environ if environment is None else environment
    listed, idle = _read_models_file(given), _read_whole(given, IDLE_MINUTES, USUAL_IDLE_MINUTES)
    if not is_public(given):
        return Settings(models=listed, idle_minutes=idle)
    sources = tuple(m.strip() for m in given.get(MODELS, DEMO).split(",") if m.strip())
    models = listed or tuple(ModelSpec(source) for source in sources or (DEMO,))
    limits = {limit: _read_whole(given, f"INTRAVISTO_{limit.upper()}", usual) for limit, usual in LIMITS.items()}
    limits["new_tokens"] = min(limits["new_tokens"], MAX_NEW_TOKENS)
    return Settings(True, models, **limits, idle_minutes=idle)


def _read_models_file(given: Mapping[str, str]) -> tuple[ModelSpec, ...] | None:
    """The models of the file that fixes the list, or None without one."""
    if not given.get(MODELS_FILE, "").strip():
        return None
    # only where a file fixes the list: it knows the families, and so needs torch
    from intravisto_core.models.offered import offered_models

    return tuple(offer.spec for offer in offered_models(given[MODELS_FILE]))


def _read_whole(given: Mapping[str, str], variable: str, usual: int) -> int:
    text = given.get(variable, "").strip()
    if not text:
        return usual
    if not text.isdecimal():
        raise RequestError(expected(variable, "a whole number from 0", text))
    return int(text)
