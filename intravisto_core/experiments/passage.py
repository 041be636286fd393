"""A text that is run for what the model says after a position: as it is, or under the edits of its run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.hooks import RemovableHandle
from transformers import DynamicCache

from intravisto_core.inspection.hooks import Handles
from intravisto_core.models import LoadedModel
from intravisto_core.tracing.attention import captured_by
from intravisto_core.tracing.edits import Edits
from intravisto_core.tracing.functions import Seen
from intravisto_core.tracing.hooks import capturing
from intravisto_core.tracing.slope_sink import SlopeSink

Watch = Callable[[], Iterable[RemovableHandle]]


def nothing() -> Iterable[RemovableHandle]:
    """No hooks."""
    return ()


@dataclass(frozen=True, slots=True)
class Passage:
    """ids: what is run. position: after which the model is asked. edits: of the run, or None. prompt_length: of it."""

    model: LoadedModel
    ids: tuple[int, ...]
    position: int
    edits: Edits | None = None
    prompt_length: int = 0

    @classmethod
    def of(
        cls, model: LoadedModel, ids: tuple[int, ...], position: int, edits: Edits | None, prompt_length: int
    ) -> Passage:
        """What has to be run of a text. A function is given the whole prompt at once, and may look at all of it."""
        stop = max(position + 1, prompt_length) if edits is not None and edits.have_functions else position + 1
        return cls(model, ids[:stop], position, edits, prompt_length)

    @property
    def tokens(self) -> Int[Tensor, "1 n"]:
        """The ids as the model takes them."""
        return torch.tensor([self.ids], device=self.model.device)

    @property
    def in_batches(self) -> bool:
        """Whether several texts of this length can be run at once."""
        return self.edits is None or self.edits.by_row

    @property
    def counts(self) -> list[int]:
        """Positions of each forward call: a function is called as in the run, for the prompt and for each token."""
        n = len(self.ids)
        if self.edits is None or not self.edits.have_functions:
            return [n]
        return [self.prompt_length] + [1] * (n - self.prompt_length)

    def run(self, tokens: Int[Tensor, "b n"], watch: Watch = nothing) -> Float[Tensor, "b V"]:
        """The logits after the position, of texts of this length; of one text where not `in_batches`.

        watch: makes hooks, which come after those of the edits.
        """
        if self.edits is None:
            with Handles(watch()):
                return run_last(self.model, tokens)
        return self._run_edited(self.edits, tokens, watch)

    def _run_edited(self, edits: Edits, tokens: Int[Tensor, "b n"], watch: Watch) -> Float[Tensor, "b V"]:
        model, counts = self.model, self.counts
        sink = SlopeSink(model, edits)
        edits.seen = Seen(sink, model.network, model.dimensions.n_layers, 0, {0: 0})
        past = DynamicCache(config=model.network.config) if len(counts) > 1 else None
        with ExitStack() as stack:
            stack.enter_context(capturing(model, sink))
            stack.enter_context(Handles(watch()))
            for part in tokens.split(counts, 1):
                last = sink.stop + part.shape[1] - 1
                back = max(1, last - self.position + 1)
                with sink.call(part.shape[1]), captured_by(sink):
                    found = run_row(model, part, back, **model.cached(past))
        return found


def run_last(model: LoadedModel, tokens: Int[Tensor, "b n"], **options: Any) -> Float[Tensor, "b V"]:
    """The model's logits after the last position."""
    return run_row(model, tokens, 1, **options)


def run_row(model: LoadedModel, tokens: Int[Tensor, "b n"], back: int, **options: Any) -> Float[Tensor, "b V"]:
    """The model's logits after the position that is `back` from the end, 1 the last."""
    if model.blueprint.keeps_last_logits:
        options["logits_to_keep"] = back
    out: Tensor = model.network(input_ids=tokens, **({"use_cache": False} | options)).logits
    return out[:, -back]
