"""What patching shows: which values carry the difference of two prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from intravisto_core.errors import RequestError, TraceError, expected
from intravisto_core.records.base import Array, Record, Summarised, check_shapes
from intravisto_core.records.model import Token
from intravisto_core.sites import Patching, PatchMetric, Site

FLOORS_OF_WHOLE = 5


@dataclass(frozen=True, repr=False)
class PatchedPair(Summarised):
    """What a grid over several prompts is of in one of them: its two texts, and which of its cells need not run."""

    clean_tokens: tuple[Token, ...]
    """Tokens of the clean prompt."""
    corrupt_tokens: tuple[Token, ...]
    """Tokens of the corrupt prompt."""
    alignment: Int[Array, "k 2"]
    """Positions (clean, corrupt) that stand for each other, rising."""
    first_difference: int
    """The first clean position that can differ."""
    positions: Int[Array, " P"]
    """Clean positions: the columns, or of a grid by head the ones where every head is patched."""
    skipped: Bool[Array, "L C"]
    """Cells that need not run."""

    def _summary(self) -> tuple[str, ...]:
        return (f"{len(self.clean_tokens)} and {len(self.corrupt_tokens)} tokens",)


@dataclass(frozen=True, repr=False)
class PatchGrid(Record):
    """A run with values of the other prompt at each place (docs/methods.md §8): L layers × C positions or heads.

    n pairs of prompts, each draw of a made corruption a pair of its own. All tokens and positions are the
    first pair's. A cell that was not run yet, or cannot be, is NaN.
    """

    model: str
    """Name of the model."""
    n_layers: int
    """How many layers the model has."""
    what: Site
    """The site whose values are put in."""
    direction: Patching
    """ "denoise": the corrupt prompt is run with values of the clean one; "noise": the other way round."""
    metric: PatchMetric
    """What is measured of a run, after its last position."""
    clean_tokens: tuple[Token, ...]
    """Tokens of the clean prompt."""
    corrupt_tokens: tuple[Token, ...]
    """Tokens of the corrupt prompt."""
    alignment: Int[Array, "k 2"]
    """Positions (clean, corrupt) that stand for each other, rising."""
    first_difference: int
    """The first clean position that can differ; all before read the same tokens in both runs."""
    layers: Int[Array, " L"]
    """Layers, rising."""
    positions: Int[Array, " P"]
    """Clean positions: the columns, or of a grid by head the ones where every head is patched."""
    heads: Int[Array, " H"] | None
    """The heads that are the columns (kv heads for k and v); None of a grid by position."""
    effects: Float[Array, "n L C"]
    """m of the patched run less m of the run that receives, for each pair; NaN where not run. Exactly 0 if skipped."""
    skipped: Bool[Array, "L C"]
    """Cells that need not run in any pair, since they can change nothing."""
    cleans: Float[Array, " n"]
    """m of each clean run."""
    corrupts: Float[Array, " n"]
    """m of each corrupt run."""
    noise_floors: Float[Array, " n"]
    """Of each pair, the size up to which a change of m says nothing (docs/methods.md §8)."""
    targets: tuple[int, ...]
    """Id of the target, for each pair."""
    contrasts: tuple[int, ...]
    """Id of the contrast, for each pair; −1 where the metric has none."""
    shown: Mapping[int, str]
    """Targets and contrasts as text, by id."""
    estimates: Float[Array, "n L C"] | None = None
    """The change of m that one backward pass foretells, for each pair; None where it was not asked for or cannot be."""
    interval: Float[Array, "2 L C"] | None = None
    """95 % of the mean recovered share, by resampling pairs; None for fewer than two."""
    draws: int = 1
    """Of a made corruption, how many pairs in a row are draws of one prompt; n is a multiple of it."""
    made: str = ""
    """How the corrupt prompt was made of the clean one, "" where it was given."""
    path: str = ""
    """Of path patching, where the way leads from each head, such as "to the logits"; else ""."""
    cancelled: bool = False
    """Whether it was stopped before its end."""
    prompts: tuple[PatchedPair, ...] = ()
    """Of a grid over several prompts, each by itself; none where there is one."""
    notes: tuple[str, ...] = ()
    """Sentences that the reader must know."""

    def __post_init__(self) -> None:
        n, shape = len(self.cleans), self.skipped.shape
        columns = len(self.positions) if self.heads is None else len(self.heads)
        if shape != (len(self.layers), columns):
            raise TraceError(f"PatchGrid.skipped: expected shape {(len(self.layers), columns)}; got {shape}")
        each = {name: (getattr(self, name), (n,)) for name in ("corrupts", "noise_floors")}
        check_shapes(self, effects=(self.effects, (n, *shape)), estimates=(self.estimates, (n, *shape)), **each)
        check_shapes(self, interval=(self.interval, (2, *shape)), alignment=(self.alignment, (len(self.alignment), 2)))
        if n % self.draws:
            raise TraceError(f"PatchGrid.draws: expected a number that divides {n} pairs; got {self.draws}")
        if self.prompts and len(self.prompts) != n // self.draws:
            raise TraceError(f"PatchGrid.prompts: expected {n // self.draws}, or none; got {len(self.prompts)}")
        if not np.all(self.effects[:, self.skipped] == 0):
            raise TraceError("PatchGrid.effects: expected 0 where cells are skipped; got another number")

    @property
    def clean(self) -> float:
        """m of the clean run, a mean over pairs."""
        return float(self.cleans.mean())

    @property
    def corrupt(self) -> float:
        """m of the corrupt run, a mean over pairs."""
        return float(self.corrupts.mean())

    @property
    def noise_floor(self) -> float:
        """In units of m: a smaller effect says nothing; the largest over pairs."""
        return float(self.noise_floors.max())

    @property
    def effect(self) -> Float[Array, "L C"]:
        """m of the patched run less m of the run that receives, a mean over pairs."""
        return self.effects.mean(0)

    @property
    def each(self) -> Float[Array, "prompts L C"]:
        """The recovered share of each prompt: 0 where nothing happened, 1 where the other prompt's m is reached.

        Of several draws of one prompt the mean effect over the mean distance. NaN for a prompt whose two runs lie less
        than five noise floors apart.
        """
        sign = 1 if self.direction is Patching.DENOISE else -1

        def by_prompt(values: Array) -> Array:
            found: Array = values.reshape(-1, self.draws, *values.shape[1:])
            return found

        whole = by_prompt(self.cleans - self.corrupts).mean(1)
        floor = by_prompt(self.noise_floors).max(1)
        known = (whole != 0) & (np.abs(whole) >= FLOORS_OF_WHOLE * floor)
        share: Array = sign * by_prompt(self.effects).mean(1) / np.where(known, whole, np.nan)[:, None, None]
        return share

    @property
    def recovered(self) -> Float[Array, "L C"]:
        """The recovered share, a mean over prompts."""
        return self.each.mean(0)

    @property
    def estimate(self) -> Float[Array, "L C"] | None:
        """The effect that one backward pass foretells, in units of m, a mean over pairs; None where there is none."""
        return None if self.estimates is None else self.estimates.mean(0)

    @property
    def correlation(self) -> float:
        """Pearson's, of effects and estimates over cells that were run; NaN for fewer than 3, or without estimates."""
        if self.estimate is None:
            return float("nan")
        run = np.isfinite(self.effect) & ~self.skipped & np.isfinite(self.estimate)
        x, y = self.effect[run], self.estimate[run]
        if len(x) < 3 or not x.std() or not y.std():
            return float("nan")
        return float(np.corrcoef(x, y)[0, 1])

    @property
    def counts(self) -> Bool[Array, "L C"]:
        """Cells whose effect is above the noise floor."""
        return np.abs(np.nan_to_num(self.effect)) > self.noise_floor

    def with_interval(self, resample: Callable[[Array], Array]) -> PatchGrid:
        """The same with the interval that a function of `each` gives."""
        return replace(self, interval=resample(self.each))

    def choose_prompt(self, prompt: int) -> PatchGrid:
        """The grid of one prompt alone, counted from 0; itself where there is one.

        Raises:
            RequestError: there is no such prompt.
        """
        n = len(self.cleans) // self.draws
        if not 0 <= prompt < n:
            raise RequestError(expected("prompt", f"0 to {n - 1}", prompt))
        if n == 1:
            return self
        rows, own = slice(prompt * self.draws, (prompt + 1) * self.draws), self.prompts[prompt]
        named = ("cleans", "corrupts", "noise_floors", "targets", "contrasts", "effects", "estimates")
        cut: dict[str, Any] = {name: None if (value := getattr(self, name)) is None else value[rows] for name in named}
        texts = {f.name: getattr(own, f.name) for f in fields(own)}
        return replace(self, **texts, **cut, interval=None, prompts=())

    @property
    def n_run(self) -> int:
        """Cells of the first pair that were run or need not be."""
        return int(np.isfinite(self.effects[0]).sum())

    def _summary(self) -> tuple[str, ...]:
        columns = f"{len(self.positions)} positions" if self.heads is None else f"{len(self.heads)} heads"
        pairs = "" if len(self.cleans) == 1 else f"{len(self.cleans)} pairs"
        return (
            f"{self.what.value}: {len(self.layers)} layers × {columns}",
            self.direction.value,
            self.path,
            pairs,
            self.model,
        )
