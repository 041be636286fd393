"""From what a spec names to a folder on this machine."""

from __future__ import annotations

from pathlib import Path

from intravisto_core.errors import ModelError, RequestError, expected
from intravisto_core.models import adapters, ollama
from intravisto_core.models.files import folder as folders
from intravisto_core.models.gguf import gguf_files
from intravisto_core.models.remote import hub
from intravisto_core.progress import Report, quiet
from intravisto_core.request import ModelSpec


def is_local(source: str) -> bool:
    """Whether a source needs nothing but this machine."""
    return source == "demo" or ollama.is_name(source) or Path(source).expanduser().exists()


def on_hub(spec: ModelSpec) -> bool:
    """Whether a spec names a model of the Hub, or an adapter here whose base is one."""
    folder = Path(spec.source).expanduser()
    if folder.is_dir() and adapters.is_adapter(folder):
        base = spec.base or adapters.read_config(folder).get("base_model_name_or_path")
        return isinstance(base, str) and base != spec.source and on_hub(ModelSpec(base))
    return not is_local(spec.source) and hub.is_id(gguf_files.named(spec)[0])


def name(spec: ModelSpec, file: Path) -> str:
    """What a model in a GGUF file is called: by its path without the folders before it, else as it was asked for."""
    if Path(spec.source).expanduser().exists():
        return file.stem
    source, named = gguf_files.named(spec)
    return source if named is None else f"{source}:{named}"


def locate(spec: ModelSpec, token: str | None = None, report: Report = quiet) -> Path:
    """The folder of a spec's model, or its GGUF file; downloaded first where it is on the Hub.

    Raises:
        ModelError: it is neither "demo", a folder with a config, a GGUF file, a model of Ollama, nor a model on the Hub
            that can be had.
    """
    source, file = gguf_files.named(spec)
    if is_local(source):
        return _here(spec, source, file)
    if hub.is_id(source):
        return hub.snapshot(source, spec.revision, token, report, spec, file)
    allowed = (
        '"demo", the path of a model folder or of a GGUF file, "ollama:" and a name, or a name on the Hub such as '
        '"openai-community/gpt2"'
    )
    raise ModelError(expected("model", allowed, spec.source, "Check the path or name"))


def locate_base(adapter: adapters.Adapter, token: str | None = None, report: Report = quiet) -> Path:
    """As `locate`, of the model that an adapter changes.

    Raises:
        ModelError: it is not to be had, or itself an adapter alone.
    """
    base = adapter.base
    if not is_local(base.source) and not hub.is_id(gguf_files.named(base)[0]):
        raise ModelError(
            f"{adapter.name}: expected the base model that it names; {base.source!r} is not on this machine. Give it: "
            "ModelSpec(source, base=…), or --base"
        )
    found = locate(base, token, report)
    if found.is_dir() and adapters.is_adapter(found) and not (found / "config.json").is_file():
        raise ModelError(
            f"{adapter.name}: expected a base model; {base.source} is an adapter too. Give the model that both were "
            "trained on"
        )
    return found


def _here(spec: ModelSpec, source: str, file: str | None) -> Path:
    """A source that is on this machine."""
    if spec.revision is not None:
        raise RequestError(expected("revision", "None for what is on this machine", spec.revision))
    path = Path(source).expanduser()
    if source != "demo" and path.is_dir():
        if file is None and adapters.is_adapter(path):
            return path
        return gguf_files.of_folder(path, file) or folders.resolve(source)
    if file is not None:
        raise RequestError(expected("file", "None where the source is one model already", file))
    if ollama.is_name(source):
        return ollama.find(source)
    return folders.resolve(source) if source == "demo" else gguf_files.by_path(path)
