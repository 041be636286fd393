"""What a GGUF file says of its model, as a configuration of transformers; or why that model cannot be shown.

transformers' own reader fills what a file says and it has no place for with a usual value. Here every key that the
numbers depend on is carried over, and one that is not known is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import pi
from typing import Any

from transformers import AutoConfig
from transformers.integrations import GGUF_CONFIG_MAPPING

from intravisto_core.errors import ModelError
from intravisto_core.models.gguf.header import GgufHeader

MOST_LAYERS = 1000
EPS = ("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_epsilon", "norm_eps")
# llama.cpp writes Llama 3's scaling of RoPE as factors alone; all its models share these
LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
FACTORS = "rope_freqs.weight"
# size in layers at which llama.cpp scales scores by d_model / heads instead of the head's width
_SCALED_BY_WIDTH = {"gemma2": 46, "gemma3": 62}
# read below, or without a bearing on the numbers
_READ = (
    *("vocab_size", "attention.key_length", "attention.value_length", "attention.sliding_window"),
    *("rope.dimension_count", "rope.freq_base", "rope.freq_base_swa", "rope.scaling.type", "rope.scaling.factor"),
    *("rope.scale_linear", "rope.scaling.original_context_length", "rope.scaling.finetuned"),
    *("attn_logit_softcapping", "final_logit_softcapping", "attention.causal"),
    *("expert_feed_forward_length", "attention.sliding_window_pattern"),
    *("attention.layer_norm_epsilon", "attention.layer_norm_rms_epsilon", "use_parallel_residual"),
)


@dataclass(frozen=True, slots=True)
class _Family:
    """A family of transformers and its name in transformers' table of keys. special: what else its configuration
    needs, from a file's values by key and the tensors' shapes by name."""

    family: str
    table: str
    special: Callable[[_Values], dict[str, Any]]


class _Values:
    """A file's values under its architecture's name, and the shapes of its tensors."""

    def __init__(self, header: GgufHeader, name: str) -> None:
        self.header, self.name = header, name
        prefix = f"{header.architecture}."
        self.keys = {k.removeprefix(prefix): v for k, v in header.metadata.items() if k.startswith(prefix)}
        self.shapes = {t.name: t.shape for t in header.tensors}

    def number(self, key: str, usual: float | None = None) -> Any:
        """A number above 0, or `usual` where there is none.

        Raises:
            ModelError: it is something else.
        """
        found = self.keys.get(key, usual)
        if found is None and usual is None:
            raise self.wrong(f"a number for {self.header.architecture}.{key}", "none")
        if isinstance(found, bool) or not isinstance(found, int | float) or not 0 < found < 1e12:
            raise self.wrong(f"a number above 0 for {self.header.architecture}.{key}", found)
        return found

    @property
    def head_width(self) -> int:
        """Numbers of a query's head."""
        usual = self.number("embedding_length") // self.number("attention.head_count")
        return int(self.number("attention.key_length", usual))

    def wrong(self, wanted: str, got: object) -> ModelError:
        """The error of a value that does not serve."""
        return ModelError(
            f"{self.name}: expected {wanted}; got {got!r}. The file is damaged, or written by a program that this one "
            "does not know: download it again, or choose the original model"
        )


def _nothing(values: _Values) -> dict[str, Any]:
    return {}


def _head_width(values: _Values) -> dict[str, Any]:
    return {"head_dim": values.head_width}


def _whole_head(values: _Values) -> dict[str, Any]:
    width = values.head_width
    if (turned := values.number("rope.dimension_count", width)) != width:
        raise values.wrong(f"rotary positions of the whole head ({width})", turned)
    return {"head_dim": width}


def _gpt2(values: _Values) -> dict[str, Any]:
    n_positions = values.shapes.get("position_embd.weight", (0,))[0]
    return {"n_positions": n_positions, "n_inner": values.number("feed_forward_length")}


def _sliding(values: _Values) -> dict[str, Any]:
    return {"sliding_window": values.keys.get("attention.sliding_window") or None}


def _gemma(values: _Values) -> dict[str, Any]:
    width = values.head_width
    if values.number("block_count") == _SCALED_BY_WIDTH[values.header.architecture]:
        scale = values.number("embedding_length") // values.number("attention.head_count")
    else:
        scale = width
    caps = {key: values.keys.get(key) for key in ("attn_logit_softcapping", "final_logit_softcapping")}
    return {"head_dim": width, "query_pre_attn_scalar": scale, **caps}


def _stablelm(values: _Values) -> dict[str, Any]:
    return {
        "use_qkv_bias": "blk.0.attn_q.bias" in values.shapes,
        "use_parallel_residual": "blk.0.ffn_norm.weight" not in values.shapes,
    }


def _experts(values: _Values) -> dict[str, Any]:
    return {
        "head_dim": values.head_width,
        "moe_intermediate_size": values.number("expert_feed_forward_length"),
        "norm_topk_prob": True,
    }


# those that a test holds to the model they were made from, bit for bit
FAMILIES: dict[str, _Family] = {
    "llama": _Family("llama", "llama", _whole_head),
    "qwen2": _Family("qwen2", "qwen2", _nothing),
    "qwen3": _Family("qwen3", "qwen3", _head_width),
    "qwen3moe": _Family("qwen3_moe", "qwen3_moe", _experts),
    "gpt2": _Family("gpt2", "gpt2", _gpt2),
    "phi3": _Family("phi3", "phi3", _sliding),
    "gemma2": _Family("gemma2", "gemma2", _gemma),
    "gemma3": _Family("gemma3_text", "gemma3", _gemma),
    "starcoder2": _Family("starcoder2", "starcoder2", _nothing),
    "stablelm": _Family("stablelm", "stablelm", _stablelm),
    "nemotron": _Family("nemotron", "nemotron", _head_width),
}


def read_settings(header: GgufHeader, name: str, factors: Sequence[float] = ()) -> Any:
    """The configuration of a file's model. name: what messages call the file. factors: the numbers of its tensor
    `FACTORS`, where it has one and they are at hand.

    Raises:
        ModelError: its architecture or something that it says cannot be carried over, by name; or its sizes are not
            those of its tensors.
    """
    found = FAMILIES.get(header.architecture)
    if found is None:
        raise ModelError(
            f"{name}: expected an architecture that is read from GGUF here ({', '.join(FAMILIES)}); it is "
            f"{header.architecture or 'not named'}. Choose the original model in safetensors"
        )
    values = _Values(header, name)
    table: dict[str, str | None] = dict(GGUF_CONFIG_MAPPING)[found.table]  # type: ignore[assignment]
    _check_known(values, table)
    _check_sizes(values)
    given = {target: values.keys[key] for key, target in table.items() if target and key in values.keys}
    given |= {
        "vocab_size": values.shapes["token_embd.weight"][0],
        "tie_word_embeddings": "output.weight" not in values.shapes,
        **_special_ids(header),
        **found.special(values),
    }
    try:
        settings = AutoConfig.for_model(found.family, **given)
        setattr(settings, next(name for name in EPS if hasattr(settings, name)), _epsilon(values))
        rotary = getattr(settings, "rope_parameters", None)
        if rotary is not None:
            settings.rope_parameters = _rotary(values, rotary, factors)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            f"{name}: expected values that make a model of the family {found.family}; transformers refuses them "
            f"({type(error).__name__}: {error}). Download the file again, or choose the original model"
        ) from error
    return settings


def _check_known(values: _Values, table: Iterable[str]) -> None:
    unknown = [key for key in values.keys if key not in {*table, *_READ}]
    if unknown:
        raise ModelError(
            f"{values.name}: expected a model whose every property can be carried over; "
            f"{values.header.architecture}.{unknown[0]} ({values.keys[unknown[0]]!r}) cannot ({len(unknown)} such in "
            "all). Choose the original model in safetensors"
        )
    if values.keys.get("attention.causal", True) is not True:
        raise values.wrong("a model that reads from left to right", "attention.causal = false")
    if values.header.metadata.get("split.count", 0) not in (0, 1):
        raise ModelError(
            f"{values.name}: expected a model in one file; it is one of {values.header.metadata['split.count']}. Join "
            "them (llama-gguf-split --merge), or choose the original model"
        )


def _check_sizes(values: _Values) -> None:
    """Refuse sizes that the tensors do not have, before anything is built from them."""
    table = values.shapes.get("token_embd.weight", ())
    if len(table) != 2:
        raise values.wrong("a table token_embd.weight of tokens by width", table)
    blocks = {name.split(".")[1] for name in values.shapes if name.startswith("blk.")}
    n_layers, width = values.number("block_count"), values.number("embedding_length")
    n_heads, largest = values.number("attention.head_count"), max(map(max, values.shapes.values()))
    values.number("context_length")
    if not blocks or n_layers > MOST_LAYERS or blocks != {str(i) for i in range(n_layers)}:
        raise values.wrong(f"as many blocks of tensors as block_count says ({n_layers:,})", len(blocks))
    if width != table[1]:
        raise values.wrong(f"an embedding_length of {table[1]:,}, the width of its table", width)
    for key in ("feed_forward_length", "expert_feed_forward_length"):
        if values.number(key, 1) > largest:
            raise values.wrong(f"a {key} of at most {largest:,}, the largest side of its tensors", values.keys[key])
    if n_heads > width or values.number("attention.head_count_kv", n_heads) > n_heads:
        raise values.wrong("no more key and value heads than heads, and no more heads than the width", n_heads)


def _epsilon(values: _Values) -> float:
    """What norms add to a variance, under either of its two keys: transformers' table has one a family."""
    root = "attention.layer_norm_rms_epsilon"
    return float(values.number(root if root in values.keys else "attention.layer_norm_epsilon"))


def _special_ids(header: GgufHeader) -> dict[str, Any]:
    names = {"bos_token_id": "bos", "eos_token_id": "eos", "pad_token_id": "padding", "eot": "eot"}
    given = {name: header.metadata.get(f"tokenizer.ggml.{key}_token_id") for name, key in names.items()}
    found: dict[str, Any] = {name: token if isinstance(token, int) else None for name, token in given.items()}
    # a text ends where a turn ends, as in llama.cpp
    turn = found.pop("eot")
    if turn is not None and found["eos_token_id"] not in (None, turn):
        found["eos_token_id"] = [found["eos_token_id"], turn]
    return found


def _rotary(values: _Values, usual: dict[str, Any], factors: Sequence[float]) -> dict[str, Any]:
    """RoPE's parameters; of a family with two kinds of layers, those of each."""
    scaled = _scaling(values, factors)
    if "full_attention" in usual:
        base = {"rope_type": "default", "rope_theta": values.number("rope.freq_base_swa", 10000.0)}
        return {"sliding_attention": base, "full_attention": _whole(values, usual["full_attention"]) | scaled}
    return _whole(values, usual) | scaled


def _whole(values: _Values, usual: dict[str, Any]) -> dict[str, Any]:
    found = {**usual, "rope_theta": float(values.number("rope.freq_base", usual["rope_theta"]))}
    if "partial_rotary_factor" in usual:
        found["partial_rotary_factor"] = values.number("rope.dimension_count") / values.head_width
    return found


def _scaling(values: _Values, factors: Sequence[float]) -> dict[str, Any]:
    if any(f != 1.0 for f in factors):
        base = float(values.number("rope.freq_base", 10000.0))
        if (found := llama3_scaling(factors, base, values.head_width)) is None:
            raise values.wrong(f"factors of RoPE as Llama 3 has them in {FACTORS}", [round(f, 3) for f in factors[:8]])
        return found
    kind = values.keys.get("rope.scaling.type", "none")
    factor = values.keys.get("rope.scaling.factor", values.keys.get("rope.scale_linear", 1.0))
    if kind == "none" and "rope.scaling.factor" not in values.keys and factor != 1.0:
        kind = "linear"
    if kind not in ("none", "linear"):
        raise ModelError(
            f"{values.name}: expected rotary positions that are not scaled, or linearly, or as Llama 3's; they are "
            f"scaled by {kind!r}, which cannot be carried over. Choose the original model in safetensors"
        )
    return {"rope_type": "linear", "factor": float(factor)} if kind == "linear" else {}


def llama3_scaling(factors: Sequence[float], base: float, width: int) -> dict[str, Any] | None:
    """The parameters of Llama 3's scaling that gives these factors of RoPE's wavelengths, or None.

    factors: one for two numbers of a head of that width.
    """
    if 2 * len(factors) != width or min(factors) < 0.999:
        return None
    largest = max(factors)
    low, high, original = LLAMA3.values()
    for i, found in enumerate(factors):
        wavelength = 2 * pi * base ** (2 * i / width)
        smooth = min(1.0, max(0.0, (original / wavelength - low) / (high - low)))
        expected = 1 / ((1 - smooth) / largest + smooth)
        if abs(found - expected) > 1e-3 * expected:
            return None
    return {"rope_type": "llama3", "factor": round(largest, 3), **LLAMA3}
