"""What can be asked about the slope of a prediction (docs/methods.md §11)."""

from __future__ import annotations

from intravisto_core.records import Gradient, Saliency
from intravisto_core.request.base import View, frozen_request
from intravisto_core.request.checks import TokenChoice, TraceId, check_whole
from intravisto_core.sites import SaliencyMethod, SaliencyReference, Site

MOST_STEPS = 1024
MOST_DRAWS = 64


@frozen_request
class GradientView(View[Gradient]):
    """The slope of a logit (difference) along what the run computed at one site of one layer.

    target: a text (its first token counts) or a token id; None: the most probable token there. contrast: the token
    whose logit is taken off; None: the target's logit alone. position: the one that says the token; negatives count
    from the end of the text. site: `resid_pre, attn_out, resid_mid, mlp_out, resid_post, z` or `act`.
    """

    trace: TraceId
    target: TokenChoice = None
    contrast: TokenChoice = None
    site: Site = Site.RESID_PRE
    layer: int = 0
    position: int = -1


@frozen_request
class SaliencyView(View[Saliency]):
    """How much a logit (difference) depends on each token of the text.

    target, contrast: as in GradientView. position: the one that says the token; None is the last one of the prompt,
    negatives count from the end of the text. steps, reference: of integrated gradients; steps, 1 to 1,024, are doubled
    until the scores add up. draws, seed: of occlusion; how many other tokens are put in each place, 1 to 64, and the
    seed that draws them.
    """

    trace: TraceId
    target: TokenChoice = None
    contrast: TokenChoice = None
    position: int | None = None
    method: SaliencyMethod = SaliencyMethod.GRADIENT_INPUT
    steps: int = 32
    reference: SaliencyReference = SaliencyReference.MEAN
    draws: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        check_whole(self.steps, "steps", 1, MOST_STEPS)
        check_whole(self.draws, "draws", 1, MOST_DRAWS)
        check_whole(self.seed, "seed", 0)


GradientRequest = GradientView | SaliencyView
