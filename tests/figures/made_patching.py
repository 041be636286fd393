"""Patching grids and sweeps made by hand, for the tests of their words and pictures."""

from __future__ import annotations

import numpy as np

from intravisto_core.records import PatchGrid, SweepGrid, Token
from intravisto_core.sites import Ablation, Patching, PatchMetric, Site

CLEAN = ("When", "␣Mary", "␣John", "␣to")
CORRUPT = ("When", "␣Mary", "␣Mary", "␣to")
# before layers 0 to 3: the third token holds it first, then the last
SHARES = np.array([[0, 0, 1.0, 0.0], [0, 0, 0.95, 0.02], [0, 0, 0.5, 0.4], [0, 0, 0.03, 0.96]])
LEAD = (4.0, -6.0)


def tokens(texts: tuple[str, ...]) -> tuple[Token, ...]:
    ids = {text: i for i, text in enumerate(dict.fromkeys((*CLEAN, *CORRUPT)))}
    return tuple(Token(ids[t], t.replace("␣", " "), t, i, True, False) for i, t in enumerate(texts))


def patch_grid(direction: str = "denoise", lead: tuple[float, float] = LEAD, **changed: object) -> PatchGrid:
    """The stream before four layers at four positions; the first two are equal in both prompts."""
    clean, corrupt = lead
    sign = 1 if direction == "denoise" else -1
    given: dict[str, object] = {
        "effects": sign * SHARES[None] * (clean - corrupt),
        "skipped": np.tile([True, True, False, False], (4, 1)),
        "estimates": sign * 0.5 * SHARES[None] * (clean - corrupt),
        "heads": None,
        "positions": np.arange(4),
        "what": Site.RESID_PRE,
        "noise_floors": np.array([0.25]),
        "metric": PatchMetric.LOGIT_DIFF,
    }
    given |= changed
    return PatchGrid(
        model="made",
        n_layers=4,
        direction=Patching(direction),
        clean_tokens=tokens(CLEAN),
        corrupt_tokens=tokens(CORRUPT),
        alignment=np.stack([np.arange(4)] * 2, 1),
        first_difference=2,
        layers=np.arange(4),
        cleans=np.array([clean]),
        corrupts=np.array([corrupt]),
        targets=(1,),
        contrasts=(2,),
        shown={1: "␣Mary", 2: "␣John"},
        **given,  # type: ignore[arg-type]
    )


def head_grid() -> PatchGrid:
    """Three heads in four layers: one carries 60 %, one works against it, one is below the floor."""
    shares = np.zeros((1, 4, 3))
    shares[0, 2] = [0.6, -0.2, 0.01]
    wholly = shares * (LEAD[0] - LEAD[1])
    none = np.zeros((4, 3), bool)
    return patch_grid(
        what=Site.Z, heads=np.arange(3), positions=np.array([2, 3]), effects=wholly, estimates=wholly, skipped=none
    )


def sweep_grid() -> SweepGrid:
    """Two heads in two layers over two prompts, each of which needs another one most."""
    effects = np.array([[[-3.0, 0.5], [0.0, 0.01]], [[-1.0, 0.5], [-2.0, 0.01]]])
    return SweepGrid(
        model="made",
        n_layers=2,
        what=Site.Z,
        how=Ablation.ZERO,
        where="the whole prompt",
        prompts=("to <Mary>", "to Tom"),
        layers=np.arange(2),
        heads=np.arange(2),
        metrics=np.array([5.0, 3.0]),
        effects=effects,
        noise_floors=np.array([0.1, 0.1]),
        targets=(1, 2),
        contrasts=(2, 1),
        shown={1: "␣Mary", 2: "␣Tom"},
        interval=np.stack([effects.min(0), effects.max(0)]),
    )
