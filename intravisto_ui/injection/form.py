"""The form that makes an edit: what is done, at which site, layer and tokens, and with what."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import streamlit as st

from intravisto_core.errors import IntravistoError
from intravisto_core.request import TensorRef
from intravisto_core.sites import Site, SteerUnit, TokenVector
from intravisto_ui.injection import directions, fields, fit, help, read_back
from intravisto_ui.parts import edit_sources, edit_values, problems, token_field
from intravisto_ui.parts.containers import open_container
from intravisto_ui.parts.edit_values import FORM_KEY, KINDS, TokenSpan, Values
from intravisto_ui.parts.kept import draw_kept
from intravisto_ui.parts.presses import draw_press
from intravisto_ui.session.edit_tree import Card
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.workspace import Workspace

T = TypeVar("T")
Number = TypeVar("Number", int, float)


def draw(workspace: Workspace, base: Shown) -> None:
    """The form; its button adds a card, or saves the one that is being edited."""
    with st.container(border=True, key="edit_form"):
        editing = find_edited_card(workspace)
        if editing is None:
            _follow_selection(workspace, base)
        st.html(f'<div class="title"><b>{"Change this edit" if editing else "New edit"}</b></div>')
        what = fields.draw_choice("kind", "What", KINDS, help.KINDS)
        values: Values = {"kind": what} | _FORMS[what](workspace, base)
        if what == "inject" and values["token"]:
            _draw_forecast(workspace, base, values)
        line = st.container(horizontal=True, gap="small")
        # one primary button a page: Run, while something is to be run
        leads = editing is not None or not (workspace.edits.active_cards() and workspace.edits.is_stale())
        name = "Save the edit" if editing else "Add the edit"
        if draw_press(line.button, name, type="primary" if leads else "secondary", key="edit_add"):
            _save_card(workspace, base, values, editing)
        if editing:
            line.button("Leave it", key="edit_leave", on_click=_leave_card, args=(workspace,))


def _draw_forecast(workspace: Workspace, base: Shown, values: Values) -> None:
    try:
        what = edit_values.build_intervention(values)
    except IntravistoError:  # it is said when the edit is added
        return
    read_back.draw_forecast(workspace, base, what)


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
    edit_values.fill_form(workspace, {name: value for name, value in values.items() if value is not None})
    workspace.options["edit_id"] = card.id


def _follow_selection(workspace: Workspace, base: Shown) -> None:
    """Take over the cell that was selected since: the form is about what is looked at."""
    selection, seen = workspace.selection, workspace.options.get("edit_seen")
    workspace.options["edit_seen"] = selection.n
    if seen in (None, selection.n) or selection.row is None or selection.position is None:
        return
    n_layers = base.engine.model.n_layers
    layer = min(max(selection.row - 1, 0), n_layers - 1)
    place = {"layer": layer, "span": TokenSpan.CHOSEN, "positions": [selection.position]}
    edit_values.fill_form(workspace, place)


def find_edited_card(workspace: Workspace) -> Card | None:
    """The card whose values are in the form; None while a new edit is made."""
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
    values = {"token": token} | fields.draw_where(workspace, base, edit_values.STREAM_SITES, "stream_site")
    pair = st.columns(2)
    strategy = fields.draw_choice("strategy", "Replace", edit_values.STRATEGIES, help.STRATEGIES, pair[0])
    values["strategy"] = strategy
    if strategy == "main":
        tables = {lens: f"{lens.label} table" for lens in edit_values.LENSES}
        return values | {"lens": fields.draw_choice("lens", "Vector from", tables, help.DECODERS, pair[1])}
    site = Site(values["stream_site"])
    vectors, name = edit_values.list_vectors(site), edit_values.name_vector_field(site)
    vector = fields.draw_choice(name, "Vector", vectors, help.describe_vectors(vectors), pair[1])
    values["vector"] = vector
    if vector is TokenVector.WHITENED:
        values["read_lens"] = fields.draw_choice(
            "read_lens", "Reads back by", edit_values.READ_LENSES, help.READ_LENSES
        )
    return values | {
        "match_norm": fields.draw_toggle(
            "match_norm", "Scaled to what it replaces", True, "The new vector gets the length of the old one."
        )
    }


def _draw_ablate(workspace: Workspace, base: Shown) -> Values:
    values = fields.draw_where(workspace, base, edit_values.ALL_SITES, "site")
    values["how"] = fields.draw_choice("how", "Replaced by", edit_values.ABLATIONS, help.ABLATIONS)
    if values["how"] == "resample":
        values["source"] = edit_sources.draw_prompt_field(FORM_KEY + "source")
    if values["how"] == "set":
        values.update(edit_sources.draw_set_fields(FORM_KEY + "set"))
    return values


def _draw_steer(workspace: Workspace, base: Shown) -> Values:
    values: Values = {"steering": fields.draw_choice("steering", "How", edit_values.STEERING)}
    values["direction"] = directions.draw_field(workspace, base, FORM_KEY + "direction", "Direction")
    if values["steering"] == "swap":
        values["other"] = directions.draw_field(workspace, base, FORM_KEY + "other", "Other direction")
    values |= fields.draw_where(workspace, base, edit_values.STREAM_SITES, "stream_site")
    if values["steering"] == "steer":
        pair = st.columns(2)
        limits, why = (-1000.0, 1000.0), "Negative: away from it."
        values["strength"] = fields.draw_number("strength", "Strength", 1.0, limits, why, pair[0])
        helps = "  \n".join(f"**{u.label}**: {u.help}" for u in SteerUnit)
        values["unit"] = fields.draw_choice("unit", "In units of", {u: u.label for u in SteerUnit}, helps, pair[1])
    return values


def _draw_patch(workspace: Workspace, base: Shown) -> Values:
    values: Values = {"source": edit_sources.draw_prompt_field(FORM_KEY + "source")}
    values |= fields.draw_where(workspace, base, edit_values.ALL_SITES, "site")
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
    values["source_layer"] = fields.draw_choice("source_layer", "Layer of the other prompt", layers)
    return values


def _draw_scale(workspace: Workspace, base: Shown) -> Values:
    values = fields.draw_where(workspace, base, edit_values.ALL_SITES, "site")
    label = "Set to a number instead of multiplying"
    values["setting"] = fields.draw_toggle("setting", label, False, "Every entry gets it.")
    values["number"] = fields.draw_number("number", "Number" if values["setting"] else "Factor", 2.0, (-1e6, 1e6))
    return values


def _draw_attention(workspace: Workspace, base: Shown) -> Values:
    freeze = fields.draw_toggle(
        "freeze", "Freeze the pattern", False, "Keep who looks where as it was in the baseline, whatever else changes."
    )
    values: Values = {"freeze": freeze, "keys": []}
    if freeze:
        values |= {"layer": fields.draw_layer(workspace, base, open_container())}
    else:
        values |= fields.draw_layer_and_tokens(workspace, base, open_container(), "Tokens that look")
        values["keys"] = fields.draw_tokens(base, "keys", "no longer see", "The rest of what they see counts more.", 0)
    values["all_heads"] = fields.draw_toggle("all_heads", "All heads", True, "Otherwise one of them.")
    if not values["all_heads"]:
        values["head"] = fields.draw_number("head", "Head", 0, (0, base.engine.model.n_heads - 1))
    return values


_FORMS: dict[str, Callable[[Workspace, Shown], Values]] = {
    "inject": _draw_inject,
    "ablate": _draw_ablate,
    "steer": _draw_steer,
    "patch": _draw_patch,
    "scale": _draw_scale,
    "attention": _draw_attention,
}
