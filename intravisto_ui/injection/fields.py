"""The fields of the form of an edit: choices, numbers, and the place where it acts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from intravisto_core.sites import BlockKind, Site
from intravisto_ui.parts.choices import draw_named_choice
from intravisto_ui.parts.containers import open_container
from intravisto_ui.parts.edit_values import FORM_KEY, SPANS, TokenSpan, Values
from intravisto_ui.parts.kept import draw_kept
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.workspace import Workspace

T = TypeVar("T")
Number = TypeVar("Number", int, float)


def draw_choice(
    name: str, label: str, names: Mapping[T, str], help: str = "", container: DeltaGenerator | None = None
) -> T:
    """One of the keys of `names`, the first one at first."""
    container = container or open_container()
    return draw_named_choice(container, label, FORM_KEY + name, names, help, next(iter(names)))


def draw_number(
    name: str,
    label: str,
    default: Number,
    limits: tuple[Number, Number],
    help: str = "",
    container: DeltaGenerator | None = None,
) -> Number:
    """A number between limits, which counts both ends."""
    low, high = limits
    return draw_kept(
        (container or open_container()).number_input,
        label,
        key=FORM_KEY + name,
        default=default,
        valid=lambda v: type(v) is type(default) and low <= v <= high,
        min_value=low,
        max_value=high,
        help=help or None,
    )


def draw_toggle(name: str, label: str, default: bool, help: str) -> bool:
    """A switch."""
    return draw_kept(st.toggle, label, key=FORM_KEY + name, default=default, help=help)


def draw_tokens(base: Shown, name: str, label: str, help: str, first: int) -> list[int]:
    """Tokens of the text, by their positions. first: the one that is chosen at first."""
    names = [f"{t.position} {t.shown}" for t in base.trace.tokens]
    positions = list(range(len(names)))
    return list(
        draw_kept(
            st.multiselect,
            label,
            key=FORM_KEY + name,
            default=[first],
            of=base.text_id,
            valid=lambda v: isinstance(v, list) and all(p in positions for p in v),
            options=positions,
            format_func=names.__getitem__,
            help=help,
        )
    )


def draw_where(workspace: Workspace, base: Shown, sites: Mapping[Site, str], site_name: str) -> Values:
    """Site, layer and tokens; with the head or neuron where the site has them."""
    model = base.engine.model
    parallel = model.block == BlockKind.PARALLEL
    offered = {site: name for site, name in sites.items() if not (parallel and site is Site.RESID_MID)}
    pair = st.columns(2)
    site = draw_choice(site_name, "Where", offered, _describe_sites(parallel), pair[0])
    values: Values = {site_name: site}
    values |= draw_layer_and_tokens(workspace, base, pair[1], "Tokens")
    if site == Site.Z:
        values["head"] = draw_number("head", "Head", 0, (0, model.n_heads - 1))
    if site == Site.ACT:
        values |= _draw_neuron(model.d_mlp)
    return values


def _draw_neuron(d_mlp: int) -> Values:
    """A neuron, with its expert where the model has experts instead of one MLP (d_mlp is 0)."""
    help = "Its number in the MLP, from 0."
    if d_mlp:
        return {"neuron": draw_number("neuron", "Neuron", 0, (0, d_mlp - 1), help)}
    pair = st.columns(2)
    expert = draw_number("expert", "Expert", 0, (0, 1_000), "Shared experts come after the others.", pair[0])
    return {"expert": expert, "neuron": draw_number("neuron", "Neuron", 0, (0, 1_000_000), help, pair[1])}


def _describe_sites(parallel: bool) -> str:
    words = (
        "**block output**: the stream as it leaves the layer.  \n**after attention**: the stream between attention and "
        "MLP.  \n**attention**, **MLP**: what that part adds to the stream.  \n**block input**: the stream as it "
        "enters the layer; at layer 0 the embeddings."
    )
    return words + ("  \nThis model's blocks are parallel: nothing lies after attention." if parallel else "")


def draw_layer_and_tokens(workspace: Workspace, base: Shown, container: DeltaGenerator, label: str) -> Values:
    """The layer, and at which tokens; label: of the tokens."""
    n, position = len(base.trace.tokens), workspace.selection.position
    layer = draw_layer(workspace, base, container)
    span = draw_choice("span", label, SPANS, "The whole text includes what is generated later.")
    first = position if position is not None and position < n else n - 1
    chosen = draw_tokens(base, "positions", "At", "One or several tokens.", first) if span == TokenSpan.CHOSEN else []
    return {"layer": layer, "span": span, "positions": chosen}


def draw_layer(workspace: Workspace, base: Shown, container: DeltaGenerator) -> int:
    """The layer, at first that of the selected cell."""
    n_layers = base.engine.model.n_layers
    layers = {layer: f"layer {layer}" for layer in range(n_layers)}
    selected = min(max((workspace.selection.row or 1) - 1, 0), n_layers - 1)
    return draw_named_choice(container, "Layer", FORM_KEY + "layer", layers, "", selected)
