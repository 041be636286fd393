"""How a vector is read as tokens, and what colours a cell of the heatmap."""

from __future__ import annotations

from intravisto_core.sites.choice import Choice


class Lens(Choice):
    """How a vector is turned into scores over the vocabulary (docs/methods.md §3)."""

    OUTPUT = "output", "output", "The model's own last step: final norm, then the output table (unembedding)."
    INPUT = "input", "input", "Compared with the input embeddings: which token does it look like?"
    LINEAR = "linear", "linear", "From the input table at the bottom to the output table at the top, evenly."
    QUADRATIC = "quadratic", "quadratic", "Like linear, but staying near the input table for longer."
    MAX = (
        "max",
        "max probability",
        "Input or output table, whichever is surer at this cell. Favours the table with longer rows.",
    )


class NormPolicy(Choice):
    """What is done to a vector before the table (docs/methods.md §3)."""

    FINAL = "final", "final norm", "The model's final norm, as before its own prediction."
    NORM_ONLY = "norm_only", "norm only", "Normalised without the learned scale and shift."
    NONE = "none", "none", "The vector as it is."
    STREAM = (
        "stream",
        "stream scale",
        "For updates: the scale of the stream they are added to, so small updates stay small.",
    )


class TokenVector(Choice):
    """Which vector stands for a token where it takes the place of another one (docs/methods.md §8)."""

    WHITENED = (
        "whitened",
        "whitened",
        "The vector that reads back as the token: its row, corrected for what all tokens' rows have in common.",
    )
    OUTPUT = (
        "output",
        "output table",
        "Its row of the output table, as it stands. It often reads back as another token.",
    )
    LINEAR = "linear", "linear mix", "A mix of both tables: the input table at the bottom, the output table at the top."
    QUADRATIC = "quadratic", "quadratic mix", "Like linear, but staying near the input table for longer."
    INPUT = "input", "input table", "Its row of the input table: what the model reads for it at the bottom."

    @property
    def table(self) -> Lens | None:
        """The lens whose table the row is taken from; None of a whitened one, which may be made for any."""
        return None if self is TokenVector.WHITENED else Lens(str(self))


class Reading(Choice):
    """What a cell lists (docs/methods.md §4)."""

    TOP = "top", "top tokens", "The most probable tokens."
    ITERATIVE = (
        "iterative",
        "iterative subtraction",
        "The top token, then the top of what is left without it, …",
    )
    DIFFERENCE = "difference", "difference from the row below", "What changed since the row below."


class TokenOrder(Choice):
    """How the tokens that an update raised or lowered are put in order (docs/methods.md §3)."""

    LOGIT = "logit", "change of logit", "By product: tokens with long rows in the table come first."
    ANGLE = "angle", "angle", "By the cosine with the token's direction: how long its row is does not count."


class Colour(Choice):
    """What colours a cell of the heatmap."""

    P_MAX = "p_max", "top probability", "Probability of the cell's top token."
    ENTROPY = "entropy", "entropy", "How undecided the cell is, in nats: 0 is certain."
    ATTENTION = "attention", "attention contribution", "Share of attention where it joins the stream."
    MLP = "mlp", "MLP contribution", "Share of the MLP where it joins the stream."
    LOGIT = "logit", "change of logit", "How far the top token's score is raised by this update."
    RANK = "rank", "rank of a token", "Place of the watched token among all tokens: 1 is the top."
    PROBABILITY = "probability", "probability of a token", "Probability of the watched token."
    KL_FINAL = (
        "kl_final",
        "KL from final",
        "How far the cell is from the model's own prediction there, in nats; 0 is the same.",
    )
    KL_BELOW = "kl_below", "KL from row below", "How far the prediction moved since the row below, in nats."
    NEXT = "next", "real next token", "Log-probability of the token that the text really goes on with; 0 is certain."
    CORRECT = "correct", "correctness", "Whether the cell's top token is the one that the text really goes on with."
    STREAM_NORM = "stream_norm", "length of the stream", "Length (norm) of the stream's vector at this row."
    COSINE = "cosine", "cosine with row below", "Does the stream point where it did a row below? 1 is the same."


class RankPalette(Choice):
    """What the rank of the target is coloured by, inside a layer."""

    DIVERGING = "diverging", "blue to orange", "Blue near the first, orange near the last, pale between."
    VIRIDIS = "viridis", "viridis", "Yellow near the first, dark violet near the last; even to every eye."
    CIVIDIS = "cividis", "cividis", "Yellow near the first, dark blue near the last; made for colour-blind eyes."
