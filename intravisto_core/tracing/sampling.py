"""The next token: transformers' own processors, and draws from a counter generator (docs/methods.md §8)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from intravisto_core.errors import TraceError
from intravisto_core.request import Generation

# float32 has no smaller number that it could divide by
LEAST_TEMPERATURE = 1e-37


def compute_next_distribution(logits: Float[Tensor, " V"], generation: Generation) -> Float[Tensor, " V"]:
    """Probabilities of the next token after temperature, top-k and top-p, in that order, float32."""
    processors = LogitsProcessorList()
    if generation.temperature is not None:
        processors.append(TemperatureLogitsWarper(float(generation.temperature)))
    if generation.top_k is not None:
        processors.append(TopKLogitsWarper(generation.top_k))
    if generation.top_p is not None:
        processors.append(TopPLogitsWarper(generation.top_p))
    scores: Any = logits.float()[None]
    no_ids: Any = torch.empty((1, 0), dtype=torch.long, device=logits.device)
    # in float32 the sum over a large vocabulary loses the fifth digit
    probabilities: Tensor = processors(no_ids, scores)[0].double().softmax(-1).float()
    return probabilities


def choose_token(logits: Float[Tensor, " V"], generation: Generation, step: int) -> int:
    """The next token id: the most probable, or drawn with a number that depends on (seed, step) alone.

    Raises:
        TraceError: the logits are no numbers.
    """
    if generation.temperature is None or generation.temperature < LEAST_TEMPERATURE:
        return int(logits.argmax())
    probabilities = compute_next_distribution(logits, generation)
    if bool(probabilities.isnan().any()):
        if bool(logits.isnan().any()):
            raise TraceError("logits: expected numbers to draw a token by; the model gave NaN. Check its weights")
        # scores over a tiny temperature are infinite: all of the distribution is on the most probable token
        return int(logits.argmax())
    cumulative = probabilities.double().cumsum(-1)
    draw = np.random.Generator(np.random.Philox(key=generation.seed, counter=step)).random()
    index = torch.searchsorted(cumulative, draw * cumulative[-1], right=True)
    return int(index.clamp(max=cumulative.shape[0] - 1))
