"""Some files of a folder of a repository on the Hub, in the Hub's own cache, by the same way that models come."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from huggingface_hub import constants, is_offline_mode
from huggingface_hub.file_download import repo_folder_name

from intravisto_core.errors import HubError, ModelError
from intravisto_core.models.remote.hub_token import check_token
from intravisto_core.models.remote.repository import Repository
from intravisto_core.progress import Report

Choose = Callable[[Iterable[str]], list[str]]


def fetch_folder(
    source: str,
    folder: str,
    revision: str | None,
    token: str | None,
    choose: Choose,
    report: Report,
    what: str = "a dictionary in safetensors or npz",
) -> Path:
    """The folder of a repository, with the files that `choose` picks of all their names, each checked by its checksum.

    what: the files, in words.

    Raises:
        ModelError: there is nothing to choose.
        HubError: see `hub.snapshot`.
    """
    here = find_cached(source, revision, choose)
    if is_offline_mode():
        if here is None:
            raise HubError(
                f"{source}: {folder or 'its files'}: expected a copy in the Hub's cache on this machine, since this "
                "program is offline (HF_HUB_OFFLINE); there is none. Go online, or give a folder",
                "offline",
            )
        return here
    try:
        repository = Repository(source, revision, token and check_token(token), report)
        return _fetch(repository, folder, choose, what)
    except HubError as error:
        # a cached copy serves as well while the Hub cannot be asked whether there is a newer one
        if here is not None and error.kind in ("unreachable", "rate_limited"):
            return here
        raise


def _fetch(repository: Repository, folder: str, choose: Choose, what: str) -> Path:
    wanted = [repository.files[name] for name in choose(repository.files)]
    if not wanted:
        listed = sorted({name.rpartition("/")[0] for name in repository.files} - {""})
        near = [name for name in listed if name.startswith(folder)][:6]
        raise ModelError(
            f"{repository.source}: {folder or 'its top folder'}: expected {what}; there is none. "
            f"{'It has ' + ', '.join(near) + ', …' if near else 'Check the folder on its page'}"
        )
    repository.storage.mkdir(parents=True, exist_ok=True)
    with repository.alone():
        return repository.fetch(wanted)[0].parent


def find_cached(source: str, revision: str | None, choose: Choose) -> Path | None:
    """The folder in the Hub's cache, where files to choose are there, or None."""
    storage = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=source, repo_type="model")
    named = revision or constants.DEFAULT_REVISION
    ref = storage / "refs" / named
    snapshot = storage / "snapshots" / (ref.read_text().strip() if ref.is_file() else named)
    if not snapshot.is_dir():
        return None
    names = [p.relative_to(snapshot).as_posix() for p in snapshot.rglob("*") if p.is_file() or os.path.islink(p)]
    chosen = choose(names)
    return (snapshot / chosen[0]).parent if chosen else None
