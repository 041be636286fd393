"""What the Hub or the way to it says, in words that tell what to do."""

from __future__ import annotations

import errno
from typing import Any
from urllib.parse import urlparse

from huggingface_hub import constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    NotASafetensorsRepoError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    SafetensorsParsingError,
)

from intravisto_core.errors import HubError
from intravisto_core.records.memory import size

TOKENS = "https://huggingface.co/settings/tokens"


def said_by_the_hub() -> tuple[type[Exception], ...]:
    """The kinds of error that `explained` has words for."""
    return (HTTPError, HFValidationError, NotASafetensorsRepoError, SafetensorsParsingError, OSError)


def full_disk(source: str, needed: int, free: int) -> HubError:
    """Nothing of it was written."""
    return HubError(
        f"{source}: expected {size(needed)} of free disk for the download; {size(free)} are free. Make room, or set "
        "HF_HOME to a folder on a larger disk",
        "disk_full",
    )


def explained(error: Exception, source: str, revision: str, token: str) -> HubError:
    """The error in this program's words; a token never is among them.

    token: whose went along, "" for none: as "the token that was given".
    """
    said, kind = _words(error, source, revision, token)
    return HubError(f"{source}: {said}", kind)


def _words(error: Exception, source: str, revision: str, token: str) -> tuple[str, str]:
    status = _status(error)
    if status in (401, 403) and (host := _elsewhere(error)):
        return (
            f"the Hub's storage, {host}, does not give its files (status {status}). Check whether a proxy stands on "
            "the way",
            "unreachable",
        )
    if isinstance(error, GatedRepoError):
        page = f"https://huggingface.co/{source}"
        if token:
            return (
                f"its owner gives access on request, and the account of {token} has none yet. Accept the terms on "
                f"{page} with that account, or wait for the owner's answer",
                "gated",
            )
        return (
            f"its owner gives access on request, and expects a token. Accept the terms on {page}, make a token at "
            f"{TOKENS}, and give it: in HF_TOKEN, or in the app's field for it",
            "gated",
        )
    if isinstance(error, RevisionNotFoundError):
        return f"expected a branch, tag or commit of it; there is no {revision!r}. Check the revision", "not_found"
    if isinstance(error, RepositoryNotFoundError):
        hidden = f"{token} may not see it" if token else "it is private"
        then = "" if token else "; for a private model give a token"
        return (
            f"the Hub has no model of that name, or {hidden}. Check owner and name, letter by letter{then}",
            "not_found",
        )
    if status == 401:
        return f"the Hub does not accept {token or 'the token'}. Make a new one at {TOKENS}, and copy it whole", "token"
    if status == 403:
        return (
            f"{token or 'the token'} has not the right to read it. At {TOKENS}, let it read the contents of all "
            "repositories that you can access",
            "token",
        )
    if status == 404:
        return "the Hub has no such file or model any more. Check the name and the revision", "not_found"
    if status == 429:
        wait = _header(error, "retry-after")
        when = f"in {wait} s" if wait.isdecimal() else "in some minutes"
        help_ = "" if token else "; with a token the limit is higher"
        return f"the Hub limits how often it is asked, and that was too often. Try again {when}{help_}", "rate_limited"
    return _words_of_the_way(error, status)


def _words_of_the_way(error: Exception, status: int) -> tuple[str, str]:
    """Errors of network and disk, which have nothing to do with the model."""
    if isinstance(error, HFValidationError):
        return 'expected "demo", a folder, or a name on the Hub such as "openai-community/gpt2". Check it', "not_found"
    if isinstance(error, NotASafetensorsRepoError | SafetensorsParsingError):
        return "its safetensors headers could not be read. Choose another revision or model", "damaged"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; what was downloaded is kept. Make room and start it again", "disk_full"
    if isinstance(error, OfflineModeIsEnabled | LocalEntryNotFoundError):
        return "the Hub could not be asked, and it is not in the cache here. Check the connection", "unreachable"
    if isinstance(error, OSError) and not isinstance(error, HTTPError):
        why = error.strerror or type(error).__name__
        return (
            f"its files could not be written ({why}). Check the rights on the cache folder, {constants.HF_HUB_CACHE}",
            "disk_full",
        )
    if status:
        return f"the Hub has trouble of its own (status {status}). Try again in some minutes", "unreachable"
    return f"the Hub cannot be reached ({type(error).__name__}). Check the connection and HF_ENDPOINT", "unreachable"


def _status(error: Exception) -> int:
    response: Any = getattr(error, "response", None) if isinstance(error, HfHubHTTPError) else None
    return 0 if response is None else int(response.status_code)


def _elsewhere(error: Exception) -> str:
    """The server that said so, where it is not the Hub itself."""
    response: Any = getattr(error, "response", None)
    host = urlparse(str(response.request.url)).netloc
    return "" if host == urlparse(constants.ENDPOINT).netloc else host


def _header(error: Exception, name: str) -> str:
    response: Any = getattr(error, "response", None)
    return "" if response is None else str(response.headers.get(name, ""))
