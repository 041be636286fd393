"""How a dictionary of features reads its input (docs/methods.md §7)."""

from __future__ import annotations

from intravisto_core.sites.choice import Choice


class FeatureActivation(Choice):
    """How a dictionary decides which features are active (docs/methods.md §7)."""

    RELU = "relu", "ReLU", "Every feature whose input is above 0."
    JUMPRELU = "jumprelu", "JumpReLU", "Every feature whose input is above a threshold of its own."
    TOPK = "topk", "TopK", "The k features with the largest inputs."
    GATED = "gated", "gated", "Every feature that a gate of its own lets through."


class InputScaling(Choice):
    """What a dictionary does to its input first (docs/methods.md §7)."""

    NONE = "none", "none", "Nothing."
    LENGTH = "length", "length", "It is brought to a length of √d."
    LAYER_NORM = "layer_norm", "layer norm", "Its mean is taken away, and it is divided by its spread."
