"""Tiny random models, written to disk in a second: what the tests run on.

Some read single characters and have three layers ("llama", "gpt2"): texts, lenses and sampling are tested on them.
One of every declared family ("Llama", "Gemma-3") reads the words `w0` … `w96`: these are the self-check's own.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from intravisto_core.experiments.tiny import CONFIGS as CONFIGS
from intravisto_core.experiments.tiny import CONTEXT as CONTEXT
from intravisto_core.experiments.tiny import REFUSED as REFUSED
from intravisto_core.experiments.tiny import UNDECLARED as UNDECLARED
from intravisto_core.experiments.tiny import WINDOW as WINDOW
from intravisto_core.experiments.tiny import build as build
from intravisto_core.experiments.tiny import write as write

FAMILY_PROMPT = tuple(3 + (17 * i + i * i) % 90 for i in range(14))
FAMILY_N_NEW = 3

VOCABULARY = ["<pad>", "<bos>", "<eos>", "<unk>", "\u0120"] + [chr(c) for c in range(33, 125)]
PAD, BOS, EOS = 0, 1, 2
N_LAYERS = 3
PROMPT = "ab c!ab d~ab"
N_NEW = 8

_SPECIAL = {"bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD}


def kind(name: str) -> str:
    """The model_type of a family's model; of the text model inside a composite."""
    return CONFIGS[name]().get_text_config().model_type


def llama_settings(**changes: Any) -> dict[str, Any]:
    """What a config of Llama's kind is made with."""
    return {
        "vocab_size": len(VOCABULARY),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": N_LAYERS,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT,
        "tie_word_embeddings": False,
        **_SPECIAL,
        **changes,
    }


def _llama() -> Any:
    return transformers.LlamaConfig(**llama_settings())


def _mistral() -> Any:
    return transformers.MistralConfig(**llama_settings(sliding_window=5))


def _qwen2() -> Any:
    return transformers.Qwen2Config(**llama_settings())


def _qwen3() -> Any:
    return transformers.Qwen3Config(**llama_settings(head_dim=12))


def _wide() -> Any:
    """More vocabulary rows than the tokenizer has, and enough of them to be read in pieces."""
    return transformers.LlamaConfig(**llama_settings(vocab_size=9000))


def _gpt2() -> Any:
    return transformers.GPT2Config(
        vocab_size=len(VOCABULARY), n_embd=32, n_layer=N_LAYERS, n_head=4, n_positions=CONTEXT, **_SPECIAL
    )


def _granite() -> Any:
    multipliers = {"residual_multiplier": 0.22, "embedding_multiplier": 3.0, "attention_multiplier": 0.3}
    return transformers.GraniteConfig(**llama_settings(**multipliers, logits_scaling=0.5))


def _gemma2() -> Any:
    return transformers.Gemma2Config(
        **llama_settings(
            head_dim=8,
            sliding_window=4,
            query_pre_attn_scalar=8,
            final_logit_softcapping=6.0,
            attn_logit_softcapping=3.0,
            tie_word_embeddings=True,
        )
    )


_CHARACTER_CONFIGS: dict[str, Callable[[], Any]] = {
    "llama": _llama,
    "gpt2": _gpt2,
    "mistral": _mistral,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "granite": _granite,
    "gemma2": _gemma2,
    "wide": _wide,
}
CHARACTER_FAMILIES = tuple(name for name in _CHARACTER_CONFIGS if name != "wide")


def tokenizer() -> Any:
    """Byte-level BPE without merges: every printable ASCII character is a token; BOS is put in front."""
    bpe = models.BPE(vocab={s: i for i, s in enumerate(VOCABULARY)}, merges=[], unk_token="<unk>")
    backend = Tokenizer(bpe)
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", BOS)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
    )


def build_character_model(family: str, seed: int = 0) -> Any:
    """A random model in fp32 with stock eager attention, and norms and biases that are not 1 and 0."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(_CHARACTER_CONFIGS[family](), attn_implementation="eager").eval().float()
    generator = torch.Generator().manual_seed(seed + 1)
    for parameter in model.parameters():
        parameter.data.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    # With small tables every prediction is near uniform, and tests would see too little.
    model.get_output_embeddings().weight.data.mul_(2.0 if model.config.tie_word_embeddings else 4.0)
    return model


def save_model(model: Any, folder: Path) -> Path:
    """Save model and tokenizer as a checkpoint folder."""
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


ROLES = ("<system>", "<user>", "<assistant>")
CHAT_TEMPLATE = """{{ '<bos>' }}
{%- for m in messages %}
{%- if m.role not in ('system', 'user', 'assistant') %}{{ raise_exception('no role is called ' + m.role) }}{% endif %}
{%- if loop.first and m.role == 'assistant' %}{{ raise_exception('a user speaks first') }}{% endif %}
{{- '<' + m.role + '>' + m.content + '<eos>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<assistant>' }}{% endif %}"""


def save_chat_model(model: Any, folder: Path) -> Path:
    """Save a model as a checkpoint whose tokenizer has a chat template with markers of roles."""
    reader = tokenizer()
    reader.add_special_tokens({"additional_special_tokens": list(ROLES)})
    reader.chat_template = CHAT_TEMPLATE
    model.resize_token_embeddings(len(reader))
    model.save_pretrained(folder)
    reader.save_pretrained(folder)
    return folder


class Folders:
    """Checkpoint folders of the tiny models by family name, each written when first asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(self, family: str, seed: int = 0) -> Path:
        folder = self.root / f"{family}-{seed}"
        return folder if folder.exists() else save_model(build_character_model(family, seed), folder)
