"""How a token is shown: visible spaces and newlines, bytes of partial characters, specials, ids that nothing uses."""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from intravisto_core.errors import RequestError
from intravisto_core.records import Token

SPACE, NEWLINE, TAB = "␣", "⏎", "⇥"
_BYTE_PIECE = re.compile(r"^<0x([0-9A-Fa-f]{2})>$")
_CONTROL_PICTURES = 0x2400


@lru_cache(maxsize=1)
def _byte_of_character() -> dict[str, int]:
    """The byte-level BPE alphabet: printable Latin-1 stands for itself, other bytes for U+0100 onwards."""
    printable = {
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    }
    rest = (b for b in range(256) if b not in printable)
    return {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(rest)}


def visible(text: str) -> str:
    """Text with every character to be seen: spaces, newlines, controls; a text of invisible characters as its codes."""
    if text and all(unicodedata.category(c) in ("Cf", "Mn", "Me", "Zl", "Zp") for c in text):
        return "".join(f"⟨U+{ord(c):04X}⟩" for c in text)
    table = {" ": SPACE, "\n": NEWLINE, "\t": TAB}
    return "".join(table.get(c) or _printable(c) for c in text)


def _printable(c: str) -> str:
    if ord(c) < 0x20:
        return chr(_CONTROL_PICTURES + ord(c))
    category = unicodedata.category(c)
    if category == "Zs":
        return SPACE if c == "\u00a0" else c
    return "\ufffd" if category == "Cs" else "␡" if c == "\x7f" else c


class TokenReader:
    """Turns ids into tokens as people read them. Safe in threads: the tokenizer is not, so calls take turns."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._lock = threading.RLock()
        self._special = frozenset(tokenizer.all_special_ids)
        self._size = len(tokenizer)
        self._shown: dict[int, str] = {}

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        """Ids of a text.

        Raises:
            RequestError: it holds half of a character (a lone surrogate), which no encoding can write.
        """
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise RequestError(
                f"text: expected whole characters; got half of one (a lone surrogate) at {error.start}. Remove it"
            ) from None
        with self._lock:
            ids = self._tokenizer(text, add_special_tokens=add_special_tokens, verbose=False)["input_ids"]
        return [int(i) for i in ids]

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """The text of ids; ids beyond the tokenizer are left out."""
        known = [i for i in ids if i < self._size]
        with self._lock:
            return str(
                self._tokenizer.decode(
                    known, skip_special_tokens=skip_special_tokens, clean_up_tokenization_spaces=False
                )
            )

    def shown(self, token_id: int) -> str:
        """One token as a cell shows it; an id below 0 (blank) is empty."""
        if token_id < 0:
            return ""
        if token_id not in self._shown:
            self._shown[token_id] = self._show(token_id)
        return self._shown[token_id]

    def _show(self, token_id: int) -> str:
        if token_id >= self._size:
            return f"⟨unused {token_id}⟩"
        with self._lock:
            piece = self._tokenizer.convert_ids_to_tokens(token_id)
        if piece is None:
            return f"⟨unused {token_id}⟩"
        if token_id in self._special:
            return str(piece)
        if byte := _BYTE_PIECE.match(piece):
            return f"⟨{byte[1].upper()}⟩"
        text = self.decode([token_id], skip_special_tokens=False)
        if "\ufffd" in text and all(c in _byte_of_character() for c in piece):
            return "⟨" + " ".join(f"{_byte_of_character()[c]:02X}" for c in piece) + "⟩"
        if piece.startswith("▁") and not text.startswith(" "):
            text = " " + text
        return visible(text)

    def tokens(self, ids: Sequence[int], prompt_length: int) -> tuple[Token, ...]:
        """The tokens of a text whose first `prompt_length` are the prompt's."""
        return tuple(
            Token(
                id=i,
                text=self.decode([i], skip_special_tokens=False),
                shown=self.shown(i),
                position=p,
                is_prompt=p < prompt_length,
                is_special=i in self._special,
            )
            for p, i in enumerate(ids)
        )
