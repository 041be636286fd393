"""Select boxes over closed sets, each option explained at hover."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from intravisto_core.sites import Choice
from intravisto_ui.parts.kept import kept


def choice(
    place: Any, label: str, key: str, options: tuple[Choice, ...], width: Any, why: str = "", off: str = ""
) -> Any:
    """One of the options, the first one at first. why: what else to say of them. off: why there is no choice now."""
    texts = [f"**{o.label}**: {o.help}" if o.help else f"**{o.label}**" for o in options]
    return kept(
        place.selectbox,
        label,
        key=key,
        default=options[0],
        valid=lambda v: v in options,
        options=options,
        format_func=lambda o: o.label,
        width=width,
        help=off or "  \n".join([*texts, why]),
        disabled=bool(off),
    )


def named(place: Any, label: str, key: str, names: Mapping[Any, str], help: str, default: Any, **how: Any) -> Any:
    """One of the keys of `names`, shown as its value."""
    return kept(
        place.selectbox,
        label,
        key=key,
        default=default,
        options=list(names),
        valid=lambda v: v in names,
        format_func=lambda v: names[v],
        help=help or None,
        **how,
    )
