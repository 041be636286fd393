"""What every lens promises; those that are trained on a model name the unembedding that they belong to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from intravisto_core.errors import ModelError, RequestError
from intravisto_core.lenses.unembedding import hash_unembedding
from intravisto_core.models import LoadedModel
from intravisto_core.sites import Lens, NormPolicy


@dataclass(frozen=True, slots=True)
class LensConfig:
    """Which lens it is. Decoded cells are stored under it, so two lenses with equal configs must read alike.

    artefact: the hash of what was trained; empty where the lens reads the model's own tables alone.
    unembedding: the hash of the unembedding that it was trained with; empty where it fits every model.
    """

    kind: Lens
    artefact: str = ""
    unembedding: str = ""


@dataclass(frozen=True, slots=True)
class Projection:
    """Vectors ready for the tables: logits are `cap((1−a) E x̂ + a (U x̂ + b_U))`.

    x_hat: (n, d). mix: a (n,), 0 the input table, 1 the output table. bias: whether b_U is added.
    capped: logit scale and soft-cap; an update has the scale only.
    """

    x_hat: Float[Tensor, "n d"]
    mix: Float[Tensor, " n"]
    bias: bool = True
    capped: bool = True


class VocabularyLens(ABC):
    """How vectors of the stream are turned into scores over the vocabulary. Equal and hashed by its config."""

    compares_tables = False
    """Whether each cell is read from both tables, and the surer one is taken."""

    @property
    @abstractmethod
    def config(self) -> LensConfig:
        """Which lens it is."""

    @property
    @abstractmethod
    def ends_at_the_model(self) -> bool:
        """Whether its row L+1 is the model's own prediction."""

    @abstractmethod
    def mix(self, rows: Int[Tensor, " n"], n_layers: int) -> Float[Tensor, " n"]:
        """The share a of the output table at heatmap rows."""

    def translate(self, x: Float[Tensor, "n d"], rows: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """The vectors of heatmap rows in the space of the last row; a lens that is not trained changes nothing."""
        return x

    def check_policy(self, policy: NormPolicy) -> None:
        """Refuse the one pair that has no meaning.

        Raises:
            RequestError: tables are to be compared for an update, which has no probabilities.
        """
        if self.compares_tables and policy is NormPolicy.STREAM:
            raise RequestError(
                "lens: the max probability lens compares probabilities, and an update at the stream's scale has none. "
                'Choose another lens, or norm="final"'
            )

    def check_model(self, model: LoadedModel) -> None:
        """Refuse a model that the lens was not trained for.

        Raises:
            ModelError: the model's unembedding is another one.
        """
        wanted = self.config.unembedding
        if wanted and wanted != hash_unembedding(model.weights):
            raise ModelError(
                f"{self.config.kind.label} lens: expected the model that it was trained on (unembedding "
                f"{wanted[:12]}…); {model.name} has another one. Open that model, or choose a lens that is not trained"
            )

    def project(
        self,
        model: LoadedModel,
        x: Float[Tensor, "n d"],
        stream: Float[Tensor, "n d"],
        rows: Int[Tensor, " n"],
        policy: NormPolicy,
    ) -> Projection:
        """Vectors of heatmap rows, ready for the tables.

        stream: the stream beside each of them, whose σ the stream policy takes.
        """
        n_layers = model.dimensions.n_layers
        x_hat = normalise(model, self.translate(x, rows), stream, policy, rows == n_layers + 1)
        update = policy is NormPolicy.STREAM
        return Projection(x_hat, self.mix(rows, n_layers), bias=not update, capped=not update)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VocabularyLens) and self.config == other.config

    def __hash__(self) -> int:
        return hash(self.config)


def normalise(
    model: LoadedModel,
    x: Float[Tensor, "n d"],
    stream: Float[Tensor, "n d"],
    policy: NormPolicy,
    as_it_is: Bool[Tensor, " n"],
) -> Float[Tensor, "n d"]:
    """x̂ under a policy.

    stream: the stream at each vector's row and position, whose σ the stream policy takes. as_it_is: (n,) true at
    row L+1, which is never normed again.
    """
    if policy is NormPolicy.NONE:
        return x
    if policy is NormPolicy.FINAL:
        out = model.final_state(x)
    elif policy is NormPolicy.NORM_ONLY:
        out = model.norm.without_scale(x, model.norm.sigma(x))
    else:
        out = model.norm.linear(x, model.norm.sigma(stream))
    return torch.where(as_it_is[:, None], x, out)
