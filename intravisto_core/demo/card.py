"""Writes what was measured: `card.json` for programs and `README.md` for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_INTRODUCTION = """# The demo model

A Llama of {millions:.2f} million parameters: {num_hidden_layers} layers, width {hidden_size}, \
{num_attention_heads} heads, MLP {intermediate_size}, vocabulary {vocab_size}, at most \
{max_position_embeddings} tokens of text. `python -m intravisto_core.demo.train` wrote it, on text that \
`intravisto_core/demo/corpus` makes up. It knows a small world of facts, names and lists, and nothing else: \
asked about anything outside, it answers with something from inside. The tokenizer puts `<|bos|>` before \
every text; an answer ends with `<|end|>`.

Made by `{command}`: {steps:,} steps of {rows} rows of {max_position_embeddings} tokens.

The figures below are measured by `python -m intravisto_core.demo.evaluate`, {lines_a_task} lines a task.
"""


def write_card(figures: Mapping[str, Any], folder: Path) -> None:
    """Write the figures into the folder as `card.json` and `README.md`."""
    (folder / "card.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(card_text(figures), encoding="utf-8")


def card_text(figures: Mapping[str, Any]) -> str:
    """The card as Markdown."""
    head = _INTRODUCTION.format(
        millions=figures["parameters"] / 1e6,
        lines_a_task=figures["lines_a_task"],
        **figures["config"],
        **figures["training"],
    )
    note = [figures["training"]["note"], ""] if "note" in figures["training"] else []
    return "\n".join([head, *note, *_accuracy(figures), *_heads(figures), *_ranks(figures), *_answers(figures)])


def _accuracy(figures: Mapping[str, Any]) -> list[str]:
    unsplit = set(figures["without_held_out_cases"])
    rows = [
        f"| {task} | {'seen' if task in unsplit else 'held out'} | {share:.2f} |"
        for task, share in figures["accuracy"].items()
    ]
    return [
        "## Answers that are the top token",
        "",
        "Every answer token is predicted from the true text before it. Held out: cases kept out of the training text.",
        "",
        "| task | cases | share right |",
        "|---|---|---|",
        *rows,
        "",
    ]


def _heads(figures: Mapping[str, Any]) -> list[str]:
    rows = []
    for part, layers in figures["heads"].items():
        named = ((score, f"{i}.{j}") for i, layer in enumerate(layers) for j, score in enumerate(layer))
        ranked = sorted(named, reverse=True)
        rows.append(f"| {part} | " + ", ".join(f"{name} ({score:.2f})" for score, name in ranked[:3]) + " |")
    return [
        "## Heads and the parts that they play",
        "",
        "The strongest three as layer.head, counted from 0, with their mean attention where the part says.",
        "",
        "| part | heads |",
        "|---|---|",
        *rows,
        "",
    ]


def _ranks(figures: Mapping[str, Any]) -> list[str]:
    layers = len(next(iter(figures["median_rank"].values()))) - 1
    return [
        "## Median rank of the answer by row",
        "",
        "Read from the residual stream with the final norm and the output head; 1 is the top token.",
        "",
        "| task | embedding | " + " | ".join(f"layer {layer}" for layer in range(layers)) + " |",
        "|" + "---|" * (layers + 2),
        *(
            f"| {task} | " + " | ".join(f"{rank:.0f}" for rank in ranks) + " |"
            for task, ranks in figures["median_rank"].items()
        ),
        "",
    ]


def _answers(figures: Mapping[str, Any]) -> list[str]:
    shown = ((prompt, answer.replace("\n", "\\n")) for prompt, answer in figures["answers"].items())
    return ["## Examples", "", *(f"- `{prompt}` →`{answer}`" for prompt, answer in shown), ""]
