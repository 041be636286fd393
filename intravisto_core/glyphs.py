"""How the text of a token is shown: visible spaces, newlines and controls, and the bytes of a part of a character."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

SPACE, NEWLINE, TAB, HARD_SPACE = "␣", "⏎", "⇥", "⍽"
_GLYPHS = {" ": SPACE, "\n": NEWLINE, "\t": TAB, "\u00a0": HARD_SPACE, "\x7f": "␡"}
_INVISIBLE = ("Cf", "Mn", "Me", "Zl", "Zp")  # a text of these alone shows nothing, or a mark on nothing
_CODED = ("Cc", "Cf", "Cn", "Zl", "Zp", "Zs")
_JOINERS = ("\u200c", "\u200d")
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
    """Text with every character to be seen: spaces, newlines, controls; what has no picture of its own as its code."""
    if text.isascii() and text.isprintable():
        return text.replace(" ", SPACE)
    alone = all(unicodedata.category(c) in _INVISIBLE for c in text)
    return "".join(_code(c) if alone else _GLYPHS.get(c) or _printable(c) for c in text)


def _code(c: str) -> str:
    return f"⟨U+{ord(c):04X}⟩"


def _printable(c: str) -> str:
    if ord(c) < 0x20:
        return chr(_CONTROL_PICTURES + ord(c))
    category = unicodedata.category(c)
    if category == "Cs":
        return "\ufffd"
    # joiners belong to the letters or pictures beside them; other format characters would move or hide text unseen
    return _code(c) if category in _CODED and c not in _JOINERS else c


def read_bytes(piece: str, text: str) -> bytes | None:
    """The bytes of a token that stands for bytes: of a byte fallback, or of a part of a character."""
    if byte := _BYTE_PIECE.match(piece):
        return bytes.fromhex(byte[1])
    table = _byte_of_character()
    if "\ufffd" not in text or any(c not in table for c in piece):
        return None
    raw = bytes(table[c] for c in piece)
    return raw if decode_whole(raw) is None else None


def decode_whole(raw: bytes) -> str | None:
    """The text of bytes, or None where they hold no whole characters."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return None
