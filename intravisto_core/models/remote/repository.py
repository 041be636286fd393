"""One revision of a model's repository on the Hugging Face Hub: what is in it, and its files, each fetched and checked.

Files go into the Hub's own cache, where every other program finds them too. They are fetched here, and not by
`snapshot_download`, so that a download can be stopped at once, goes on where it stopped, and is compared with its
checksum before anybody reads it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout
from huggingface_hub import HfApi, constants, get_token, hf_hub_download, try_to_load_from_cache
from huggingface_hub.file_download import repo_folder_name

from intravisto_core.errors import ModelError
from intravisto_core.models import adapters
from intravisto_core.models.files import checkpoint, folder
from intravisto_core.models.files.json_file import parse_object
from intravisto_core.models.gguf import gguf_files
from intravisto_core.models.gguf.header import GgufHeader, read_begun
from intravisto_core.models.quantisation import check_asked
from intravisto_core.models.remote import download
from intravisto_core.models.remote.download import Report as FileReport
from intravisto_core.models.remote.hub_errors import explained, full_disk, said_by_the_hub
from intravisto_core.models.remote.hub_token import check_token
from intravisto_core.progress import Report
from intravisto_core.request import ModelSpec

T = TypeVar("T")
_BESIDE_WEIGHTS = (
    *("generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
    *("added_tokens.json", "vocab.json", "merges.txt", "tokenizer.model", "spiece.model", "chat_template.jinja"),
)
_PICKLED = (".bin", ".pt", ".pth", ".ckpt")
_WAIT_S = 0.2


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a repository. size: bytes."""

    name: str
    size: int


class Repository:
    """One revision of a model's repository."""

    def __init__(self, source: str, revision: str | None, token: str | None, report: Report) -> None:
        self.source, self.token, self.report = source, token and check_token(token), report
        self.revision = revision or constants.DEFAULT_REVISION
        self.cache = Path(constants.HF_HUB_CACHE)
        self.storage = self.cache / repo_folder_name(repo_id=source, repo_type="model")
        # the environment's token, or the machine's login, goes along where none is given
        self.sent = "the token that was given" if token else "this machine's token (HF_TOKEN)" if get_token() else ""
        api = HfApi(token=self.token)
        report(0, 0, "asking the Hub")
        about: dict[str, Any] = {"files_metadata": True, "timeout": constants.DEFAULT_ETAG_TIMEOUT}
        info = self._ask(lambda: api.model_info(source, revision=revision, **about))
        self.commit = str(info.sha)
        self.files = {f.rfilename: RemoteFile(f.rfilename, int(f.size or 0)) for f in info.siblings or ()}

    def download(self, asked: ModelSpec | None, file: str | None = None) -> Path:
        """Everything that is read from a model folder; the config first, so that what is refused costs little. Or the
        one GGUF file that is asked for."""
        alone = self._gguf(file)
        self.storage.mkdir(parents=True, exist_ok=True)
        with self.alone():
            if alone is not None:
                return self.fetch([self.files[alone]])[0]
            if adapters.CONFIG in self.files:
                here, weights = self._small(adapters.CONFIG).parent, self._adapter()
            else:
                here = self._small("config.json").parent
                config = folder.read_config(here)
                if asked is not None:
                    check_asked(config, asked, self.source)
                weights = self._weights()
            self.fetch([self.files[name] for name in (*_BESIDE_WEIGHTS, *weights) if name in self.files])
        return here

    def fetch(self, wanted: list[RemoteFile]) -> list[Path]:
        """Files in the cache, one after the other, and that the revision is there.

        Raises:
            HubError: there is no room for them, or one cannot be downloaded.
        """
        self._check_room(wanted)
        paths, total, done = [], sum(file.size for file in wanted), 0
        for number, file in enumerate(wanted, start=1):
            named = file.name if len(wanted) == 1 else f"{file.name}, file {number} of {len(wanted)}"
            paths.append(self._get(file, partial(self._tell, done, total, named)))
            done += file.size
        self._remember_revision()
        return paths

    def _gguf(self, file: str | None) -> str | None:
        """The GGUF file that is read: the named one, or the only one of a repository that has no weights besides."""
        whole = (checkpoint.SINGLE, checkpoint.INDEX, adapters.CONFIG)
        if file is None and any(name in self.files for name in whole):
            return None
        return gguf_files.chosen(self.files, file, self.source)

    def _tell(self, before: int, total: int, file: str, done: int, doing: str) -> None:
        self.report(before + done, total, f"{doing} {file}")

    def look(self, file: str | None = None) -> tuple[Path, list[checkpoint.TensorHeader]] | GgufHeader:
        """The config's folder, and the headers of the weights by ranged requests; or a GGUF file's header."""
        if (alone := self._gguf(file)) is not None:
            return self._header(self.files[alone])
        if adapters.CONFIG in self.files:
            return self._small(adapters.CONFIG).parent, []
        here = self._small("config.json").parent
        self._weights()
        api = HfApi(token=self.token)
        found = self._ask(lambda: api.get_safetensors_metadata(self.source, revision=self.commit))
        entries = {
            name: {"shape": list(info.shape), "dtype": info.dtype, "data_offsets": info.data_offsets}
            for file in found.files_metadata.values()
            for name, info in file.tensors.items()
        }
        return here, checkpoint.parsed(entries)

    def _header(self, file: RemoteFile) -> GgufHeader:
        place = (self.source, file.name, self.commit, self.token)
        return read_begun(
            lambda start, stop: self._ask(partial(download.part, *place, start, stop)),
            file.size,
            f"{self.source}: {file.name}",
        )

    def _adapter(self) -> list[str]:
        if adapters.WEIGHTS in self.files:
            return [adapters.WEIGHTS]
        raise ModelError(
            f"{self.source}: expected an adapter in safetensors; this repository has no {adapters.WEIGHTS}, and pickle "
            "files are never opened. Choose another adapter, or tell its owner"
        )

    def _weights(self) -> list[str]:
        if checkpoint.SINGLE in self.files:
            return [checkpoint.SINGLE]
        if checkpoint.INDEX in self.files:
            return [checkpoint.INDEX, *self._shards()]
        expected = f"{self.source}: expected safetensors weights; this repository has"
        if (pickled := next((name for name in self.files if name.endswith(_PICKLED)), None)) is None:
            raise ModelError(f"{expected} none. Choose another model")
        raise ModelError(
            f"{expected} only {pickled}, a pickle file that could run any code when opened. {self._converted()}, or "
            "choose another model"
        )

    def _converted(self) -> str:
        """Where the pickled weights may have been converted, which nobody but the reader can trust."""
        api = HfApi(token=self.token)
        try:
            listed = list(api.get_repo_discussions(self.source, discussion_type="pull_request"))
        except said_by_the_hub():
            listed = []
        found = next((pr for pr in listed if "safetensors" in pr.title.lower() and pr.status != "closed"), None)
        if found is None or found.num is None:
            return "Look on its page for a pull request that converts it and name that as the revision (refs/pr/1)"
        return (
            f"Its pull request {found.num} (by {found.author}) says that it converts it: if you trust it, give the "
            f"revision refs/pr/{found.num} (in the app: {self.source}@refs/pr/{found.num})"
        )

    def _shards(self) -> list[str]:
        try:
            index = parse_object(self._small(checkpoint.INDEX).read_bytes())
            names = sorted(set(index["weight_map"].values()))
        except (ValueError, KeyError, AttributeError, TypeError):
            names = []
        missing = [name for name in names if name not in self.files]
        if names and not missing:
            return names
        found = f"it names {missing[0]}, which is not there" if missing else "it is damaged"
        raise ModelError(
            f"{self.source}: expected {checkpoint.INDEX} to name the files of the weights; {found}. Choose another "
            "revision, or tell its owner"
        )

    def _small(self, name: str) -> Path:
        if name not in self.files:
            raise ModelError(f"{self.source}: expected {name}; this repository has none. Choose another model")
        return self._get(self.files[name], lambda done, doing: self.report(0, 0, f"reading {name}"))

    def _get(self, file: RemoteFile, report: FileReport) -> Path:
        """One file in the cache, checked against its checksum."""
        found = try_to_load_from_cache(self.source, file.name, cache_dir=self.cache, revision=self.commit)
        if isinstance(found, str):
            report(file.size, download.DOWNLOADING)
            return Path(found)
        to = self.storage / "blobs"
        self._ask(lambda: download.fetch(self.source, file.name, self.commit, self.token, to, report))
        # the file itself is there: this only gives it its name
        named: dict[str, Any] = {"revision": self.commit, "token": self.token, "cache_dir": str(self.cache)}
        return Path(self._ask(lambda: hf_hub_download(self.source, file.name, **named)))

    def _ask(self, call: Callable[[], T]) -> T:
        """What the Hub answers, or its error in our words: its own holds the request, and so the token."""
        try:
            return call()
        except said_by_the_hub() as error:
            said = explained(error, self.source, self.revision, self.sent)
        raise said

    def _check_room(self, wanted: list[RemoteFile]) -> None:
        missing = [
            f.size
            for f in wanted
            if not isinstance(try_to_load_from_cache(self.source, f.name, self.cache, self.commit), str)
        ]
        begun = sum(p.stat().st_size for p in (self.storage / "blobs").glob(f"*{download.BEGUN}"))
        needed, free = sum(missing) - begun, shutil.disk_usage(self.storage).free
        if needed > free:
            raise full_disk(self.source, needed, free)

    def _remember_revision(self) -> None:
        if self.revision != self.commit:
            ref = self.storage / "refs" / self.revision
            ref.parent.mkdir(parents=True, exist_ok=True)
            ref.write_text(self.commit)

    def alone(self) -> AbstractContextManager[object]:
        """One download of a repository at a time on this machine."""
        lock = FileLock(self.storage / "intravisto.lock")
        while True:
            try:
                return lock.acquire(timeout=_WAIT_S)
            except Timeout:
                self.report(0, 0, f"waiting: {self.source} is being downloaded already")
