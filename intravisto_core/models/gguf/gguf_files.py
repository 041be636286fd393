"""Which GGUF file is meant: of a folder, of a repository's files, or by its path."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from intravisto_core.errors import ModelError
from intravisto_core.models.gguf.header import MAGIC
from intravisto_core.request import GGUF, ModelSpec

# beside a model: the part that reads images, which no text goes through
_BESIDE = "mmproj"


def named(spec: ModelSpec) -> tuple[str, str | None]:
    """Source and file of a spec, also where it names them together as "owner/name:file.gguf"."""
    source, colon, file = spec.source.partition(":")
    if spec.file is None and colon and source and is_gguf(file) and not Path(spec.source).expanduser().exists():
        return source, ModelSpec(source, file=file).file
    return spec.source, spec.file


def is_gguf(name: str) -> bool:
    """Whether a file is called one."""
    return name.lower().endswith(GGUF)


def models(names: Iterable[str]) -> list[str]:
    """Those of some file names that are GGUF models, sorted."""
    return sorted(n for n in names if is_gguf(n) and _BESIDE not in n.rsplit("/", 1)[-1].lower())


def chosen(names: Iterable[str], file: str | None, where: str) -> str | None:
    """The file that is meant, or None where none is named and there is none. where: the folder or repository.

    Raises:
        ModelError: the named one is not there, or there are several and none is named.
    """
    there = models(names)
    listed = ", ".join(there)
    if file is not None:
        if file not in there:
            found = f"it has {listed}" if there else "it has no GGUF file"
            raise ModelError(f"{where}: expected a file {file}; {found}. Check the name")
        return file
    if len(there) > 1:
        raise ModelError(
            f"{where}: expected one GGUF file, or which one is meant; it has {listed}. Name it: "
            f"ModelSpec(source, file={there[0]!r}), or --file {there[0]}"
        )
    return there[0] if there else None


def of_folder(folder: Path, file: str | None) -> Path | None:
    """The GGUF file that a folder is opened by: the named one; without a name only where it has no config.json.

    Raises:
        ModelError: see `chosen`; or it is a link that leads out of the folder.
    """
    if file is None and (folder / "config.json").is_file():
        return None
    names = [p.name for p in folder.iterdir() if is_gguf(p.name) and p.is_file()]
    if file is not None and (folder / file).is_file():
        names.append(file)
    found = chosen(names, file, str(folder))
    if found is None:
        return None
    if not (folder / found).resolve().is_relative_to(folder.resolve()):
        raise ModelError(
            f"{folder}: expected files of its own; {found} is a link that leads out of it. Give the path of the file "
            "itself"
        )
    return folder / found


def by_path(file: Path) -> Path:
    """A file that was named by its path.

    Raises:
        ModelError: it is of another kind.
    """
    if not file.is_file():
        raise ModelError(f"{file}: expected a folder or a GGUF file; it is a pipe or a device. Check the path")
    try:
        with file.open("rb") as stream:
            begins = stream.read(4)
    except OSError as error:
        raise ModelError(f"{file}: expected a file that can be read ({error.strerror}). Check the path") from error
    if begins != MAGIC and not is_gguf(file.name):
        raise ModelError(
            f"{file}: expected a folder or a GGUF file; it is another kind of file. Give the folder that it lies in"
        )
    return file
