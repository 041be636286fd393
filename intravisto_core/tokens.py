"""How texts and conversations become ids, and how a token is shown: specials, parts of characters, unused ids."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from intravisto_core.chat_template import ChatTemplate, mark_tokens
from intravisto_core.errors import RequestError
from intravisto_core.glyphs import decode_whole, read_bytes, visible
from intravisto_core.records import Token
from intravisto_core.request import Turn
from intravisto_core.sites import TokenKind

LONGEST_TEXT = 8_000_000


class TokenReader:
    """Turns ids into tokens as people read them. Safe in threads: the tokenizer is not, so calls take turns."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.is_limited = not getattr(tokenizer, "takes_turns", True)
        """Whether texts become ids in a process of its own, which may take seconds."""
        self._lock: AbstractContextManager[object] = nullcontext() if self.is_limited else threading.RLock()
        added = getattr(tokenizer, "added_tokens_decoder", {})
        self._special = frozenset({*tokenizer.all_special_ids, *(i for i, t in added.items() if t.special)})
        self._unknown = tokenizer.unk_token_id
        self._texts: dict[int, str] = {}
        self._known: dict[int, tuple[str, str, bool, TokenKind]] = {}
        self._n_ids = -1
        self._written_for: tuple[str, ChatTemplate] | None = None
        self._names: list[str] = []
        self._bytes: dict[int, bytes] = {}

    @property
    def _size(self) -> int:
        """One more than the highest id."""
        if self._n_ids < 0:
            with self._lock:
                self._n_ids = max(self._tokenizer.get_vocab().values(), default=-1) + 1
        return self._n_ids

    @property
    def has_chat_template(self) -> bool:
        """Whether the model says how a conversation is written for it."""
        return bool(self._template_source())

    def _template_source(self) -> str:
        """The text of the chat template, of several the usual one; or ""."""
        source = getattr(self._tokenizer, "chat_template", None)
        return str((source.get("default") if isinstance(source, dict) else source) or "")

    def hashes(self) -> tuple[str, str]:
        """Hashes of the vocabulary and of the chat template; "" where there is no template."""
        with self._lock:
            vocabulary = json.dumps(sorted(self._tokenizer.get_vocab().items()))
        return _hash(vocabulary), _hash(self._template_source()) if self.has_chat_template else ""

    def _template(self) -> ChatTemplate:
        source = self._template_source()
        if self._written_for is None or self._written_for[0] != source:
            named = {name: _plain(token) for name, token in self._tokenizer.special_tokens_map.items()}
            self._written_for = source, ChatTemplate(source, named)
        return self._written_for[1]

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        """Ids of a text.

        Raises:
            RequestError: it holds half of a character (a lone surrogate), which no encoding can write, or is longer
                than any model's context.
        """
        _check_whole(text)
        if len(text) > LONGEST_TEXT:
            raise RequestError(f"text: expected at most {LONGEST_TEXT:,} characters; got {len(text):,}. Shorten it")
        with self._lock:
            ids = self._tokenizer(text, add_special_tokens=add_special_tokens, verbose=False)["input_ids"]
        return [int(i) for i in ids]

    def encode_typed(self, text: str, name: str = "token") -> list[int]:
        """Ids of a text that a reader typed to name tokens, without special tokens. name: what the request calls it.

        Raises:
            RequestError: the text has no token.
        """
        ids = self.encode(text, add_special_tokens=False)
        if not ids:
            raise RequestError(f"{name}: expected a text of at least one token; got {text!r}")
        return ids

    def encode_chat(self, conversation: Sequence[Turn]) -> list[int]:
        """Ids of a conversation as the model's own template writes it, up to where its answer begins.

        The template writes the special tokens too, so none is put first again. It comes with the model, and runs in
        jinja's sandbox in a process of its own, with limits.

        Raises:
            RequestError: the model has no template, or the template refuses these roles, leaves out a text, or does not
                come to an end.
        """
        if not self.has_chat_template:
            raise RequestError("chat: expected a model with a chat template; this one has none. Run it without chat")
        for _, text in conversation:
            _check_whole(text)
        return self.encode(self._template().write(conversation), add_special_tokens=False)

    def find_template(self, conversation: Sequence[Turn], ids: Sequence[int]) -> tuple[str, ...]:
        """What the model's template wrote of a conversation with these ids, see `chat_template.mark_tokens`."""
        written, own = self._template().write(conversation), self.own_system_prompt(conversation)
        return mark_tokens(conversation, written, own, ids, lambda text: self.encode(text, False))

    def what_is_broken_in_template(self) -> str:
        """Why the model's chat template cannot be read, or ""; without one too."""
        return self._template().what_is_broken() if self.has_chat_template else ""

    def own_system_prompt(self, conversation: Sequence[Turn]) -> str:
        """The system prompt that the model's template writes of its own into a conversation, or ""."""
        return self._template().own_system_prompt(conversation) if self.has_chat_template else ""

    def doubled_start(self, ids: Sequence[int]) -> str:
        """The special token that a text begins with twice, as it is shown, or ""."""
        twice = len(ids) > 1 and ids[0] == ids[1] and ids[0] in self._special
        return self.shown(ids[0]) if twice else ""

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """The text of ids; ids beyond the tokenizer are left out."""
        known = [i for i in ids if i < self._size]
        with self._lock:
            return str(
                self._tokenizer.decode(
                    known, skip_special_tokens=skip_special_tokens, clean_up_tokenization_spaces=False
                )
            )

    def _text_of(self, token_id: int) -> str:
        """The text of one id, decoded once."""
        found = self._texts.get(token_id)
        if found is None:
            found = self._texts[token_id] = self.decode([token_id], skip_special_tokens=False)
        return found

    def _described(self, token_id: int) -> tuple[str, str, bool, TokenKind]:
        """Text, as shown, whether it is special, and kind of an id, found once."""
        found = self._known.get(token_id)
        if found is None:
            special = token_id in self._special
            found = (self._text_of(token_id), self.shown(token_id), special, self.kind(token_id))
            self._known[token_id] = found
        return found

    def shown(self, token_id: int) -> str:
        """One token as a cell shows it; an id below 0 (blank) is empty. Two ids are never shown alike."""
        if token_id < 0:
            return ""
        if token_id >= self._size:
            return _unused(token_id)
        self._read_vocabulary()
        return self._names[token_id]

    def kind(self, token_id: int) -> TokenKind:
        """What sort of token an id is."""
        self._read_vocabulary()
        if token_id == self._unknown:
            return TokenKind.UNKNOWN
        if token_id in self._special:
            return TokenKind.SPECIAL
        if token_id in self._bytes:
            return TokenKind.BYTES
        return TokenKind.UNUSED if self.shown(token_id) == _unused(token_id) else TokenKind.WORD

    def _read_vocabulary(self) -> None:
        """Name every id, once: all together takes a second where there are 128,000, one by one many."""
        if self._names:
            return
        with self._lock:
            if self._names or not self._size:
                return
            ids = range(self._size)
            pieces = self._tokenizer.convert_ids_to_tokens(ids)
            known = [i for i in ids if pieces[i] is not None]
            texts = self._tokenizer.batch_decode(
                [[i] for i in known], skip_special_tokens=False, clean_up_tokenization_spaces=False
            )
            names = [_unused(i) for i in ids]
            for i, text in zip(known, texts, strict=True):
                names[i] = self._name(i, pieces[i], text)
            self._names = _told_apart(names)

    def _name(self, token_id: int, piece: str, text: str) -> str:
        if token_id in self._special:
            return visible(str(piece))
        raw = read_bytes(piece, text)
        if raw is not None:
            self._bytes[token_id] = raw
            return f"⟨{raw.hex(' ').upper()}⟩"
        if piece.startswith(("▁", " ")) and not text.startswith(" "):
            text = " " + text
        return visible(text)

    def tokens(self, ids: Sequence[int], prompt_length: int, template: Sequence[str] = ()) -> tuple[Token, ...]:
        """The tokens of a text whose first `prompt_length` are the prompt's."""
        spelled = self._spelled(ids)
        whole = ("", 0)
        return tuple(
            Token(
                i,
                (own := self._described(i))[0],
                own[1],
                p,
                p < prompt_length,
                own[2],
                own[3],
                spells=spelled.get(p, whole)[0],
                part=spelled.get(p, whole)[1],
                template=template[p] if p < len(template) else "",
            )
            for p, i in enumerate(ids)
        )

    def _spelled(self, ids: Sequence[int]) -> dict[int, tuple[str, int]]:
        """By position: the characters that tokens of bytes make together, and which of these tokens it is."""
        self._read_vocabulary()
        found: dict[int, tuple[str, int]] = {}
        start, together = 0, b""
        for p, i in enumerate(ids):
            raw = self._bytes.get(i)
            if raw is None:
                start, together = p + 1, b""
                continue
            together += raw
            if (text := decode_whole(together)) is not None:
                found |= {start + n: (visible(text), n) for n in range(p + 1 - start)}
                start, together = p + 1, b""
        return found


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def _plain(token: Any) -> Any:
    return [str(t) for t in token] if isinstance(token, list | tuple) else str(token)


def _check_whole(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RequestError(
            f"text: expected whole characters; got half of one (a lone surrogate) at {error.start}. Remove it"
        ) from None


def _unused(token_id: int) -> str:
    return f"⟨unused {token_id}⟩"


def _told_apart(names: list[str]) -> list[str]:
    """Names of which no two are alike: of several, those after the first tell their id."""
    first: dict[str, int] = {}
    return [n if first.setdefault(n, i) == i else f"{n}⟨#{i}⟩" for i, n in enumerate(names)]
