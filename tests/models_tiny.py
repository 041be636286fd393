"""Tiny random models with a tokenizer, written to disk in a second: what the parity tests run on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

VOCABULARY = ["<pad>", "<bos>", "<eos>", "<unk>", "\u0120"] + [chr(c) for c in range(33, 125)]
PAD, BOS, EOS = 0, 1, 2
CONTEXT = 64
N_LAYERS = 3
PROMPT = "ab c!ab d~ab"
N_NEW = 8

_SPECIAL = {"bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD}


def _llama_like(**changes: Any) -> dict[str, Any]:
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
    import transformers

    return transformers.LlamaConfig(**_llama_like())


def _mistral() -> Any:
    import transformers

    return transformers.MistralConfig(**_llama_like(sliding_window=5))


def _qwen2() -> Any:
    import transformers

    return transformers.Qwen2Config(**_llama_like())


def _qwen3() -> Any:
    import transformers

    return transformers.Qwen3Config(**_llama_like(head_dim=12))


def _wide() -> Any:
    """More vocabulary rows than the tokenizer has, and enough of them to be read in pieces."""
    import transformers

    return transformers.LlamaConfig(**_llama_like(vocab_size=9000))


def _gpt2() -> Any:
    import transformers

    return transformers.GPT2Config(
        vocab_size=len(VOCABULARY), n_embd=32, n_layer=N_LAYERS, n_head=4, n_positions=CONTEXT, **_SPECIAL
    )


def _granite() -> Any:
    import transformers

    return transformers.GraniteConfig(
        **_llama_like(residual_multiplier=0.22, embedding_multiplier=3.0, attention_multiplier=0.3, logits_scaling=0.5)
    )


def _gemma2() -> Any:
    import transformers

    return transformers.Gemma2Config(
        **_llama_like(
            head_dim=8,
            sliding_window=4,
            query_pre_attn_scalar=8,
            final_logit_softcapping=6.0,
            attn_logit_softcapping=3.0,
            tie_word_embeddings=True,
        )
    )


_CONFIGS: dict[str, Callable[[], Any]] = {
    "llama": _llama,
    "gpt2": _gpt2,
    "mistral": _mistral,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "granite": _granite,
    "gemma2": _gemma2,
    "wide": _wide,
}
FAMILIES = tuple(name for name in _CONFIGS if name != "wide")


def tokenizer() -> Any:
    """Byte-level BPE without merges: every printable ASCII character is a token; BOS is put in front."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

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


def build(family: str, seed: int = 0) -> Any:
    """A random model in fp32 with stock eager attention, and norms and biases that are not 1 and 0."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(_CONFIGS[family](), attn_implementation="eager").eval().float()
    generator = torch.Generator().manual_seed(seed + 1)
    for parameter in model.parameters():
        parameter.data.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    # With small tables every prediction is near uniform, and tests would see too little.
    model.get_output_embeddings().weight.data.mul_(2.0 if model.config.tie_word_embeddings else 4.0)
    return model


def write(model: Any, folder: Path) -> Path:
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


def write_chat(model: Any, folder: Path) -> Path:
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
        return folder if folder.exists() else write(build(family, seed), folder)
