"""The form that makes an edit: what is done, at which site, layer and tokens, and with what."""

from __future__ import annotations

from typing import Any

import streamlit as st

from intravisto_core.errors import IntravistoError
from intravisto_core.request import TensorRef
from intravisto_core.sites import BlockKind, Lens, Site, SteerUnit
from intravisto_ui.injection import directions, fit
from intravisto_ui.injection import help as edit_help
from intravisto_ui.parts import edit_sources, edit_values, problems, token_field
from intravisto_ui.parts.choices import named
from intravisto_ui.parts.edit_values import AT, KINDS, LENSES, SPANS, Values
from intravisto_ui.parts.kept import kept, set_kept
from intravisto_ui.parts.place_actions import KEY
from intravisto_ui.session import workspace
from intravisto_ui.session.edit_stack import Card
from intravisto_ui.session.workspace import Shown, Workspace


def draw(here: Workspace) -> None:
    """The form; its button adds a card, or saves the one that is being edited."""
    shown = here.base
    assert shown is not None
    with st.container(border=True, key="edit_form"):
        editing = _editing(here)
        if editing is None:
            _follow(here, shown)
        st.html(f'<div class="title"><b>{"Change this edit" if editing else "New edit"}</b></div>')
        kind = _select("kind", "What", list(KINDS), KINDS.__getitem__, edit_help.KINDS)
        values: Values = {"kind": kind} | _FORMS[kind](here, shown)
        line = st.container(horizontal=True, gap="small")
        if line.button("Save the edit" if editing else "Add the edit", type="primary", key="edit_add"):
            _take(here, shown, values, editing)
        if editing:
            line.button("Leave it", key="edit_leave", on_click=_leave)


def load(here: Workspace, card: Card) -> None:
    """Put a card's values into the form, in a callback."""
    values = edit_values.values_of(card.what)
    for name in ("direction", "other"):
        if isinstance(ref := values.get(name), TensorRef):
            del values[name]
            values[f"{name}_from"] = "saved"
            values[f"{name}_saved"] = directions.known(here.edits, ref) if ref.content is not None else None
        elif name in values:
            values[f"{name}_from"] = "token"
    known = {KEY + name: value for name, value in values.items() if value is not None}
    set_kept(**known)
    here.options["edit_id"] = card.id


def _follow(here: Workspace, shown: Shown) -> None:
    """Take over the cell that was selected since: the form is about what is looked at."""
    place, seen = here.place, here.options.get("edit_seen")
    here.options["edit_seen"] = place.n
    if seen in (None, place.n) or place.row is None or place.position is None:
        return
    n_layers = shown.engine.model.n_layers
    set_kept(
        **{
            KEY + "layer": min(max(place.row - 1, 0), n_layers - 1),
            KEY + "span": AT,
            KEY + "positions": [place.position],
        }
    )


def _editing(here: Workspace) -> Card | None:
    return next((card for card in here.edits.cards if card.id == here.options.get("edit_id")), None)


def _leave() -> None:
    workspace.current().options["edit_id"] = None


def _take(here: Workspace, shown: Shown, values: Values, editing: Card | None) -> None:
    try:
        what = edit_values.built(values)
        fit.check(what, shown)
    except IntravistoError as error:
        problems.inline(error)
        return
    if editing:
        here.edits.put(editing.id, what)
    else:
        here.edits.add(what)
    here.options["edit_id"] = None
    st.rerun()


def _select(name: str, label: str, options: list[Any], words: Any = str, help: str = "", place: Any = st) -> Any:
    return named(place, label, KEY + name, {o: words(o) for o in options}, help, options[0])


def _number(name: str, label: str, default: Any, low: Any, high: Any, help: str = "", place: Any = st) -> Any:
    return kept(
        place.number_input,
        label,
        key=KEY + name,
        default=default,
        valid=lambda v: type(v) is type(default) and low <= v <= high,
        min_value=low,
        max_value=high,
        help=help or None,
    )


def _toggle(name: str, label: str, default: bool, help: str) -> bool:
    return bool(kept(st.toggle, label, key=KEY + name, default=default, help=help))


def _token_names(shown: Shown) -> list[str]:
    return [f"{t.position} {t.shown}" for t in shown.trace.tokens]


def _tokens(shown: Shown, name: str, label: str, help: str, first: int) -> list[int]:
    names = _token_names(shown)
    every = list(range(len(names)))
    return list(
        kept(
            st.multiselect,
            label,
            key=KEY + name,
            default=[first],
            valid=lambda v: isinstance(v, list) and all(p in every for p in v),
            options=every,
            format_func=names.__getitem__,
            help=help,
        )
    )


def _place(here: Workspace, shown: Shown, sites: dict[Site, str], site_name: str, label: str = "Tokens") -> Values:
    """Site, layer and tokens; with the head or neuron where the site has them."""
    card = shown.engine.model
    parallel = card.block == BlockKind.PARALLEL
    offered = [site for site in sites if not (parallel and site is Site.RESID_MID)]
    site = None
    values: Values = {}
    pair = st.columns(2)
    if offered:
        site = _select(site_name, "Where", offered, sites.__getitem__, _site_help(parallel), pair[0])
        values[site_name] = site
    values |= _layer_and_tokens(here, shown, pair[1], label)
    if site is Site.Z:
        values["head"] = _number("head", "Head", 0, 0, card.n_heads - 1)
    if site is Site.ACT:
        pair = st.columns(2)
        if not card.d_mlp:
            values["expert"] = _number(
                "expert", "Expert", 0, 0, 1_000, "Shared experts come after the others.", pair[0]
            )
        top, place = (card.d_mlp - 1, st) if card.d_mlp else (1_000_000, pair[1])
        values["neuron"] = _number("neuron", "Neuron", 0, 0, top, "Its number in the MLP, from 0.", place)
    return values


def _site_help(parallel: bool) -> str:
    words = (
        "**block output**: the stream as it leaves the layer.  \n**after attention**: the stream between attention and "
        "MLP.  \n**attention**, **MLP**: what that part adds to the stream.  \n**block input**: the stream as it "
        "enters the layer; at layer 0 the embeddings."
    )
    return words + ("  \nThis model's blocks are parallel: nothing lies after attention." if parallel else "")


def _layer_and_tokens(here: Workspace, shown: Shown, place: Any, label: str) -> Values:
    n, position = len(shown.trace.tokens), here.place.position
    layer = _layer(here, shown, place)
    span = _select("span", label, list(SPANS), SPANS.__getitem__, "The whole text includes what is generated later.")
    first = position if position is not None and position < n else n - 1
    chosen = _tokens(shown, "positions", "At", "One or several tokens.", first) if span == AT else []
    return {"layer": layer, "span": span, "positions": chosen}


def _inject(here: Workspace, shown: Shown) -> Values:
    token = token_field.draw(
        st,
        shown.engine,
        "Token to put in",
        key=KEY + "token",
        placeholder='" Paris"',
        help="Its vector is put into the stream. Of several tokens the mean is taken.",
        several=token_field.MEAN,
    )
    values = {"token": token} | _place(here, shown, edit_values.STREAM_SITES, "stream_site")
    names, pair = edit_values.STRATEGIES, st.columns(2)
    values["strategy"] = _select("strategy", "Replace", list(names), names.__getitem__, edit_help.STRATEGIES, pair[0])
    values["lens"] = _select(
        "lens", "Vector from", list(LENSES), lambda lens: f"{Lens(lens).label} table", edit_help.DECODERS, pair[1]
    )
    values["match_norm"] = values["strategy"] == "main" or _toggle(
        "match_norm", "Scaled to what it replaces", True, "The new vector gets the length of the old one."
    )
    return values


def _ablate(here: Workspace, shown: Shown) -> Values:
    values = _place(here, shown, edit_values.ALL_SITES, "site")
    names = edit_values.ABLATIONS
    values["how"] = _select("how", "Replaced by", list(names), names.__getitem__, edit_help.ABLATIONS)
    if values["how"] == "resample":
        values["source"] = edit_sources.field(KEY + "source")
    if values["how"] == "set":
        values.update(edit_sources.set_fields(KEY + "set"))
    return values


def _steer(here: Workspace, shown: Shown) -> Values:
    steering = edit_values.STEERING
    values = {"steering": _select("steering", "How", list(steering), steering.__getitem__)}
    values["direction"] = directions.field(here, shown, KEY + "direction", "Direction")
    if values["steering"] == "swap":
        values["other"] = directions.field(here, shown, KEY + "other", "Other direction")
    values |= _place(here, shown, edit_values.STREAM_SITES, "stream_site")
    if values["steering"] == "steer":
        pair = st.columns(2)
        values["strength"] = _number("strength", "Strength", 1.0, -1000.0, 1000.0, "Negative: away from it.", pair[0])
        helps = "  \n".join(f"**{u.label}**: {u.help}" for u in SteerUnit)
        values["unit"] = _select("unit", "In units of", list(SteerUnit), lambda u: SteerUnit(u).label, helps, pair[1])
    return values


def _patch(here: Workspace, shown: Shown) -> Values:
    values: Values = {"source": edit_sources.field(KEY + "source")}
    values |= _place(here, shown, edit_values.ALL_SITES, "site")
    values["source_positions"] = kept(
        st.text_input,
        "Tokens of the other prompt",
        key=KEY + "source_positions",
        default="",
        placeholder="the same places",
        help="Positions there, as many as here or one for all: 3 4 5. Negatives count from its end.",
    )
    n_layers = shown.engine.model.n_layers
    values["source_layer"] = _select(
        "source_layer",
        "Layer of the other prompt",
        [None, *range(n_layers)],
        lambda layer: "the same layer" if layer is None else f"layer {layer}",
    )
    return values


def _scale(here: Workspace, shown: Shown) -> Values:
    values = _place(here, shown, edit_values.ALL_SITES, "site")
    values["setting"] = _toggle("setting", "Set to a number instead of multiplying", False, "Every entry gets it.")
    label = "Number" if values["setting"] else "Factor"
    values["number"] = _number("number", label, 2.0, -1e6, 1e6)
    return values


def _attention(here: Workspace, shown: Shown) -> Values:
    freeze = _toggle(
        "freeze", "Freeze the pattern", False, "Keep who looks where as it was in the baseline, whatever else changes."
    )
    values: Values = {"freeze": freeze, "keys": []}
    if freeze:
        values |= {"layer": _layer(here, shown, st)}
    else:
        values |= _layer_and_tokens(here, shown, st, "Tokens that look")
        values["keys"] = _tokens(shown, "keys", "no longer see", "The rest of what they see counts more.", 0)
    values["all_heads"] = _toggle("all_heads", "All heads", True, "Otherwise one of them.")
    if not values["all_heads"]:
        values["head"] = _number("head", "Head", 0, 0, shown.engine.model.n_heads - 1)
    return values


def _layer(here: Workspace, shown: Shown, place: Any) -> int:
    n_layers = shown.engine.model.n_layers
    layers = {layer: f"layer {layer}" for layer in range(n_layers)}
    selected = min(max((here.place.row or 1) - 1, 0), n_layers - 1)
    return int(named(place, "Layer", KEY + "layer", layers, "", selected))


_FORMS = {
    "inject": _inject,
    "ablate": _ablate,
    "steer": _steer,
    "patch": _patch,
    "scale": _scale,
    "attention": _attention,
}
