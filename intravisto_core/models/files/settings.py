"""transformers' configuration of a folder: every field that matters is of its kind, or refused by its name."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping
from typing import Any

from transformers import CONFIG_MAPPING, PreTrainedConfig

from intravisto_core.errors import ModelError, expected

FILE = "config.json"
_SIZES = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
_SIZES_OR_NONE = (
    *("num_key_value_heads", "head_dim", "intermediate_size", "moe_intermediate_size", "max_position_embeddings"),
)
# The same by the names that older families give them.
_OLD_SIZES = (
    *("n_layer", "n_layers", "num_layers", "n_head", "n_heads", "num_heads", "n_embd", "d_model", "n_positions"),
    *("max_seq_len", "ffn_dim", "n_inner"),
)
_NUMBERS_ABOVE_0 = ("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "layernorm_epsilon", "norm_eps")
_DTYPES = ("float32", "float16", "bfloat16", "float64")
_ROPE = (
    *("rope_theta", "factor", "short_factor", "long_factor", "original_max_position_embeddings", "beta_fast"),
    *("beta_slow", "low_freq_factor", "high_freq_factor", "partial_rotary_factor", "attention_factor"),
)
# What callers ask for themselves at each run; a checkpoint's own wishes would change what the model returns.
_RETURNED = {"return_dict": True, "output_attentions": False, "output_hidden_states": False}


def read_settings(config: Mapping[str, Any], name: str) -> Any:
    """The configuration that a config.json makes.

    config: its content. name: how messages call the folder.

    Raises:
        ModelError: a field is not of its kind, with its name; or transformers refuses it.
    """
    _check_fields(config, name)
    family, dtype = str(config["model_type"]), _dtype(config)
    # as AutoConfig has it
    if family == "mistral" and "layer_types" in config:
        family = "ministral"
    try:
        kind = CONFIG_MAPPING[family]
        usual = _RETURNED | {"model_type": family} | ({} if dtype is None else {"dtype": dtype})
        settings = kind.from_dict(_with_floats(kind, config) | usual)
        _check_sizes(settings.get_text_config(), name)
        return settings
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            f"{name}: transformers could not read {FILE} ({type(error).__name__}: {in_one_line(error)}). "
            "Download or save it again"
        ) from error


def in_one_line(error: BaseException, most: int = 300) -> str:
    """The message of an error, its lines joined, and cut where it is long."""
    said = " ".join(str(error).split())
    return said if len(said) <= most else f"{said[:most]} …"


def _with_floats(kind: type, config: Mapping[str, Any]) -> dict[str, Any]:
    """Whole numbers where a fraction is expected, such as `rms_norm_eps: 1`, as floats: JSON has one kind of number."""
    fields = {f.name: f.type for f in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else {}
    inside: Mapping[str, Any] = getattr(kind, "sub_configs", None) or {}
    found = dict(config)
    for key, value in config.items():
        if type(value) is int and _takes_floats_alone(fields.get(key)):
            found[key] = float(value)
        elif isinstance(value, Mapping) and key in inside:
            part = CONFIG_MAPPING.get(str(value.get("model_type")), inside[key])
            found[key] = _with_floats(part, value) if isinstance(part, type) else dict(value)
    return found


def _takes_floats_alone(kind: Any) -> bool:
    kinds = typing.get_args(kind) or (kind,)
    return float in kinds and int not in kinds


def _check_fields(config: Mapping[str, Any], name: str) -> None:
    """What transformers would take for granted, or read without being asked."""
    if (dtype := _dtype(config)) is not None and dtype not in _DTYPES:
        raise ModelError(f"{name}: {expected(f'dtype in {FILE}', _DTYPES, dtype, 'Correct it, or remove the line')}")
    if config.get("transformers_weights") is not None:
        raise ModelError(
            f"{name}: expected {FILE} without transformers_weights, which names a file to be read instead of the usual "
            "one; what is read here are the *.safetensors of the folder. Remove the line"
        )
    named = config.get("architectures")
    if named is not None and not (isinstance(named, list) and all(isinstance(a, str) for a in named)):
        raise _wrong("architectures", "a list of names", named, name)
    for key, value in config.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise _wrong(key, "a finite number", value, name)
        if key in (*_SIZES, *_SIZES_OR_NONE, *_OLD_SIZES) and type(value) in (int, float) and value <= 0:
            raise _wrong(key, "a whole number above 0", value, name)


def _dtype(config: Mapping[str, Any]) -> str | None:
    """The dtype that a config names, without "torch." in front."""
    named = config.get("dtype") or config.get("torch_dtype")
    return None if named is None else str(named).removeprefix("torch.")


def _check_sizes(settings: PreTrainedConfig, name: str) -> None:
    """Sizes of the text model that every family has, by the names that transformers gives them."""
    for key in (*_SIZES, *_SIZES_OR_NONE):
        value = getattr(settings, key, None)
        listed = value if isinstance(value, list) else [value]
        if value is None and key not in _SIZES:
            continue
        if not all(type(v) is int and v > 0 for v in listed):
            raise _wrong(key, "a whole number above 0", value, name)
    for key in _NUMBERS_ABOVE_0:
        value = getattr(settings, key, None)
        if value is not None and not _above_0(value):
            raise _wrong(key, "a number above 0", value, name)
    heads: Any = settings.num_attention_heads
    kv_heads: Any = getattr(settings, "num_key_value_heads", None)
    if isinstance(heads, int) and isinstance(kv_heads, int) and heads % kv_heads:
        raise _wrong("num_key_value_heads", f"a divisor of num_attention_heads, {heads}", kv_heads, name)
    _check_rope(getattr(settings, "rope_parameters", None), name)


def _check_rope(parameters: Any, name: str) -> None:
    """Numbers of rotary positions, which transformers computes with unseen: a factor of 0 makes everything NaN."""
    if not isinstance(parameters, Mapping):
        return
    for key, value in parameters.items():
        if isinstance(value, Mapping):
            _check_rope(value, name)
        elif (
            key in _ROPE and value is not None and not all(map(_above_0, value if isinstance(value, list) else [value]))
        ):
            raise _wrong(f"{key} of rope_parameters", "numbers above 0", value, name)


def _above_0(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value > 0


def _wrong(field: str, wanted: str, value: Any, name: str) -> ModelError:
    shown = value if isinstance(value, int | float) else str(value)[:80]
    return ModelError(f"{name}: {expected(f'{field} in {FILE}', wanted, shown, 'Download the file again')}")
