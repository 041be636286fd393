"""What an edit does, and what is held against what (docs/methods.md §8)."""

from __future__ import annotations

from intravisto_core.sites.choice import Choice


class Ablation(Choice):
    """What takes the place of what is ablated (docs/methods.md §8)."""

    ZERO = "zero", "zero", "Nothing."
    MEAN = "mean", "mean", "The mean over this text, or over a set of prompts."
    RESAMPLE = "resample", "resampled", "The value of another text at the same position."


class EditKind(Choice):
    """What an intervention is to the eye: how the cells that it acts on are outlined."""

    INJECTED = "injected", "injected"
    ABLATED = "ablated", "ablated"
    SCALED = "scaled", "scaled"


class SteerUnit(Choice):
    """What a steering strength of 1 is."""

    STREAM = "stream", "length of the stream", "1 is the median length of what is steered, over positions from 1."
    ABSOLUTE = "absolute", "absolute", "1 is a vector of length 1."


class TextMode(Choice):
    """Which text an edited run reads (docs/methods.md §8)."""

    HELD = "held", "held", "The baseline's own tokens: every position can be compared."
    FREE = "free", "free", "The model goes on by itself: cells are compared as long as the texts are the same."


class Patching(Choice):
    """Which way a patch goes (docs/methods.md §8)."""

    DENOISE = "denoise", "denoise", "The corrupt text is run with values of the clean one: what brings the answer back?"
    NOISE = "noise", "noise", "The clean text is run with values of the corrupt one: what takes the answer away?"


class PatchMetric(Choice):
    """What is measured of a run in a patching grid (docs/methods.md §8)."""

    LOGIT_DIFF = "logit_diff", "logit difference", "Logit of the target less that of the contrast."
    PROBABILITY = "probability", "probability", "Probability of the target."
    KL = "kl", "KL from clean", "How far the prediction is from that of the clean run, in nats; 0 is the same."


class Alignment(Choice):
    """Which token of one prompt stands for which of another (docs/methods.md §8)."""

    SAME_LENGTH = "same_length", "one for one", "Both prompts have as many tokens, and each stands for its like."
    ENDS = "ends", "by both ends", "As far as both begin with the same tokens, and as far as both end with the same."
