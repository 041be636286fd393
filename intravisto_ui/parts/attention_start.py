"""From a head or a position of another page to the attention page."""

from __future__ import annotations

from typing import Any

from intravisto_ui.session.workspace import Workspace

PAGE = "pages/attention.py"
GOAL = "attention_goal"


def start_attention_at(
    workspace: Workspace, layer: int, head: int, query: int, key: int | None = None, tab: str = "tokens"
) -> None:
    """Let the attention page open at a head, with the query frozen; key: a position that it looks at."""
    state: dict[str, Any] = {"heads": f"L{layer}H{head}", "query": query, "lockQuery": True, "link": None, "tab": tab}
    if key is not None:
        state |= {"key": key, "lockKey": True}
    workspace.select_cell(layer + 1, query)
    workspace.select_head(head)
    before = workspace.options.get(GOAL) or {}
    workspace.options[GOAL] = {"n": int(before.get("n", 0)) + 1, "state": state}
