"""Texts that the user types, as tokens.

What a model brings for this is a program of strangers that may take seconds. A page that waits for it looks whether the
user has done something else, and ends it then.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from intravisto_core.engine import Engine
from intravisto_core.limited import Stop
from intravisto_core.records import Token
from intravisto_core.request import Turn
from intravisto_ui.session import interrupts

POLL_S = 0.1


def tokenize(
    engine: Engine, text: str, add_special_tokens: bool = True, *, chat: bool = False, messages: Sequence[Turn] = ()
) -> tuple[Token, ...]:
    """The tokens of a text; see `Engine.tokenize`. It is given up when the user does something else.

    Raises:
        IntravistoError: why the model cannot read it.
    """
    found: list[tuple[Token, ...]] = []
    failed: list[Exception] = []
    stop = Stop()

    def work() -> None:
        try:
            with stop.heeded():
                found.append(engine.tokenize(text, add_special_tokens, chat=chat, messages=messages))
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=work, name="intravisto-tokenizing", daemon=True)
    thread.start()
    try:
        while True:
            thread.join(POLL_S)
            if not thread.is_alive():
                break
            interrupts.heed()
    finally:
        stop.ask()
    if failed:
        raise failed[0]
    return found[0]
