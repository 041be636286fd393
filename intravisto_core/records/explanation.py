"""Where a token comes from: which words it uses, when it comes up, who adds to it, and what tests say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from intravisto_core.records.base import Array, Record, check_shapes, find_figures
from intravisto_core.records.model import Token
from intravisto_core.sites import ExplainTest, Part

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Explanation(Record):
    """Where a token comes from, alone or against a contrast (docs/methods.md §6).

    P parts of the final stream, in the order in which they are added; S readings of the stream on its way up; W parts
    whose words are listed, k words each; n tests. L layers, H heads, T positions of the text.
    """

    trace: str
    """The trace that it was read from, by its id."""
    model: str
    """Name of the model."""
    n_layers: int
    """L, how many layers the model has."""
    d_vocab: int
    """V, how many tokens the model can say."""
    prompt_length: int
    """Tokens of the prompt, BOS included."""
    tokens: tuple[Token, ...]
    """All T tokens of the text, prompt first."""
    position: int
    """The position that says the token."""
    target_id: int
    """Token id of the target."""
    contrast_id: int
    """Token id of the contrast; −1 where the target stands alone, held against the mean over the vocabulary."""
    target: str
    """The target as shown."""
    contrast: str
    """The contrast as shown, "" where there is none."""
    probability: float
    """The target's probability, by the model's own logits."""
    top_id: int
    """Token id of what the model says most probably there."""
    lead: float
    """The target's logit less the contrast's, by the model's own logits; NaN without a contrast."""
    stream_row: Int[Array, " S"]
    """Heatmap row of each reading, 0 to L."""
    stream_half: Array
    """What joined the stream last: text, "attention", "mlp", or "block" at row 0 and in parallel blocks."""
    rank: Int[Array, " S"]
    """Rank of the target under the output lens, 1 is the top."""
    stream_probability: Float[Array, " S"]
    """Its probability there."""
    contrast_rank: Int[Array, " S"]
    """Rank of the contrast; 0 where there is none."""
    contrast_probability: Float[Array, " S"]
    """Its probability there; NaN where there is none."""
    part_kind: Array
    """What each part is: text, a Part."""
    part_layer: Int[Array, " P"]
    """Its layer, −1 where it is of none."""
    part_index: Int[Array, " P"]
    """Its head, −1 for none."""
    part_value: Float[Array, " P"]
    """What it adds to the target's logit, less what it adds to the contrast's (or to the vocabulary's mean)."""
    part_own: Float[Array, " P"]
    """What it adds to the target's logit above the vocabulary's mean."""
    logit: float
    """What the parts add up to, before the soft-cap."""
    remainder: float
    """`logit` less Σ `part_value`."""
    soft_cap: float
    """The soft-cap of the logits, 0 for none."""
    looks_at: Int[Array, "L H"]
    """The position that each head attends to most from here; position 0 and the sinks of its layer aside; −1: none."""
    looks_at_weight: Float[Array, "L H"]
    """Its attention weight there."""
    sink_weight: Float[Array, "L H"]
    """Its attention weight at those that are set aside, and at learned sinks."""
    sinks: tuple[int, ...]
    """Position 0, and others before `position` that are sinks in half of the layers: the words set aside."""
    source: Float[Array, " T"]
    """Σ over layers and heads of the |direct contribution| from each position, logits; 0 after `position`."""
    word_part: Int[Array, " W"]
    """Which part each list of words belongs to, as its number among the P."""
    word_ids: Int[Array, "W k"]
    """The tokens that it writes most, or pushes down most, by angle; the strongest first."""
    word_down: Bool[Array, " W"]
    """Whether the list is of tokens that it pushes down."""
    word_rank: Int[Array, " W"]
    """Where the target, or the contrast where that moves more, stands in the list; 1 is the first."""
    shown: Mapping[int, str]
    """Each listed token id as text."""
    test_kind: Array | None = None
    """What each test took away: text, an ExplainTest; None without tests."""
    test_layer: Int[Array, " n"] | None = None
    """Its layer; −1 where a word was hidden in all layers."""
    test_index: Int[Array, " n"] | None = None
    """Its head, −1 for an MLP, or the position of the hidden word."""
    test_before: Float[Array, " n"] | None = None
    """The metric as it is: the lead in logits, or without a contrast the target's probability."""
    test_after: Float[Array, " n"] | None = None
    """The metric of the run with that taken away; NaN for a test that was not made yet."""
    noise: float = float("nan")
    """What a change of the metric must exceed to be more than rounding; NaN without tests."""
    notes: tuple[str, ...] = ()
    """Sentences that the reader must know."""

    def __post_init__(self) -> None:
        self._check(self.rank.shape, "stream_row stream_half stream_probability contrast_rank contrast_probability")
        self._check(self.part_value.shape, "part_kind part_layer part_index part_own")
        self._check(self.word_part.shape, "word_down word_rank")
        self._check(self.looks_at.shape, "looks_at_weight sink_weight")
        self._check((len(self.tokens),), "source")
        if self.test_kind is not None:
            self._check(self.test_kind.shape, "test_layer test_index test_before test_after")

    def _check(self, shape: tuple[int, ...], names: str) -> None:
        check_shapes(self, **{name: (getattr(self, name), shape) for name in names.split()})

    def _summary(self) -> tuple[str, ...]:
        against = f" against {self.contrast}" if self.has_contrast else ""
        return (f"{self.target}{against}", f"position {self.position}", self.model)

    @property
    def has_contrast(self) -> bool:
        """Whether the target is held against a token."""
        return self.contrast_id >= 0

    @property
    def metric(self) -> float:
        """What the tests measure, as it is: the lead, or without a contrast the target's probability."""
        return self.lead if self.has_contrast else self.probability

    @property
    def sentence(self) -> str:
        """What the numbers say, in plain sentences that are made by rules."""
        return str(find_figures("explanation_words").write_sentence(self))

    @property
    def rows(self) -> pd.DataFrame:
        """The target on its way up, from the bottom: row, half, rank, probability."""
        import pandas as pd

        columns = {"row": self.stream_row, "half": self.stream_half, "rank": self.rank}
        return pd.DataFrame(columns | {"probability": self.stream_probability})

    @property
    def moments(self) -> pd.DataFrame:
        """At most five steps at which it comes up, from the bottom: row, half, layer, what, rank_before, rank_after."""
        import pandas as pd

        found = find_figures("explanation_words").find_moments(self)
        names = ("row", "half", "layer", "what", "rank_before", "rank_after")
        return pd.DataFrame({name: [getattr(moment, name) for moment in found] for name in names})

    @property
    def parts(self) -> pd.DataFrame:
        """Every part of the final stream: kind, layer, index, value, and the metric without it where it was tested."""
        import pandas as pd

        columns = {"kind": self.part_kind, "layer": self.part_layer, "index": self.part_index}
        return pd.DataFrame(columns | {"value": self.part_value, "without": self.without})

    @property
    def heads(self) -> pd.DataFrame:
        """Every head, the largest value first: layer, head, value, looks_at (a position), weight."""
        import pandas as pd

        own = np.flatnonzero(self.part_kind == Part.HEAD)
        layer, head = self.part_layer[own], self.part_index[own]
        columns = {"layer": layer, "head": head, "value": self.part_value[own]}
        columns |= {"looks_at": self.looks_at[layer, head], "weight": self.looks_at_weight[layer, head]}
        return pd.DataFrame(columns).sort_values("value", ascending=False, kind="stable", ignore_index=True)

    @property
    def sources(self) -> pd.DataFrame:
        """The words by what heads bring from them, the largest first: position, token, contribution.

        Position 0 and the position itself are left out.
        """
        import pandas as pd

        between = np.arange(1, self.position)
        order = between[np.argsort(-self.source[between], kind="stable")]
        words = [self.tokens[j].shown for j in order]
        return pd.DataFrame({"position": order, "token": words, "contribution": self.source[order]})

    @property
    def tests(self) -> pd.DataFrame | None:
        """What was taken away, and the metric before and after: kind, index, layer, metric_before, metric_after.

        kind: "head" or "mlp" at the position alone, or "word", hidden from it in all layers. index: the head, −1 of an
        MLP, or the position of the word. None without tests.
        """
        import pandas as pd

        if self.test_kind is None or self.test_after is None:
            return None
        columns = {"kind": self.test_kind, "index": self.test_index, "layer": self.test_layer}
        table = pd.DataFrame(columns | {"metric_before": self.test_before, "metric_after": self.test_after})
        return table[~np.isnan(self.test_after)].reset_index(drop=True)

    @property
    def without(self) -> Float[Array, " P"]:
        """The metric without each part, (P,), NaN where it was not tested."""
        out = np.full(len(self.part_value), np.nan)
        for kind, layer, index, after in self._each_test():
            if kind is not ExplainTest.WORD:
                same = (self.part_kind == kind) & (self.part_layer == layer) & (self.part_index == index)
                out[same] = after
        return out

    @property
    def hidden(self) -> Float[Array, " T"]:
        """The metric when each word is hidden from the position, (T,), NaN where it was not tested."""
        out = np.full(len(self.tokens), np.nan)
        for kind, _, index, after in self._each_test():
            if kind is ExplainTest.WORD:
                out[index] = after
        return out

    def _each_test(self) -> list[tuple[ExplainTest, int, int, float]]:
        if self.test_kind is None or self.test_layer is None or self.test_index is None or self.test_after is None:
            return []
        columns = (self.test_layer.tolist(), self.test_index.tolist(), self.test_after.tolist())
        return list(zip(map(ExplainTest, self.test_kind.tolist()), *columns, strict=True))
