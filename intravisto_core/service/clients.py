"""Who may use the service: bearer tokens from a file, or this machine alone without them."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Mapping
from pathlib import Path

from intravisto_core.errors import IntravistoError, RequestError, expected
from intravisto_core.service.limits import Allowance, Usage

LOCAL = "local"
LEAST_CHARACTERS = 16
NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Refused(Exception):
    """Who asks is not known, or may not ask from there. status: of HTTP."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Clients:
    """Names of clients by their tokens, with what each may use.

    tokens: token by name; None lets this machine in without one. allowances: of names; others have `allowance`.
    """

    def __init__(
        self,
        tokens: Mapping[str, str] | None = None,
        allowance: Allowance | None = None,
        allowances: Mapping[str, Allowance] | None = None,
    ) -> None:
        self._names = None if tokens is None else {_digest(token): name for name, token in tokens.items()}
        self._allowance = allowance or Allowance()
        self._allowances = dict(allowances or {})
        self._usage: dict[str, Usage] = {}

    @property
    def has_tokens(self) -> bool:
        """Whether a token is asked for."""
        return self._names is not None

    def find(self, authorization: str | None, host: str | None) -> str:
        """The name of a client. authorization, host: headers of a request.

        Raises:
            Refused: no token or a wrong one; or, without tokens, another name of this machine than its own.
        """
        if self._names is None:
            # a page of another site may have its name lead here
            if _host_name(host or "") not in LOOPBACK:
                raise Refused(403, "host: expected 127.0.0.1 or localhost, since this service has no tokens")
            return LOCAL
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Refused(401, "token: expected the header Authorization: Bearer TOKEN; got none")
        digest = _digest(token.strip())
        found = [name for known, name in self._names.items() if hmac.compare_digest(known, digest)]
        if not found:
            raise Refused(401, "token: expected one that this service knows; got another one")
        return found[0]

    def usage(self, name: str) -> Usage:
        """What a client has used."""
        if name not in self._usage:
            self._usage[name] = Usage(self._allowances.get(name, self._allowance))
        return self._usage[name]


def read_clients(path: str | Path | None, allowance: Allowance) -> Clients:
    """Clients of a file of tokens, one a line: `name token [jobs=8 tokens=100000 bytes=… seconds=…]`; # begins a note.

    path: None lets this machine in without tokens.

    Raises:
        RequestError: the file cannot be read, or a line is something else. No message repeats a token.
    """
    if path is None:
        return Clients(allowance=allowance)
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        raise RequestError(expected("token file", "a file of tokens that can be read", why)) from None
    tokens: dict[str, str] = {}
    allowances: dict[str, Allowance] = {}
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) < 2 or not NAME.fullmatch(words[0]) or len(words[1]) < LEAST_CHARACTERS:
            raise RequestError(
                f"token file: expected in line {number} a name and a token of at least {LEAST_CHARACTERS} characters; "
                "got something else"
            )
        name = words[0]
        if name in tokens or words[1] in tokens.values():
            raise RequestError(f"token file: expected every name and token once; line {number} has one again")
        tokens[name] = words[1]
        try:
            allowances[name] = allowance.changed(words[2:])
        except IntravistoError as error:
            raise RequestError(f"token file: line {number}: {error}") from None
    if not tokens:
        raise RequestError(expected("token file", "at least one line: name token", "none"))
    return Clients(tokens, allowance, allowances)


def find_risks(path: Path | None) -> list[str]:
    """What whoever serves should know of a file of tokens."""
    if path is None or os.name != "posix" or not path.stat().st_mode & 0o077:
        return []
    return [f"token file: others on this machine may read or change {path}; chmod 600 {path}"]


def check_address(host: str, clients: Clients) -> None:
    """Without tokens a service listens to this machine alone.

    Raises:
        RequestError: another address.
    """
    if not clients.has_tokens and host not in LOOPBACK:
        raise RequestError(
            expected("host", "127.0.0.1, since there are no tokens", host, "Give --tokens FILE to let others in")
        )


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _host_name(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host
