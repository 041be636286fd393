"""The address of the page: a workspace's random id and short view options, so that a link reopens the same view."""

from __future__ import annotations

from typing import Any

import streamlit as st

from intravisto_core.sites import Choice, Colour, Component, Lens, NormPolicy, Reading, ShareMeasure

WORKSPACE = "w"
CHOICES: dict[str, type[Choice]] = {
    "component": Component,
    "lens": Lens,
    "colour": Colour,
    "norm": NormPolicy,
    "reading": Reading,
    "measure": ShareMeasure,
}
DEFAULTS: dict[str, Choice] = {
    "component": Component.BLOCK,
    "lens": Lens.OUTPUT,
    "colour": Colour.P_MAX,
    "reading": Reading.TOP,
    "measure": ShareMeasure.NORM,
}


def read_options(address: dict[str, str]) -> dict[str, Any]:
    """The view options that an address holds; what is not understood is left out."""
    found: dict[str, Any] = {}
    for name, kind in CHOICES.items():
        if address.get(name) in {str(c) for c in kind}:
            found[name] = kind(address[name])
    return found


def write(workspace_id: str, chosen: dict[str, Any]) -> None:
    """Put id and options into the address. Streamlit clears it at a page switch, so every run calls this."""
    wanted = {WORKSPACE: workspace_id}
    for name, kind in CHOICES.items():
        value = chosen.get(name)
        if isinstance(value, kind) and value is not DEFAULTS.get(name):
            wanted[name] = str(value)
    if dict(st.query_params) != wanted:
        st.query_params.from_dict(wanted)
