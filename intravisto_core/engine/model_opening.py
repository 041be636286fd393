"""How a program opens a model on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from intravisto_core.errors import RequestError, expected
from intravisto_core.options import refuse_unknown
from intravisto_core.progress import Report, quiet
from intravisto_core.request import ModelSpec

if TYPE_CHECKING:
    from intravisto_core.engine.local import LocalEngine


def open_model(
    source: str | Path | ModelSpec = "demo", *, token: str | None = None, report: Report = quiet, **options: Any
) -> LocalEngine:
    """Load a model and check it (docs/methods.md §2); a large one is checked while it is used, see `finish_check`.

    source: "demo", a local folder, a GGUF file, a name on the Hugging Face Hub or of Ollama, a LoRA adapter (see
    `ModelSpec.source`), or a ModelSpec. token: for a model on the Hub that is gated or private; else HF_TOKEN or
    the machine's login serves. report: called with bytes done, bytes in all (0 of 0 where they are not known) and what
    is being done; what it raises ends the opening. options: fields of ModelSpec.

    Raises:
        IntravistoError: it cannot be opened, or it was found that what it shows would be wrong.
    """
    if isinstance(source, ModelSpec) and options:
        raise RequestError("open_model: expected a ModelSpec alone, or a source with options; got both")
    refuse_unknown("open_model", ModelSpec.__dataclass_fields__, options)
    if not callable(report):
        raise RequestError(expected("report", "a function of bytes done, bytes in all and a text", report))
    place: Any = source
    spec = source if isinstance(source, ModelSpec) else ModelSpec(place, **options)
    # torch is loaded here
    from intravisto_core.engine.local import LocalEngine

    return LocalEngine(spec, token=token, report=report)
