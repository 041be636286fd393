"""Along which way heads are patched: which heads speak, and who alone hears them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import streamlit as st

from intravisto_core.errors import RequestError, expected
from intravisto_ui.parts.choices import draw_named_choice
from intravisto_ui.parts.kept import draw_kept
from intravisto_ui.session.shown import Shown

LOGITS = "logits"
RECEIVERS = {LOGITS: "the logits", "q": "queries of a head", "k": "keys of a head", "v": "values of a head"}
RECEIVER_HELP = (
    "Who alone hears what a head says: the logits, or what another head makes its queries, keys or values of. All else "
    "in the run stays as it was."
)
HEAD_HELP = "The head that hears, as L4H1: layer 4, head 1. Of keys and values the head that holds them (kv head)."
SENDER_HELP = "Heads that speak, as L1H0 or L1H0, L2H3. Empty: every head below the one that hears."
MLPS_HELP = "Off: the way is the stream alone. On: MLPs on the way read what they are given, and pass it on."
_HEAD = re.compile(r"L(\d{1,4})H(\d{1,4})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Way:
    """A way as it was typed."""

    receiver: str = LOGITS
    head: str = ""
    senders: str = ""
    through_mlps: bool = False

    def read(self) -> dict[str, Any]:
        """As a request of path patching takes it.

        Raises:
            RequestError: a head's name that cannot be read.
        """
        senders = [part for part in re.split(r"[\s,;]+", self.senders) if part]
        receiver: Any = LOGITS if self.receiver == LOGITS else (*read_head(self.head, "receiver"), self.receiver)
        return {
            "receiver": receiver,
            "sender": [read_head(part, "senders") for part in senders] or None,
            "through_mlps": self.through_mlps,
        }


def read_head(text: str, name: str) -> tuple[int, int]:
    """Layer and head of `L4H1`.

    Raises:
        RequestError: another text.
    """
    found = _HEAD.fullmatch(text.strip())
    if found is None:
        raise RequestError(expected(name, "a head, as L4H1", text or "nothing"))
    return int(found[1]), int(found[2])


def draw(base: Shown) -> Way:
    """The fields of a way, in a line of their own."""
    line = st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="patch_way")
    receiver = draw_named_choice(line, "From heads to", "patch_receiver", RECEIVERS, RECEIVER_HELP, LOGITS, width=170)
    last = base.engine.model.n_layers - 1
    texts = []
    for label, key, placeholder, help, off in (
        ("Head that hears", "patch_receiver_head", f"L{last}H0", HEAD_HELP, receiver == LOGITS),
        ("Heads that speak", "patch_senders", "every head below it", SENDER_HELP, False),
    ):
        texts.append(
            draw_kept(
                line.text_input,
                label,
                key=key,
                default="",
                placeholder=placeholder,
                help=help,
                disabled=off,
                width=150 if off or "receiver" in key else 190,
            )
        )
    through = draw_kept(line.checkbox, "Through MLPs", key="patch_mlps", default=False, help=MLPS_HELP)
    return Way(receiver, texts[0] or "", texts[1] or "", bool(through))
