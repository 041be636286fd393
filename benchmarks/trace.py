"""Tracing 200 + 30 tokens with every site: beside transformers' own greedy `generate`, eager and sdpa.

`generate(max_new_tokens=31)` makes as many forward calls as a trace of 30 new tokens, since a trace also runs the last
one. The three take turns.
"""

from __future__ import annotations

import argparse

from common import interleaved, machine, random_ids, random_model, table

PROMPT, NEW = 200, 30


def plain_generate(model, implementation: str, prompts):
    """A call that generates with one of the kernels of a plain model."""
    import torch

    def work(repetition: int) -> None:
        model.set_attn_implementation(implementation)
        ids = torch.tensor([prompts[repetition]])
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW + 1, do_sample=False)
        assert out.shape[1] == PROMPT + NEW + 1

    return work


def measure(kind: str, repetitions: int) -> list[object]:
    """One row of the table."""
    import torch
    from transformers import AutoModelForCausalLM

    import intravisto_core as iv

    prompts = [random_ids(PROMPT, seed) for seed in range(repetitions + 1)]
    with random_model(kind) as folder, torch.no_grad():
        engine = iv.open_model(folder)
        engine.finish_check()
        model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()

        def ours(repetition: int) -> None:
            trace = engine.trace(prompts[repetition], max_new_tokens=NEW)
            assert len(trace.tokens) == PROMPT + NEW

        works = {
            "ours": ours,
            "eager": plain_generate(model, "eager", prompts),
            "sdpa": plain_generate(model, "sdpa", prompts),
        }
        for work in works.values():
            work(repetitions)
        found = interleaved(works, repetitions)
        engine.close()
    return [kind, *found.values(), found["ours"] / found["eager"], found["ours"] / found["sdpa"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=7)
    options = parser.parse_args()
    rows = [measure(kind, options.repetitions) for kind in ("gpt2", "llama")]
    print(machine())
    table(
        f"trace: 12 layers, d 768, {PROMPT} + {NEW} tokens, all sites, fp32 (medians of {options.repetitions})",
        ["model", "ours s", "generate eager s", "generate sdpa s", "ours/eager", "ours/sdpa"],
        rows,
    )
    print("  goal: ours/eager ≤ 1.10")


if __name__ == "__main__":
    main()
