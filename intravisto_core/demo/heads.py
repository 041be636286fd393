"""How strongly each attention head plays a known part, measured on text made for it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from intravisto_core.demo.corpus import Line, Sampler
from intravisto_core.demo.corpus.text import Answer
from intravisto_core.demo.corpus.words import NAMES, OBJECTS, PLACES

Encode = Callable[[Line], tuple[Tensor, list[int]]]
_FIRST_LEARNED_TOKEN = 258
_ROWS, _PERIOD = 32, 30
_SENTENCES = 100
NAME_TEMPLATES = (
    "When {} and {} went to the {p}, {s} gave a {o} to",
    "While {} and {} were walking to the {p}, {s} showed the {o} to",
    "Yesterday {} and {} visited the {p}. Later {s} offered a {o} to",
)
"""Of the forms that the training text has; the names are drawn from all pairs."""


def head_scores(model: LlamaForCausalLM, encode: Encode, seed: int = 99) -> dict[str, list[list[float]]]:
    """Scores by part, each a list of layers of heads, all mean attention in [0, 1].

    induction, previous token, duplicate token: on random tokens said twice, over the second time.
    duplicate name: from a giver's second mention to its first.
    after duplicate name: from a giver's second mention to the token after its first.
    answer name: from the last token to the receiver; the smaller of the means over the names' two orders.
    answer over giver: the same, less the attention to the giver's first mention; may be negative.
    """
    scores = _random_token_scores(model, seed) | _name_scores(model, encode, seed)
    return {
        part: [[round(score, 3) for score in layer] for layer in values.tolist()] for part, values in scores.items()
    }


def repeated_tokens(model: LlamaForCausalLM, seed: int) -> Tensor:
    """Rows of random tokens said twice after the beginning token, (row, 1 + 2 * period)."""
    generator = torch.Generator().manual_seed(seed)
    once = torch.randint(_FIRST_LEARNED_TOKEN, model.config.vocab_size, (_ROWS, _PERIOD), generator=generator)
    begin = torch.full((_ROWS, 1), int(model.generation_config.bos_token_id))
    return torch.cat([begin, once, once], dim=1)


@torch.inference_mode()
def random_token_accuracy(model: LlamaForCausalLM, seed: int = 98) -> float:
    """Share of random tokens that the model gets right when they come again, from the second one on."""
    ids = repeated_tokens(model, seed)
    again = torch.arange(_PERIOD + 1, 2 * _PERIOD)
    return float((model(ids).logits.argmax(dim=-1)[:, again] == ids[:, again + 1]).float().mean())


@torch.inference_mode()
def _patterns(model: LlamaForCausalLM, ids: Tensor) -> Tensor:
    """Attention patterns, (layer, batch, head, query, key)."""
    attentions = model(ids, output_attentions=True).attentions
    if attentions is None:
        raise RuntimeError("expected attention patterns, got none; set the attention to 'eager'")
    return torch.stack(attentions)


def _random_token_scores(model: LlamaForCausalLM, seed: int) -> dict[str, Tensor]:
    patterns = _patterns(model, repeated_tokens(model, seed)).mean(dim=1)
    second = torch.arange(_PERIOD + 1, 2 * _PERIOD + 1)
    return {
        "induction": patterns[:, :, second, second - _PERIOD + 1].mean(dim=-1),
        "previous token": patterns[:, :, second, second - 1].mean(dim=-1),
        "duplicate token": patterns[:, :, second, second - _PERIOD].mean(dim=-1),
    }


def _name_scores(model: LlamaForCausalLM, encode: Encode, seed: int) -> dict[str, Tensor]:
    duplicate: list[Tensor] = []
    after: list[Tensor] = []
    to_answer: dict[bool, list[Tensor]] = {True: [], False: []}
    to_giver: dict[bool, list[Tensor]] = {True: [], False: []}
    sampler = Sampler(seed)
    for index in range(_SENTENCES):
        giver, receiver = sampler.some(NAMES, 2)
        answer_first = index % 2 == 0
        first, second = (receiver, giver) if answer_first else (giver, receiver)
        template = sampler.choice(NAME_TEMPLATES)
        prompt = template.format(first, second, s=giver, p=sampler.choice(PLACES), o=sampler.choice(OBJECTS))
        ids, _ = encode((prompt, Answer(" " + receiver)))
        tokens = ids[0, :-1].tolist()
        receiver_at = tokens.index(int(ids[0, -1]))
        giver_id = int(encode((" " + giver,))[0][0, 1])
        giver_at, again_at = [place for place, token in enumerate(tokens) if token == giver_id]
        patterns = _patterns(model, ids[:, :-1])[:, 0]
        duplicate.append(patterns[:, :, again_at, giver_at])
        after.append(patterns[:, :, again_at, giver_at + 1])
        to_answer[answer_first].append(patterns[:, :, -1, receiver_at])
        to_giver[answer_first].append(patterns[:, :, -1, giver_at])
    answer = {order: torch.stack(values).mean(dim=0) for order, values in to_answer.items()}
    margin = {order: answer[order] - torch.stack(values).mean(dim=0) for order, values in to_giver.items()}
    return {
        "duplicate name": torch.stack(duplicate).mean(dim=0),
        "after duplicate name": torch.stack(after).mean(dim=0),
        "answer name": torch.minimum(answer[True], answer[False]),
        "answer over giver": torch.minimum(margin[True], margin[False]),
    }
