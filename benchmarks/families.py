"""Trace overhead of every kind of family over eager `generate`, and the self-check beside loading.

Random models of 4 layers and d 512; 150 tokens of prompt and 20 new ones. `generate` of one more token makes as many
forward calls as a trace, which also runs the last one. The two take turns; ratios are of medians within one run.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common import VOCABULARY, interleaved, machine, random_ids, seconds, table

PROMPT, NEW = 150, 20
D, N_LAYERS, N_HEADS = 512, 4, 8
NO_TOKENS = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
SIZE = {
    "hidden_size": D,
    "intermediate_size": 1376,
    "num_hidden_layers": N_LAYERS,
    "num_attention_heads": N_HEADS,
    "max_position_embeddings": 256,
}
GROUPED = SIZE | {"num_key_value_heads": 2}
HEAD = {"head_dim": 64}
EXPERTS = GROUPED | {"intermediate_size": 512, "num_experts_per_tok": 2}
SHORT = {"n_embd": D, "n_layer": N_LAYERS, "n_head": N_HEADS, "n_positions": 256}
FALCON = {k: v for k, v in SIZE.items() if k != "intermediate_size"} | {"multi_query": True, "parallel_attn": True}

# Name of transformers' config, its values, and whether attention goes through the interface.
FAMILIES: dict[str, tuple[str, dict[str, Any], bool]] = {
    "Llama": ("Llama", GROUPED, True),
    "Mistral": ("Mistral", GROUPED | {"sliding_window": 64}, True),
    "Qwen3": ("Qwen3", GROUPED | HEAD, True),
    "Gemma-2": ("Gemma2", GROUPED | HEAD | {"sliding_window": 64}, True),
    "Phi": ("Phi", SIZE, True),
    "GPT-NeoX": ("GPTNeoX", SIZE, True),
    "GPT-2": ("GPT2", SHORT, True),
    "Mixtral": ("Mixtral", EXPERTS | {"num_local_experts": 4}, True),
    "gpt-oss": ("GptOss", EXPERTS | HEAD | {"num_local_experts": 4, "sliding_window": 64}, True),
    "GPT-J": ("GPTJ", SHORT | {"rotary_dim": 32}, False),
    "Bloom": ("Bloom", {"hidden_size": D, "n_layer": N_LAYERS, "n_head": N_HEADS}, False),
    "Falcon": ("Falcon", FALCON, False),
    "MPT": ("Mpt", {"d_model": D, "n_layers": N_LAYERS, "n_heads": N_HEADS, "max_seq_len": 256}, False),
}


@contextmanager
def _model(kind: str, values: dict[str, Any]) -> Iterator[Path]:
    """The folder of a random fp32 model, there as long as the context is."""
    import torch
    import transformers
    from transformers.utils import logging

    from intravisto_core.demo import MODEL_FOLDER

    logging.disable_progress_bar()
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(vocab_size=VOCABULARY, **values, **NO_TOKENS)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        for file in MODEL_FOLDER.glob("tokenizer*"):
            shutil.copy(file, folder)
        yield folder


def measure(name: str, repetitions: int) -> list[object]:
    """One row of the table."""
    import torch
    from transformers import AutoModelForCausalLM

    import intravisto_core as iv
    from intravisto_core.experiments.self_check import check_model
    from intravisto_core.models import load

    kind, values, interface = FAMILIES[name]
    prompts = [random_ids(PROMPT, seed) for seed in range(repetitions + 1)]
    with _model(kind, values) as folder, torch.no_grad():
        spec = iv.ModelSpec(str(folder), device_map="cpu")
        loaded: list[Any] = []
        loading = seconds(lambda: loaded.append(load(spec)))
        checking = seconds(lambda: check_model(loaded[0]))
        loaded.clear()
        engine = iv.open_model(spec)
        engine.finish_check()
        model: Any = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()

        def ours(repetition: int) -> None:
            assert len(engine.trace(prompts[repetition], max_new_tokens=NEW).tokens) == PROMPT + NEW

        def plain(repetition: int) -> None:
            ids = torch.tensor([prompts[repetition]])
            model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW + 1, do_sample=False)

        works: dict[str, Callable[[int], object]] = {"ours": ours, "eager": plain}
        for work in works.values():
            work(repetitions)
        found = interleaved(works, repetitions)
        engine.close()
    how = "interface" if interface else "own code"
    return [name, how, *found.values(), found["ours"] / found["eager"], loading, checking, checking / loading]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--only", nargs="*", choices=list(FAMILIES), default=list(FAMILIES))
    options = parser.parse_args()
    head = ["family", "attention", "ours s", "eager s", "ours/eager", "load s", "check s", "check/load"]
    rows = [measure(name, options.repetitions) for name in options.only]
    print(machine())
    title = f"families: {N_LAYERS} layers, d {D}, {PROMPT} + {NEW} tokens, all sites, fp32"
    table(f"{title} (medians of {options.repetitions})", head, rows)
    print("  goal: ours/eager ≤ 1.15 where attention goes through the interface")


if __name__ == "__main__":
    main()
