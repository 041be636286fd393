"""From what a spec names to a folder on this machine."""

from __future__ import annotations

from pathlib import Path

from intravisto_core.errors import ModelError, RequestError, expected
from intravisto_core.models import folder as folders
from intravisto_core.models import hub
from intravisto_core.progress import Report, quiet
from intravisto_core.request import ModelSpec


def is_local(source: str) -> bool:
    """Whether a source needs nothing but this machine."""
    return source == "demo" or Path(source).expanduser().is_dir()


def locate(spec: ModelSpec, token: str | None = None, report: Report = quiet) -> Path:
    """The folder of a spec's model, downloaded first where it is on the Hub.

    Raises:
        ModelError: it is neither "demo", a folder with a config, nor a model on the Hub that can be had.
    """
    if is_local(spec.source):
        if spec.revision is not None:
            raise RequestError(expected("revision", "None for a folder or the demo model", spec.revision))
        return folders.resolve(spec.source)
    if hub.is_id(spec.source):
        return hub.snapshot(spec.source, spec.revision, token, report, spec)
    allowed = '"demo", the path of a model folder, or a name on the Hub such as "openai-community/gpt2"'
    raise ModelError(expected("model", allowed, spec.source, "Check the path or name"))
