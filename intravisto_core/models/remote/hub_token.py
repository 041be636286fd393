"""A token for the Hugging Face Hub, which is kept nowhere."""

from __future__ import annotations

import re

from intravisto_core.errors import RequestError

_TOKEN = re.compile(r"[\w.-]{4,500}", re.ASCII)


def check_token(token: str) -> str:
    """A token as it is sent, without the spaces around it.

    Raises:
        RequestError: it has characters that no token has; the message does not repeat it.
    """
    token = token.strip()
    if not _TOKEN.fullmatch(token):
        raise RequestError(
            "token: expected letters, digits, - and _, as huggingface.co/settings/tokens shows it; got something else"
        )
    return token
