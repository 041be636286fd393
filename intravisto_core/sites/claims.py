"""What is said of an edit or a part, and how it is tested (docs/methods.md §6, §9, §11)."""

from __future__ import annotations

from intravisto_core.sites.choice import Choice


class ExplainTest(Choice):
    """What a test of an explanation takes away (docs/methods.md §6)."""

    HEAD = "head", "head", "What one head writes at the position."
    MLP = "mlp", "MLP", "What one MLP writes at the position."
    WORD = "word", "word", "A word, hidden from the position in all layers."


class SaliencyMethod(Choice):
    """How the saliency of a token is measured (docs/methods.md §11)."""

    GRADIENT_INPUT = "gradient_input", "gradient × input", "The slope of the metric at the token's embedding, times it."
    INTEGRATED_GRADIENTS = (
        "integrated_gradients",
        "integrated gradients",
        "The mean slope on the way from a reference to the text, times the way: the scores add up to the whole change.",
    )
    OCCLUSION = "occlusion", "occlusion", "How much lower the metric is with other tokens in the token's place."


class SaliencyReference(Choice):
    """Where integrated gradients begin (docs/methods.md §11)."""

    MEAN = "mean", "mean embedding", "Every token's embedding is the mean over the vocabulary."
    ZERO = "zero", "zero", "Every token's embedding is 0."


class Effect(Choice):
    """Which way a claim says that an edit moves the metric (docs/methods.md §9)."""

    LOWERS = "lowers", "lowers"
    RAISES = "raises", "raises"

    @property
    def sign(self) -> int:
        """1 where it raises, −1 where it lowers."""
        return 1 if self is Effect.RAISES else -1


class ControlKind(Choice):
    """What an edit is held against (docs/methods.md §9)."""

    POSITION = "position", "another place", "The same edit at other positions of the text."
    PART = "part", "another head or neuron", "The same edit at another head, or another neuron, of the layer."
    DIRECTION = "direction", "a random direction", "A random vector as long as the change that the edit makes."
    PROMPT = "prompt", "the prompt shuffled", "The same edit in the prompt with its tokens in a random order."


class Ranking(Choice):
    """How the parts of a circuit are ranked (docs/methods.md §9)."""

    EAP_IG = "eap_ig", "EAP-IG", "Edge attribution along the way from the corrupt prompt's words to the clean one's."
    ATTRIBUTION = (
        "attribution",
        "attribution patching",
        "The slope at the clean prompt's run, times the change of each part.",
    )
    ACTIVATION = (
        "activation",
        "activation patching",
        "The clean prompt is run again with each part from the corrupt one.",
    )
    RANDOM = "random", "random", "By chance: what any other ranking is to beat."


class Verdict(Choice):
    """What a test of a claim came to (docs/methods.md §9)."""

    SUPPORTED = "supported", "supported"
    NOT_DISTINGUISHABLE = "not distinguishable from controls", "not distinguishable from controls"
    ANECDOTE = "n = 1: an anecdote", "n = 1: an anecdote"
