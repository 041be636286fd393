"""The list of models to choose from, and whether it is all that may be chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from intravisto_core.models.offered import OfferedModel, offer_is_closed, offered_models
from intravisto_core.request import ModelSpec
from intravisto_ui.session import settings
from intravisto_ui.session.pool import list_offered

SECONDS = 60


@dataclass(frozen=True, slots=True)
class ModelList:
    """Models by a key that a widget can hold, in the order of the list. closed: no others can be asked for."""

    specs: dict[str, ModelSpec]
    words: dict[str, str]
    closed: bool


def read_models() -> ModelList:
    """The list of this server: fixed by a file or the public mode, else what is known and what lies in the cache."""
    fixed = settings.read().models
    offered = list_offered()
    if offered is not None:
        # while the service does not answer, the page still stands, and says so when it is asked
        return _name_models(offered or (ModelSpec(settings.DEMO),))
    if fixed is None:
        return _open_list()
    if offer_is_closed():
        return _list_models(offered_models(), closed=True)
    return _name_models(fixed)


def _name_models(fixed: Sequence[ModelSpec]) -> ModelList:
    return ModelList({_key(m): m for m in fixed}, {_key(m): settings.name(m.source) for m in fixed}, True)


@st.cache_resource(ttl=SECONDS, show_spinner=False)
def _open_list() -> ModelList:
    return _list_models(offered_models(), closed=False)


def _list_models(listed: Sequence[OfferedModel], closed: bool) -> ModelList:
    specs: dict[str, ModelSpec] = {}
    words: dict[str, str] = {}
    for offer in listed:
        key = _key(offer.spec)
        specs.setdefault(key, offer.spec)
        # the demo model is known by its name, and the box is narrow
        about = () if offer.spec.source == settings.DEMO else (offer.note, _where(offer))
        words.setdefault(key, " · ".join(part for part in (offer.name, *about) if part))
    return ModelList(specs, words, closed)


def _where(offer: OfferedModel) -> str:
    """Whether it is here already, or its owner must be asked first."""
    return "here" if offer.here else "gated" if offer.gated else ""


def _key(spec: ModelSpec) -> str:
    given = [spec.source, spec.revision, spec.quantisation]
    given += [value for value in (spec.dtype, spec.device_map) if value != "auto"]
    return " ".join(part for part in given if part)
