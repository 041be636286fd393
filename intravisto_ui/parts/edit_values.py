"""The form's values as an intervention, and back, so that cards can be edited."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields
from enum import StrEnum
from typing import Any

from intravisto_core.errors import RequestError
from intravisto_core.request import (
    Ablate,
    FreezePattern,
    Intervention,
    KnockOut,
    Patch,
    PromptSet,
    RemoveDirection,
    Replace,
    ReplaceMain,
    Scale,
    SetValue,
    Steer,
    SwapDirection,
)
from intravisto_core.request.interventions import usual_vector
from intravisto_core.request.positions import Positions
from intravisto_core.sites import Lens, Site, TokenVector
from intravisto_ui.parts.kept import set_kept
from intravisto_ui.session.text import plural
from intravisto_ui.session.workspace import Workspace

KINDS = {
    "inject": "inject a token",
    "ablate": "ablate",
    "steer": "steer",
    "patch": "patch",
    "scale": "scale, set",
    "attention": "attention",
}
STREAM_SITES = {
    Site.RESID_POST: "block output",
    Site.RESID_MID: "after attention",
    Site.ATTN_OUT: "attention",
    Site.MLP_OUT: "MLP",
    Site.RESID_PRE: "block input",
}
ALL_SITES = {Site.ATTN_OUT: "attention", Site.MLP_OUT: "MLP", Site.Z: "a head", Site.ACT: "a neuron"} | STREAM_SITES
STRATEGIES = {"replace": "completely", "main": "main component"}
ABLATIONS = {
    "zero": "zero",
    "mean": "mean over this text",
    "set": "mean over prompts",
    "resample": "resampled from a prompt",
}
STEERING = {"steer": "add a direction", "remove": "remove a direction", "swap": "swap two directions"}
FORM_KEY = "edit_"
"""What the keys of the form's widgets begin with."""


class TokenSpan(StrEnum):
    """At which tokens an edit acts: some that are chosen, or a whole that follows the text."""

    CHOSEN = "tokens"
    PROMPT = "prompt"
    ALL = "all"


SPANS = {TokenSpan.CHOSEN: "chosen tokens", TokenSpan.PROMPT: "whole prompt", TokenSpan.ALL: "whole text"}
LENSES = (Lens.OUTPUT, Lens.LINEAR, Lens.QUADRATIC, Lens.INPUT)
READ_LENSES = {lens: f"{lens.label} lens" for lens in LENSES}

Values = dict[str, Any]


# the fields that name tokens of the text, and are empty for another one
OF_THE_TEXT = ("positions", "keys")


def fill_form(workspace: Workspace, values: Values) -> None:
    """Put values into the form's widgets, from a callback or before they are drawn."""
    own = {FORM_KEY + name: value for name, value in values.items() if name in OF_THE_TEXT}
    set_kept(**{FORM_KEY + name: value for name, value in values.items() if name not in OF_THE_TEXT})
    set_kept(of=None if workspace.base is None else workspace.base.text_id, **own)


def build_intervention(values: Values) -> Intervention:
    """The intervention that the form's values ask for.

    Raises:
        RequestError: something is missing, or does not go together.
    """
    return _BUILDERS[values["kind"]](values)


def _read_where(v: Values, site: Site) -> Values:
    where = {"site": site, "layer": v["layer"], "positions": _read_positions(v["span"], v["positions"])}
    if site == Site.Z:
        where["head"] = v["head"]
    if site == Site.ACT:
        where["neuron"] = v["neuron"] if v.get("expert") is None else (v["expert"], v["neuron"])
    return where


def _read_positions(span: str, chosen: Collection[int]) -> Positions:
    if span == TokenSpan.PROMPT:
        return "prompt"
    if span == TokenSpan.ALL:
        return "all"
    if not chosen:
        raise RequestError("positions: expected at least one token of the text; none is chosen")
    return tuple(sorted(chosen))


def _build_inject(v: Values) -> Intervention:
    if not v["token"]:
        raise RequestError("token: expected a text to inject; the field is empty")
    where = _read_where(v, v["stream_site"])
    if v["strategy"] == "main":
        return ReplaceMain(**where, token=v["token"], lens=v["lens"])
    chosen = {"lens": v["vector"], "read_lens": v.get("read_lens", Lens.OUTPUT), "match_norm": v["match_norm"]}
    return Replace(**where, token=v["token"], **chosen)


def _build_ablate(v: Values) -> Intervention:
    how, source = v["how"], None
    if how == "resample":
        source = v["source"]
        if not source:
            raise RequestError("source: expected a prompt to take the values from; the field is empty")
    if how == "set":
        how, prompts = "mean", [line for line in v["set"].splitlines() if line.strip()]
        if not prompts:
            raise RequestError("prompts: expected at least one to take the mean over; the field is empty")
        source = PromptSet(v["set_name"].strip() or plural(len(prompts), "prompt"), tuple(prompts))
    return Ablate(**_read_where(v, v["site"]), how=how, source=source)


def _build_steer(v: Values) -> Intervention:
    where = _read_where(v, v["stream_site"])
    for name in ("direction", "other") if v["steering"] == "swap" else ("direction",):
        if v.get(name) is None or v.get(name) == "":
            raise RequestError(f"{name}: expected a token or a saved direction; got none")
    if v["steering"] == "remove":
        return RemoveDirection(**where, direction=v["direction"])
    if v["steering"] == "swap":
        return SwapDirection(**where, source=v["direction"], target=v["other"])
    return Steer(**where, direction=v["direction"], strength=v["strength"], unit=v["unit"])


def _build_patch(v: Values) -> Intervention:
    if not v.get("source"):
        raise RequestError("source: expected a prompt to take the values from; the field is empty")
    return Patch(
        **_read_where(v, v["site"]),
        source=v["source"],
        source_positions=parse_positions(v["source_positions"]) or None,
        source_layer=v["source_layer"],
    )


def _build_scale(v: Values) -> Intervention:
    where = _read_where(v, v["site"])
    return SetValue(**where, value=v["number"]) if v["setting"] else Scale(**where, factor=v["number"])


def _build_attention(v: Values) -> Intervention:
    heads = "all" if v["all_heads"] else (v["head"],)
    if v["freeze"]:
        return FreezePattern(layer=v["layer"], heads=heads)
    if not v["keys"]:
        raise RequestError("keys: expected at least one token that is no longer seen; none is chosen")
    return KnockOut(
        layer=v["layer"],
        queries=_read_positions(v["span"], v["positions"]),
        keys=tuple(sorted(v["keys"])),
        heads=heads,
    )


_BUILDERS = {
    "inject": _build_inject,
    "ablate": _build_ablate,
    "steer": _build_steer,
    "patch": _build_patch,
    "scale": _build_scale,
    "attention": _build_attention,
}


def name_vector_field(site: Site) -> str:
    """The field of the token's vector: one for the stream and one for updates, whose first choices differ."""
    return "update_vector" if site.is_update else "vector"


def list_vectors(site: Site) -> dict[TokenVector, str]:
    """The vectors that can stand for a token at a site, the usual one first."""
    usual = usual_vector(site)
    return {vector: vector.label for vector in sorted(TokenVector, key=lambda v: v is not usual)}


def parse_positions(text: str) -> tuple[int, ...]:
    """Whole numbers from a typed list such as `3, 5 -1`.

    Raises:
        RequestError: something in it is no whole number.
    """
    try:
        return tuple(int(part) for part in text.replace(",", " ").split())
    except ValueError:
        raise RequestError(f"positions: expected whole numbers such as 3, 5, -1; got {text!r}") from None


def read_values(what: Intervention) -> Values:
    """The form's values that make an intervention, as far as the form can say it."""
    values: Values = {f.name: getattr(what, f.name) for f in fields(what)}
    name = type(what).__name__
    values["kind"] = next(kind for kind, names in _NAMES.items() if name in names)
    spot = values.pop("queries", values.pop("positions", TokenSpan.ALL))
    values["span"] = TokenSpan(spot) if spot in (TokenSpan.PROMPT, TokenSpan.ALL) else TokenSpan.CHOSEN
    values["positions"] = list(spot) if isinstance(spot, tuple) else []
    if values.get("site") in STREAM_SITES:
        values["stream_site"] = values["site"]
    values["strategy"] = "main" if name == "ReplaceMain" else "replace"
    if isinstance(what, Replace):
        values[name_vector_field(what.site)] = values.pop("lens")
    values["steering"] = {"RemoveDirection": "remove", "SwapDirection": "swap"}.get(name, "steer")
    if name == "SwapDirection":
        values["direction"], values["other"] = values.pop("source"), values.pop("target")
    if isinstance(what, Ablate):
        values |= _read_source(what)
    values["setting"], values["freeze"] = name == "SetValue", name == "FreezePattern"
    values["number"] = values.pop("factor", values.pop("value", 0.0))
    heads = values.pop("heads", "all")
    values["all_heads"] = heads == "all"
    if heads != "all":
        values["head"] = heads[0]
    values["keys"] = list(values.get("keys", ()))
    if isinstance(values.get("neuron"), tuple):
        values["expert"], values["neuron"] = values["neuron"]
    values["source_positions"] = " ".join(map(str, values.get("source_positions") or ()))
    return values


def _read_source(what: Ablate) -> Values:
    """A mean over one other prompt is one over a set of one."""
    if what.how != "mean" or what.source is None:
        return {"how": str(what.how)}
    if isinstance(what.source, str):
        return {"how": "set", "set": what.source, "set_name": "", "source": None}
    return {"how": "set", "set": "\n".join(what.source.prompts), "set_name": what.source.name, "source": None}


_NAMES = {
    "inject": ("Replace", "ReplaceMain"),
    "ablate": ("Ablate",),
    "steer": ("Steer", "RemoveDirection", "SwapDirection"),
    "patch": ("Patch",),
    "scale": ("Scale", "SetValue"),
    "attention": ("KnockOut", "FreezePattern"),
}
