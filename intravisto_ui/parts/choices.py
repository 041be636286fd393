"""Select boxes over closed sets, each option explained at hover."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from streamlit.delta_generator import DeltaGenerator

from intravisto_core.sites import Choice
from intravisto_ui.parts.containers import open_container
from intravisto_ui.parts.kept import draw_kept

Member = TypeVar("Member", bound=Choice)
T = TypeVar("T")
Width = int | Literal["stretch"]


def draw_choice(
    container: DeltaGenerator,
    label: str,
    key: str,
    options: tuple[Member, ...],
    width: Width,
    why: str = "",
    off: str = "",
    default: Member | None = None,
) -> Member:
    """One of the options, the default (the first one) at first. why: what else to say of them. off: why there is no
    choice now.
    """
    texts = [f"**{o.label}**: {o.help}" if o.help else f"**{o.label}**" for o in options]
    return draw_kept(
        container.selectbox,
        label,
        key=key,
        default=options[0] if default is None else default,
        valid=lambda v: v in options,
        options=options,
        format_func=lambda o: o.label,
        width=width,
        help=off or "  \n".join([*texts, why]),
        disabled=bool(off),
    )


def draw_named_choice(
    container: DeltaGenerator, label: str, key: str, names: Mapping[T, str], help: str, default: T, **how: Any
) -> T:
    """One of the keys of `names`, shown as its value. how: as a select box takes it."""
    return draw_kept(
        container.selectbox,
        label,
        key=key,
        default=default,
        options=list(names),
        valid=lambda v: v in names,
        format_func=lambda v: names[v],
        help=help or None,
        **how,
    )


def draw_segments(label: str, key: str, names: Mapping[T, str], default: T, **how: Any) -> T:
    """One of the keys of `names` as a row of buttons. how: as a segmented control takes it."""
    return draw_kept(
        open_container().segmented_control,
        label,
        key=key,
        default=default,
        valid=lambda v: v in names,
        options=list(names),
        format_func=lambda v: names[v],
        required=True,
        **how,
    )
