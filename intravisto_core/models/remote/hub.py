"""A model on the Hugging Face Hub as a folder of this machine: the files that are read, whole, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import constants, is_offline_mode, try_to_load_from_cache

from intravisto_core.errors import HubError
from intravisto_core.models import adapters
from intravisto_core.models.files import checkpoint
from intravisto_core.models.gguf.header import GgufHeader, read_header
from intravisto_core.models.remote.hub_token import check_token
from intravisto_core.models.remote.repository import Repository
from intravisto_core.progress import Report, quiet
from intravisto_core.request import ModelSpec

_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?")
_ADAPTER = (adapters.CONFIG, adapters.WEIGHTS)


def is_id(source: str) -> bool:
    """Whether a source could be the name of a model on the Hub."""
    return bool(_ID.fullmatch(source)) and ".." not in source and "--" not in source


def cached(source: str, revision: str | None = None, file: str | None = None) -> Path | None:
    """The folder of a model that was downloaded whole, or None. file: the GGUF file that is asked for instead."""
    cache = Path(constants.HF_HUB_CACHE)
    if file is None:
        parts = [try_to_load_from_cache(source, name, cache_dir=cache, revision=revision) for name in _ADAPTER]
        if all(isinstance(part, str) for part in parts):
            return Path(str(parts[0])).parent
    found = try_to_load_from_cache(source, file or "config.json", cache_dir=cache, revision=revision)
    if not isinstance(found, str):
        return None
    if file is not None:
        return Path(found)
    here = Path(found).parent
    try:
        weights = checkpoint.weight_files(here)
    except (OSError, ValueError, KeyError):
        return None
    return here if weights and all(file.is_file() for file in weights) else None


def snapshot(
    source: str,
    revision: str | None,
    token: str | None,
    report: Report,
    asked: ModelSpec | None = None,
    file: str | None = None,
) -> Path:
    """The folder of a model, or its GGUF file; downloaded where it is not in the cache.

    report: bytes done and in all, and which file; what it raises stops the download, which goes on from there next
    time. asked: how it will be loaded. file: a GGUF file of the repository, alone.

    Raises:
        HubError: what stands in the way, with its kind and what to do.
        ModelError: what is there cannot be opened; said before the weights are downloaded.
    """
    if token is not None:
        token = check_token(token)
    here = cached(source, revision, file)
    if here is not None and (is_offline_mode() or re.fullmatch(r"[0-9a-f]{40}", revision or "")):
        return here
    if is_offline_mode():
        raise HubError(
            f"{source}: no folder of that name is here, nor a whole copy in the Hub's cache on this machine, and this "
            'program is offline (HF_HUB_OFFLINE). Check the name, go online, or choose "demo"',
            "offline",
        )
    try:
        return Repository(source, revision, token, report).download(asked, file)
    except HubError as error:
        # a cached copy serves as well while the Hub cannot be asked whether there is a newer one
        if here is not None and error.kind in ("unreachable", "rate_limited"):
            return here
        raise


def look(
    source: str, revision: str | None, token: str | None, file: str | None = None
) -> tuple[Path, list[checkpoint.TensorHeader]] | GgufHeader:
    """A model's folder, with its config alone, and the headers of its weights, without downloading these; or the header
    of its GGUF file.

    Raises:
        HubError: see `snapshot`.
    """
    here = cached(source, revision, file)
    if here is None and is_offline_mode():
        here = snapshot(source, revision, token, quiet, file=file)
    if here is None:
        return Repository(source, revision, token, quiet).look(file)
    if here.is_file():
        return read_header(here)
    return here, checkpoint.headers(checkpoint.weight_files(here))
