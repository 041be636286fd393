"""Tokens as a reader types them: a text, whose first token is meant, or a token id. The one place that reads them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from torch import Tensor

from intravisto_core.analysis.attribution import MEAN
from intravisto_core.errors import RequestError
from intravisto_core.models import LoadedModel
from intravisto_core.request.ranges import index

NO_CONTRAST = -2


@dataclass(frozen=True, slots=True)
class TypedToken:
    """text: as it was typed; of an id, as the token is shown. n_tokens: how many tokens the text has."""

    text: str
    id: int
    n_tokens: int

    @property
    def note(self) -> str:
        """What must be said where only the first of several tokens is meant, else empty."""
        return f"“{self.text}” has {self.n_tokens} tokens: the first is taken" if self.n_tokens > 1 else ""


class DefaultContrast(Enum):
    """What a target is held against where no contrast is given (docs/methods.md §6).

    MEAN: the mean over the vocabulary, for attribution and pulls. RUNNER_UP: the most probable other token, for
    comparisons, link checks, claims and patching. NONE: nothing, the logit itself, for gradients and saliency.
    """

    MEAN = "mean"
    RUNNER_UP = "runner_up"
    NONE = "none"


def read_token(model: LoadedModel, token: str | int, name: str = "token") -> TypedToken:
    """A typed text or a token id. name: what the request calls it.

    Raises:
        RequestError: the text has no token, or the model has no such id.
    """
    if isinstance(token, int):
        what = "token id" if name == "token" else f"{name} (a token id)"
        found = index(token, model.dimensions.d_vocab, what, negatives=False)
        return TypedToken(model.reader.shown(found), found, 1)
    ids = model.reader.encode_typed(token, name)
    return TypedToken(token, ids[0], len(ids))


def target_and_contrast(
    model: LoadedModel,
    logits: Tensor,
    target: str | int | None,
    contrast: str | int | None,
    default: DefaultContrast,
) -> tuple[int, int, tuple[str, ...]]:
    """Ids of both tokens, and what must be said of them.

    logits: (V,) at the position that is asked about; not read where both tokens are given. target: None is the most
    probable token. contrast: None takes the default, whose id is `MEAN` or `NO_CONTRAST` where it is no token.

    Raises:
        RequestError: one of them is no token of this model, or both are the same.
    """
    notes: list[str] = []

    def read(token: str | int, name: str) -> int:
        found = read_token(model, token, name)
        if found.note:
            notes.append(found.note)
        return found.id

    wanted = int(logits.argmax()) if target is None else read(target, "target")
    if contrast is not None:
        against = read(contrast, "contrast")
    elif default is DefaultContrast.RUNNER_UP:
        against = next(i for i in logits.topk(2).indices.tolist() if i != wanted)
    else:
        against = MEAN if default is DefaultContrast.MEAN else NO_CONTRAST
    if wanted == against:
        raise RequestError(
            f"contrast: expected another token than the target {model.reader.shown(wanted)!r}; got the same. "
            "Leave the contrast out to take the default"
        )
    return wanted, against, tuple(notes)
