"""The form that makes an edit: what is done, at which site, layer and tokens, and with what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from intravisto_core.errors import IntravistoError
from intravisto_core.request import TensorRef
from intravisto_core.sites import BlockKind, Site, SteerUnit
from intravisto_ui.injection import directions, fit, help
from intravisto_ui.parts import edit_sources, edit_values, problems, token_field
from intravisto_ui.parts.choices import draw_named_choice
from intravisto_ui.parts.containers import open_container
from intravisto_ui.parts.edit_values import FORM_KEY, KINDS, SPANS, TokenSpan, Values
from intravisto_ui.parts.kept import draw_kept, set_kept
from intravisto_ui.session.edit_stack import Card
from intravisto_ui.session.workspace import Shown, Workspace

T = TypeVar("T")
Number = TypeVar("Number", int, float)


def draw(workspace: Workspace, base: Shown) -> None:
    """The form; its button adds a card, or saves the one that is being edited."""
    with st.container(border=True, key="edit_form"):
        editing = _find_edited_card(workspace)
        if editing is None:
            _follow_selection(workspace, base)
        st.html(f'<div class="title"><b>{"Change this edit" if editing else "New edit"}</b></div>')
        kind = _draw_choice("kind", "What", KINDS, help.KINDS)
        values: Values = {"kind": kind} | _FORMS[kind](workspace, base)
        line = st.container(horizontal=True, gap="small")
        if line.button("Save the edit" if editing else "Add the edit", type="primary", key="edit_add"):
            _save_card(workspace, base, values, editing)
        if editing:
            line.button("Leave it", key="edit_leave", on_click=_leave_card, args=(workspace,))


def load_card(workspace: Workspace, card: Card) -> None:
    """Put a card's values into the form, in a callback."""
    values = edit_values.read_values(card.what)
    for name in ("direction", "other"):
        if isinstance(ref := values.get(name), TensorRef):
            del values[name]
            values[f"{name}_from"] = "saved"
            values[f"{name}_saved"] = directions.store_array(workspace.edits, ref)
        elif name in values:
            values[f"{name}_from"] = "token"
    given = {FORM_KEY + name: value for name, value in values.items() if value is not None}
    set_kept(**given)
    workspace.options["edit_id"] = card.id


def _follow_selection(workspace: Workspace, base: Shown) -> None:
    """Take over the cell that was selected since: the form is about what is looked at."""
    selection, seen = workspace.selection, workspace.options.get("edit_seen")
    workspace.options["edit_seen"] = selection.n
    if seen in (None, selection.n) or selection.row is None or selection.position is None:
        return
    n_layers = base.engine.model.n_layers
    set_kept(
        **{
            FORM_KEY + "layer": min(max(selection.row - 1, 0), n_layers - 1),
            FORM_KEY + "span": TokenSpan.CHOSEN,
            FORM_KEY + "positions": [selection.position],
        }
    )


def _find_edited_card(workspace: Workspace) -> Card | None:
    return next((card for card in workspace.edits.cards if card.id == workspace.options.get("edit_id")), None)


def _leave_card(workspace: Workspace) -> None:
    workspace.options["edit_id"] = None


def _save_card(workspace: Workspace, base: Shown, values: Values, editing: Card | None) -> None:
    try:
        what = edit_values.build_intervention(values)
        fit.check(what, base)
    except IntravistoError as error:
        problems.draw_inline(error)
        return
    if editing:
        workspace.edits.replace_card(editing.id, what)
    else:
        workspace.edits.add(what)
    workspace.options["edit_id"] = None
    st.rerun()


def _draw_choice(
    name: str, label: str, names: Mapping[T, str], help: str = "", container: DeltaGenerator | None = None
) -> T:
    """One of the keys of `names`, the first one at first."""
    container = container or open_container()
    return draw_named_choice(container, label, FORM_KEY + name, names, help, next(iter(names)))


def _draw_number(
    name: str,
    label: str,
    default: Number,
    limits: tuple[Number, Number],
    help: str = "",
    container: DeltaGenerator | None = None,
) -> Number:
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


def _draw_toggle(name: str, label: str, default: bool, help: str) -> bool:
    return draw_kept(st.toggle, label, key=FORM_KEY + name, default=default, help=help)


def _draw_tokens(base: Shown, name: str, label: str, help: str, first: int) -> list[int]:
    names = [f"{t.position} {t.shown}" for t in base.trace.tokens]
    positions = list(range(len(names)))
    return list(
        draw_kept(
            st.multiselect,
            label,
            key=FORM_KEY + name,
            default=[first],
            valid=lambda v: isinstance(v, list) and all(p in positions for p in v),
            options=positions,
            format_func=names.__getitem__,
            help=help,
        )
    )


def _draw_where(workspace: Workspace, base: Shown, sites: Mapping[Site, str], site_name: str) -> Values:
    """Site, layer and tokens; with the head or neuron where the site has them."""
    model = base.engine.model
    parallel = model.block == BlockKind.PARALLEL
    offered = {site: name for site, name in sites.items() if not (parallel and site is Site.RESID_MID)}
    pair = st.columns(2)
    site = _draw_choice(site_name, "Where", offered, _describe_sites(parallel), pair[0])
    values: Values = {site_name: site}
    values |= _draw_layer_and_tokens(workspace, base, pair[1], "Tokens")
    if site == Site.Z:
        values["head"] = _draw_number("head", "Head", 0, (0, model.n_heads - 1))
    if site == Site.ACT:
        values |= _draw_neuron(model.d_mlp)
    return values


def _draw_neuron(d_mlp: int) -> Values:
    """A neuron, with its expert where the model has experts instead of one MLP (d_mlp is 0)."""
    help = "Its number in the MLP, from 0."
    if d_mlp:
        return {"neuron": _draw_number("neuron", "Neuron", 0, (0, d_mlp - 1), help)}
    pair = st.columns(2)
    expert = _draw_number("expert", "Expert", 0, (0, 1_000), "Shared experts come after the others.", pair[0])
    return {"expert": expert, "neuron": _draw_number("neuron", "Neuron", 0, (0, 1_000_000), help, pair[1])}


def _describe_sites(parallel: bool) -> str:
    words = (
        "**block output**: the stream as it leaves the layer.  \n**after attention**: the stream between attention and "
        "MLP.  \n**attention**, **MLP**: what that part adds to the stream.  \n**block input**: the stream as it "
        "enters the layer; at layer 0 the embeddings."
    )
    return words + ("  \nThis model's blocks are parallel: nothing lies after attention." if parallel else "")


def _draw_layer_and_tokens(workspace: Workspace, base: Shown, container: DeltaGenerator, label: str) -> Values:
    n, position = len(base.trace.tokens), workspace.selection.position
    layer = _draw_layer(workspace, base, container)
    span = _draw_choice("span", label, SPANS, "The whole text includes what is generated later.")
    first = position if position is not None and position < n else n - 1
    chosen = _draw_tokens(base, "positions", "At", "One or several tokens.", first) if span == TokenSpan.CHOSEN else []
    return {"layer": layer, "span": span, "positions": chosen}


def _draw_layer(workspace: Workspace, base: Shown, container: DeltaGenerator) -> int:
    n_layers = base.engine.model.n_layers
    layers = {layer: f"layer {layer}" for layer in range(n_layers)}
    selected = min(max((workspace.selection.row or 1) - 1, 0), n_layers - 1)
    return draw_named_choice(container, "Layer", FORM_KEY + "layer", layers, "", selected)


def _draw_inject(workspace: Workspace, base: Shown) -> Values:
    token = token_field.draw(
        open_container(),
        base.engine,
        "Token to put in",
        key=FORM_KEY + "token",
        placeholder='" Paris"',
        help="Its vector is put into the stream. Of several tokens the mean is taken.",
        several=token_field.MEAN_TAKEN,
    )
    values = {"token": token} | _draw_where(workspace, base, edit_values.STREAM_SITES, "stream_site")
    pair = st.columns(2)
    strategy = _draw_choice("strategy", "Replace", edit_values.STRATEGIES, help.STRATEGIES, pair[0])
    tables = {lens: f"{lens.label} table" for lens in edit_values.LENSES}
    lens = _draw_choice("lens", "Vector from", tables, help.DECODERS, pair[1])
    match_norm = strategy == "main" or _draw_toggle(
        "match_norm", "Scaled to what it replaces", True, "The new vector gets the length of the old one."
    )
    return values | {"strategy": strategy, "lens": lens, "match_norm": match_norm}


def _draw_ablate(workspace: Workspace, base: Shown) -> Values:
    values = _draw_where(workspace, base, edit_values.ALL_SITES, "site")
    values["how"] = _draw_choice("how", "Replaced by", edit_values.ABLATIONS, help.ABLATIONS)
    if values["how"] == "resample":
        values["source"] = edit_sources.draw_prompt_field(FORM_KEY + "source")
    if values["how"] == "set":
        values.update(edit_sources.draw_set_fields(FORM_KEY + "set"))
    return values


def _draw_steer(workspace: Workspace, base: Shown) -> Values:
    values: Values = {"steering": _draw_choice("steering", "How", edit_values.STEERING)}
    values["direction"] = directions.draw_field(workspace, base, FORM_KEY + "direction", "Direction")
    if values["steering"] == "swap":
        values["other"] = directions.draw_field(workspace, base, FORM_KEY + "other", "Other direction")
    values |= _draw_where(workspace, base, edit_values.STREAM_SITES, "stream_site")
    if values["steering"] == "steer":
        pair = st.columns(2)
        limits, why = (-1000.0, 1000.0), "Negative: away from it."
        values["strength"] = _draw_number("strength", "Strength", 1.0, limits, why, pair[0])
        helps = "  \n".join(f"**{u.label}**: {u.help}" for u in SteerUnit)
        values["unit"] = _draw_choice("unit", "In units of", {u: u.label for u in SteerUnit}, helps, pair[1])
    return values


def _draw_patch(workspace: Workspace, base: Shown) -> Values:
    values: Values = {"source": edit_sources.draw_prompt_field(FORM_KEY + "source")}
    values |= _draw_where(workspace, base, edit_values.ALL_SITES, "site")
    values["source_positions"] = draw_kept(
        st.text_input,
        "Tokens of the other prompt",
        key=FORM_KEY + "source_positions",
        default="",
        placeholder="the same places",
        help="Positions there, as many as here or one for all: 3 4 5. Negatives count from its end.",
    )
    layers: dict[int | None, str] = {None: "the same layer"}
    layers |= {layer: f"layer {layer}" for layer in range(base.engine.model.n_layers)}
    values["source_layer"] = _draw_choice("source_layer", "Layer of the other prompt", layers)
    return values


def _draw_scale(workspace: Workspace, base: Shown) -> Values:
    values = _draw_where(workspace, base, edit_values.ALL_SITES, "site")
    label = "Set to a number instead of multiplying"
    values["setting"] = _draw_toggle("setting", label, False, "Every entry gets it.")
    values["number"] = _draw_number("number", "Number" if values["setting"] else "Factor", 2.0, (-1e6, 1e6))
    return values


def _draw_attention(workspace: Workspace, base: Shown) -> Values:
    freeze = _draw_toggle(
        "freeze", "Freeze the pattern", False, "Keep who looks where as it was in the baseline, whatever else changes."
    )
    values: Values = {"freeze": freeze, "keys": []}
    if freeze:
        values |= {"layer": _draw_layer(workspace, base, open_container())}
    else:
        values |= _draw_layer_and_tokens(workspace, base, open_container(), "Tokens that look")
        values["keys"] = _draw_tokens(base, "keys", "no longer see", "The rest of what they see counts more.", 0)
    values["all_heads"] = _draw_toggle("all_heads", "All heads", True, "Otherwise one of them.")
    if not values["all_heads"]:
        values["head"] = _draw_number("head", "Head", 0, (0, base.engine.model.n_heads - 1))
    return values


_FORMS: dict[str, Callable[[Workspace, Shown], Values]] = {
    "inject": _draw_inject,
    "ablate": _draw_ablate,
    "steer": _draw_steer,
    "patch": _draw_patch,
    "scale": _draw_scale,
    "attention": _draw_attention,
}
