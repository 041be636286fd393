"""What is wrong with a model folder, said before anything is loaded from it."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import constants

from intravisto_core.architectures import names, refusal
from intravisto_core.demo import MODEL_FOLDER
from intravisto_core.errors import ModelError
from intravisto_core.models.files import checkpoint
from intravisto_core.models.files.json_file import parse_object
from intravisto_core.models.quantisation import check_stored

_READ = (".json", ".jinja", ".txt", ".model", ".tiktoken", ".vocab", ".bpe", ".safetensors")
_FAMILY = re.compile(r"[\w.-]{1,80}")
_PIECE = 1 << 20
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def resolve(source: str) -> Path:
    """The folder that a source names: "demo", or one that is there.

    Raises:
        ModelError: it has no config.
    """
    folder = MODEL_FOLDER if source == "demo" else Path(source).expanduser()
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: expected a config.json; found none. Give a folder saved with save_pretrained")
    return folder


def name(source: str, folder: Path) -> str:
    """What a model is called."""
    return source if source == "demo" or not Path(source).expanduser().is_dir() else folder.resolve().name


def shown(folder: Path) -> str:
    """How messages call a folder: by the model's name on the Hub where it lies in the Hub's cache."""
    storage = folder.parents[1].name if folder.parent.name == "snapshots" else ""
    return storage.removeprefix("models--").replace("--", "/") if storage.startswith("models--") else str(folder)


def another_family() -> str:
    """What to do about a family that cannot be shown."""
    best = ", ".join(name for name in ("llama", "mistral", "qwen3", "gemma2", "gpt2") if name in names())
    return f"Choose a model of another family: {best} and some {len(names()) - 5} more (listed in docs/families.md)"


def dtype_of(folder: Path, dtype: str) -> torch.dtype:
    """The dtype that a checkpoint is loaded in."""
    if dtype != "auto":
        named: torch.dtype = getattr(torch, dtype)
        return named
    return checkpoint.stored_dtype(read_config(folder), checkpoint.headers(checkpoint.weight_files(folder)))


def read_config(folder: Path) -> dict[str, Any]:
    """The config, of a family that is declared or may be tried.

    Raises:
        ModelError: it is not JSON, needs remote code, is packed in a way that cannot be read, or is refused by what it
            says.
    """
    check_place(folder, folder / "config.json")
    try:
        config = parse_object((folder / "config.json").read_bytes())
        family = config["model_type"]
    except (OSError, ValueError, KeyError):
        family = None
    if not isinstance(family, str) or not _FAMILY.fullmatch(family):
        raise ModelError(
            f"{shown(folder)}: expected config.json to be JSON with a model_type; it is not. Download or save it again"
        )
    if family not in names() and config.get("auto_map"):
        raise ModelError(
            f"{shown(folder)}: expected a family that transformers' own code runs; {family} brings its own code, which "
            f"is never run here. {another_family()}"
        )
    if family not in names() and (reason := refusal(config)):
        raise ModelError(f"{shown(folder)}: {family} is refused: {reason}. {another_family()}")
    check_stored(config, shown(folder))
    return config


def check_weights(folder: Path) -> list[Path]:
    """The safetensors files that are read, each readable.

    Raises:
        ModelError: there are none, only pickled ones, one is missing, is damaged, or lies elsewhere.
    """
    try:
        files = checkpoint.weight_files(folder)
    except (ValueError, KeyError, AttributeError, TypeError):
        raise ModelError(
            f"{shown(folder)}: expected {checkpoint.INDEX} to be JSON with a weight_map; it is damaged. Download or "
            "copy it again"
        ) from None
    if not files:
        pickled = [p.name for pattern in _PICKLED for p in folder.glob(pattern)]
        if pickled:
            raise ModelError(
                f"{shown(folder)}: expected safetensors weights; found only {pickled[0]}, a pickle file that could run "
                "any code when opened. Save the model again with save_pretrained, which writes safetensors"
            )
        raise ModelError(f"{shown(folder)}: expected weights (*.safetensors); found none. Copy or download them again")
    _check_names(folder, files)
    if missing := [f.name for f in files if not _is_file(f)]:
        raise ModelError(
            f"{shown(folder)}: expected {len(files)} weight files; {missing[0][:80]} is missing. Download it again"
        )
    for file in (*read_by_name(folder), *files):
        check_place(folder, file)
    for file in files:
        try:
            checkpoint.headers([file])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise ModelError(
                f"{shown(folder)}: expected {file.name} to be a safetensors file; it is damaged ({error}). Download or "
                "copy it again"
            ) from error
    return files


def _check_names(folder: Path, files: list[Path]) -> None:
    """Refuse weights under names that transformers does not look for."""
    if (folder / checkpoint.SINGLE).exists() or (folder / checkpoint.INDEX).exists():
        return
    found = files[0].name
    if found.startswith("consolidated"):
        todo = (
            "It holds the weights under the names of its makers' own program. Download the model in the form of "
            "transformers (model-*.safetensors and its index)"
        )
    elif re.fullmatch(r"model-\d+-of-\d+\.safetensors", found):
        todo = f"Download {checkpoint.INDEX} too"
    else:
        todo = f"If it is the whole model, rename it to {checkpoint.SINGLE}"
    raise ModelError(
        f"{shown(folder)}: expected weights in {checkpoint.SINGLE}, or in several files with {checkpoint.INDEX}; found "
        f"{found}. {todo}"
    )


def read_by_name(folder: Path) -> list[Path]:
    """Files that transformers may read from a folder besides the weights, and folders of templates."""
    inside = [file for part in folder.iterdir() if part.is_dir() for file in (part, *part.glob("*.jinja"))]
    return [*(file for file in folder.iterdir() if file.suffix in _READ), *inside]


def _is_file(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError:
        # the name is longer than any file's may be
        return False


def check_place(folder: Path, file: Path) -> None:
    """Links may lead anywhere in the folder, and from a snapshot of a Hub's cache to the files that it is made of."""
    allowed = [folder.resolve(), Path(constants.HF_HUB_CACHE).resolve()]
    if folder.resolve().parent.name == "snapshots":
        allowed.append(folder.resolve().parents[1] / "blobs")
    target = file.resolve()
    if not any(target.is_relative_to(place) for place in allowed):
        raise ModelError(
            f"{shown(folder)}: expected files of its own; {file.name} is a link that leads out of it. Copy the file "
            "into the folder"
        )
    if target.exists() and not target.is_file() and not target.is_dir():
        raise ModelError(
            f"{shown(folder)}: expected ordinary files; {file.name} is a pipe or a device. Take it out of the folder"
        )


def weights_hash(folder: Path, files: list[Path]) -> str:
    """A short hash of config and weights: of all their bytes up to 64 MB a file, of head, tail and size above."""
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for file in files:
        digest.update(f"{file.name}:{file.stat().st_size}".encode())
        hash_edges(digest, file)
    return digest.hexdigest()[:16]


def hash_edges(digest: Any, file: Path) -> None:
    """Add to a hash all bytes of a file up to 64 MB; of a larger one its head and tail."""
    edge, size = 32 << 20, file.stat().st_size
    with file.open("rb") as stream:
        for start in (0, *((max(edge, size - edge),) if size > edge else ())):
            stream.seek(start)
            # in pieces: weights are read at the same time, and take memory enough
            for _ in range(0, edge, _PIECE):
                digest.update(stream.read(_PIECE))
