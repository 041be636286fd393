"""Measures a demo model and writes its card: `python -m intravisto_core.demo.evaluate`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerBase

from intravisto_core.demo import MODEL_FOLDER
from intravisto_core.demo.card import write_card
from intravisto_core.demo.corpus import TASKS, Answer, Line, Sampler, word_list
from intravisto_core.demo.corpus.language import VERBS
from intravisto_core.demo.corpus.people import indirect_object
from intravisto_core.demo.heads import head_scores, random_token_accuracy
from intravisto_core.demo.tokenizer import LineEncoder

WITHOUT_SPLIT = ("landmark", "introduction", "pronoun", "opposite list", "phrase")
RANKED = ("fact", "reverse fact", "two hop", "indirect object", "opposite", "colour")
SHOWN = (
    "Q: What is the capital of Italy? A:",
    "The language spoken in Paris is",
    "When Mary and John went to the store, John gave a drink to",
    "The keys to the cabinet",
    "Monday, Tuesday, Wednesday,",
    "The ball is red. The cup is blue. Q: What colour is the cup? A:",
    "Copy: sun moon star ->",
    "The opposite of hot is",
    "France -> Paris, Italy -> Rome, Spain ->",
    "2 + 3 =",
)


class Examiner:
    """A loaded demo model and what is needed to ask it the corpus's questions."""

    def __init__(self, folder: Path) -> None:
        self.model: LlamaForCausalLM = LlamaForCausalLM.from_pretrained(folder, local_files_only=True)
        self.model.eval()
        self.model.set_attn_implementation("eager")
        self.tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._encoder = LineEncoder(self.tokenizer.backend_tokenizer)

    def encode(self, line: Line) -> tuple[Tensor, list[int]]:
        """Ids after the beginning token, shape (1, pos), and the places of the answers' tokens."""
        ids, answers = self._encoder.encode(line)
        context = self.model.config.max_position_embeddings
        places = [index + 1 for index, answer in enumerate(answers) if answer and index + 1 < context]
        return torch.tensor([[self.tokenizer.bos_token_id, *ids][:context]]), places

    @torch.inference_mode()
    def is_right(self, line: Line) -> list[bool]:
        """For each answer token of the line, whether the top token after the true text before it is right.

        A verb is right if its number is: nothing in the text tells which verb comes.
        """
        ids, places = self.encode(line)
        top = self.model(ids).logits[0].argmax(dim=-1).tolist()
        return [top[place - 1] in self._as_good_as(int(ids[0, place])) for place in places]

    def _as_good_as(self, token: int) -> set[int]:
        forms = [{self._encoder.ids(" " + verb[number])[0] for verb in VERBS} for number in (0, 1)]
        return next((same_number for same_number in forms if token in same_number), {token})

    @torch.inference_mode()
    def rank_by_row(self, line: Line) -> list[int]:
        """Rank of the line's first answer, 1 the top, at the embedding and after every layer."""
        ids, places = self.encode(line)
        place = places[0]
        streams = self.model(ids, output_hidden_states=True).hidden_states
        rows = [self.model.model.norm(stream[0, place - 1]) for stream in streams[:-1]]
        rows.append(streams[-1][0, place - 1])  # transformers has already normed the last one
        logits = self.model.lm_head(torch.stack(rows))
        return [int((row > row[ids[0, place]]).sum()) + 1 for row in logits]

    @torch.inference_mode()
    def answer(self, prompt: str, new_tokens: int = 8) -> str:
        """The greedy continuation of a prompt, up to the end token, which is shown."""
        ids: list[int] = self.tokenizer.encode(prompt)
        start = len(ids)
        while len(ids) < start + new_tokens and ids[-1] != self.tokenizer.eos_token_id:
            ids.append(int(self.model(torch.tensor([ids])).logits[0, -1].argmax()))
        return str(self.tokenizer.decode(ids[start:]))


def accuracies(examiner: Examiner, lines_a_task: int, seed: int = 1234) -> dict[str, float]:
    """Share of answer tokens predicted, by task, on held-out lines."""
    found: dict[str, float] = {}
    for task in TASKS:
        sampler = Sampler(seed, held_out=True)
        lines = [TASKS[task][0](sampler) for _ in range(lines_a_task)]
        if any(isinstance(part, Answer) for part in lines[0]):
            found[task] = _share(examiner, lines)
    sampler = Sampler(seed, held_out=True)
    new = [indirect_object(sampler, new_template=True) for _ in range(lines_a_task)]
    found["indirect object, new templates"] = _share(examiner, new)
    found["repeated random tokens"] = random_token_accuracy(examiner.model)
    return found


def _share(examiner: Examiner, lines: list[Line]) -> float:
    right = [each for line in lines for each in examiner.is_right(line)]
    return sum(right) / len(right)


def median_ranks(examiner: Examiner, lines_a_task: int, seed: int = 4321) -> dict[str, list[float]]:
    """Median rank of the answer at the embedding and after each layer, by task, on held-out lines."""
    found = {}
    for task in RANKED:
        sampler = Sampler(seed, held_out=True)
        ranks = torch.tensor([examiner.rank_by_row(TASKS[task][0](sampler)) for _ in range(lines_a_task)])
        found[task] = ranks.median(dim=0).values.tolist()
    return found


def evaluate(folder: Path, lines_a_task: int = 200) -> dict[str, object]:
    """Everything that the card says about a model."""
    examiner = Examiner(folder)
    torch.set_num_threads(1)
    return {
        "parameters": sum(parameter.numel() for parameter in examiner.model.parameters()),
        "training": json.loads((folder / "training.json").read_text(encoding="utf-8")),
        "file_bytes": (folder / "model.safetensors").stat().st_size,
        "config": {
            name: getattr(examiner.model.config, name)
            for name in (
                "num_hidden_layers",
                "hidden_size",
                "num_attention_heads",
                "intermediate_size",
                "vocab_size",
                "max_position_embeddings",
            )
        },
        "lines_a_task": lines_a_task,
        "accuracy": accuracies(examiner, lines_a_task),
        "without_held_out_cases": list(WITHOUT_SPLIT),
        "heads": head_scores(examiner.model, examiner.encode),
        "median_rank": median_ranks(examiner, lines_a_task),
        "answers": {prompt: examiner.answer(prompt) for prompt in SHOWN},
        "words": list(word_list()),
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure a demo model and write its card.")
    parser.add_argument("--model", type=Path, default=MODEL_FOLDER, help="the model's folder; the card goes there too")
    parser.add_argument("--lines", type=int, default=200, help="held-out lines a task")
    arguments = parser.parse_args()
    figures = evaluate(arguments.model, arguments.lines)
    write_card(figures, arguments.model)
    print(json.dumps({name: value for name, value in figures.items() if name != "words"}, indent=1))


if __name__ == "__main__":
    main()
