"""How a conversation is written for a model: by the template that comes with it, held to what the reader typed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from intravisto_core.errors import RequestError
from intravisto_core.limited import SECONDS, LimitedProgram, LimitReached, ProgramError
from intravisto_core.request import Turn

_MARK = "7f3e9c1d5a"
MARKS, SYSTEM = "marks", "system"


class ChatTemplate:
    """A template of a model. source: its text. variables: what it may name, as the special tokens."""

    def __init__(self, source: str, variables: dict[str, Any], seconds: float = SECONDS) -> None:
        self._program = LimitedProgram({"template": source, "variables": variables}, seconds)

    def what_is_broken(self) -> str:
        """Why the template cannot be read at all, or ""; nothing of it is run."""
        try:
            self._program.check()
        except (LimitReached, ProgramError) as error:
            return str(error)
        return ""

    def write(self, conversation: Sequence[Turn]) -> str:
        """The text of a conversation, up to where its answer begins.

        Templates are written for texts, or for lists of parts: where the first leaves out what the reader said, it is
        tried with the second.

        Raises:
            RequestError: the template is none, refuses these roles, leaves out a text, or does not come to an end.
        """
        lost, refused = "", None
        for in_parts in (False, True):
            try:
                written = self._program.ask(_messages(conversation, in_parts))
            except LimitReached as error:
                raise RequestError(
                    f"chat: this model's template was stopped: it {error}. Run the prompt without chat, or choose "
                    "another model"
                ) from None
            except ProgramError as error:
                if error.broken:
                    raise RequestError(
                        f"chat: this model's template cannot be read ({error}). Run the prompt without chat, or "
                        "correct the template in the model's folder"
                    ) from None
                refused = refused or error
                continue
            missing = _lost(conversation, written)
            if not missing:
                return str(written)
            lost = lost or missing
        roles = ", ".join(role for role, _ in conversation)
        if lost:
            raise RequestError(
                f"chat: this model's template leaves out the text of the {lost}, in a conversation of {roles}. "
                "Run the prompt without chat, or leave out that role"
            )
        raise RequestError(
            f"chat: this model's template refuses a conversation of {roles} ({refused}). Leave out a role, or change "
            "their order"
        )

    def own_system_prompt(self, conversation: Sequence[Turn]) -> str:
        """The system prompt that the template writes where the reader gave none, or ""."""
        if any(role == "system" for role, _ in conversation):
            return ""
        try:
            written, marked = self.write(conversation), self.write((("system", _MARK), *conversation))
        except RequestError:
            return ""
        before, found, after = marked.partition(_MARK)
        if not found or not (written.startswith(before) and written.endswith(after)):
            return ""
        return written[len(before) : len(written) - len(after)].strip()


def mark_tokens(
    conversation: Sequence[Turn], written: str, own: str, ids: Sequence[int], encode: Callable[[str], list[int]]
) -> tuple[str, ...]:
    """What the template wrote of a conversation, by id: "marks" of roles, or "system" for a system prompt of its own;
    "" for what the reader typed. Empty where that cannot be told, as where a template changes the texts.

    written: the conversation as text; own: the template's system prompt, or "". encode: ids of a text.
    """
    found = [MARKS] * len(ids)
    spans = _find_typed(conversation, written, own)
    for start, stop, kind in spans:
        first, last = encode(written[:start]), encode(written[:stop])
        if list(ids[: len(first)]) != first or len(last) > len(ids):
            return ()
        found[len(first) : len(last)] = [kind] * (len(last) - len(first))
    return tuple(found) if spans else ()


def _find_typed(conversation: Sequence[Turn], written: str, own: str) -> list[tuple[int, int, str]]:
    """Where the reader's texts stand, and the template's own system prompt: (start, stop, "" or "system"), in order;
    nothing where one of them is not there as it was typed.
    """
    wanted = [(own, SYSTEM)] if own else []
    found, at = [], 0
    for text, kind in (*wanted, *((text.strip(), "") for _, text in conversation)):
        start = written.find(text, at)
        if start < 0:
            return []
        at = start + len(text)
        found.append((start, at, kind))
    return found


def _messages(conversation: Sequence[Turn], in_parts: bool) -> list[dict[str, Any]]:
    return [
        {"role": role, "content": [{"type": "text", "text": text}] if in_parts else text} for role, text in conversation
    ]


def _lost(conversation: Sequence[Turn], written: str) -> str:
    """The first role whose text is not in what was written, or "".

    What an answer said before may be shortened, as its thoughts are; lists of parts printed as they are count as lost.
    """
    seen = " ".join(written.split())
    if "'type': 'text'" in seen and not any("'type': 'text'" in text for _, text in conversation):
        return conversation[0][0]
    for role, text in conversation:
        wanted = " ".join(text.split())
        forms = (wanted, *(json.dumps(text, ensure_ascii=ascii)[1:-1] for ascii in (False, True)))
        if role != "assistant" and not any(form in seen or form in written for form in forms):
            return role
    return ""
