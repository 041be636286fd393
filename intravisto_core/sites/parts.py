"""What the stream, or what one layer writes, is cut into (docs/methods.md §6, §7)."""

from __future__ import annotations

from intravisto_core.sites.choice import Choice


class Part(Choice):
    """A part of the final stream (docs/methods.md §6, direct logit attribution)."""

    EMBEDDING = "embedding", "token embedding"
    POSITION = "position", "position embedding"
    ATTENTION = "attention", "attention"
    MLP = "mlp", "MLP"
    HEAD = "head", "head"
    ATTENTION_BIAS = "attention_bias", "attention bias"
    NEURON = "neuron", "neuron"
    OTHER_NEURONS = "other_neurons", "other neurons"
    MLP_BIAS = "mlp_bias", "MLP bias"
    NORM_BIAS = "norm_bias", "final norm's bias"
    UNEMBED_BIAS = "unembed_bias", "unembedding's bias"


class Refinement(Choice):
    """How finely a partition of the final stream is cut (docs/methods.md §6)."""

    COMPONENTS = "components", "components"
    HEADS = "heads", "heads", "Attention by heads and bias."
    NEURONS = "neurons", "neurons", "Attention by heads and bias, MLPs by neurons and bias."


class LayerPart(Choice):
    """A part of what one layer writes (docs/methods.md §7)."""

    HEAD = "head", "head"
    NEURON = "neuron", "neuron"
    EXPERT = "expert", "expert"
    ATTENTION_BIAS = "attention_bias", "attention bias"
    MLP_BIAS = "mlp_bias", "MLP bias"
    OTHERS = "others", "others", "All that have no row of their own, added up."
    INTERVENTION = "intervention", "intervention", "What an edit put in place of what the layer writes."


class LayerWidth(Choice):
    """What is drawn as a width inside a layer (docs/methods.md §7)."""

    SIZE = "size", "size", "The length of what a part writes. Parts write against each other: sizes do not add up."
    PULL = "pull", "pull", "What a part adds to the target's logit, above the mean over the vocabulary. Pulls add up."
    VERSUS = "versus", "against", "What a part adds to the target's logit, less the contrast's. It adds up too."


class NeuronRanking(Choice):
    """How neurons are put in order (docs/methods.md §7)."""

    SIZE = "size", "size", "Length of what the neuron writes at the position."
    PULL = "pull", "pull", "What it adds to the target's logit at the position."
    ATTRIBUTION = (
        "attribution",
        "attribution over the text",
        "What it adds to the logit of the token that really comes next, a mean over all positions of the text.",
    )


class FeaturePart(Choice):
    """A part of what a dictionary makes of a vector (docs/methods.md §7)."""

    FEATURE = "feature", "feature"
    OTHERS = "others", "others", "All active features that have no row of their own, added up."
    BIAS = "bias", "bias", "What the dictionary writes whatever is active."
    SKIP = "skip", "skip", "What it writes straight from its input, past all features."
    ERROR = "error", "reconstruction error", "What the dictionary leaves out: the vector less all of the above."
