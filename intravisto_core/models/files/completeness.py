"""Whether the weights of a folder fill the model of its config, and whether the model has a place for all of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from intravisto_core.errors import ModelError
from intravisto_core.models.files.checkpoint import TensorHeader, is_made_anew

# Parts that are left out on purpose: towers for images and sound with what joins them to the text model, and layers
# that were trained to predict further tokens.
_LEFT_OUT = frozenset(
    (
        *("vision_tower", "vision_model", "vision_encoder", "visual", "image_newline", "embed_vision"),
        *("audio_tower", "audio_encoder", "embed_audio", "multi_modal_projector", "mm_projector", "mtp", "mtp_layers"),
    )
)
# Tables that every model makes of its config, stored by older programs.
_TABLES = re.compile(
    r"(^|\.)(inv_freq|position_ids|alibi|causal_mask|(rotary_emb|rotary_pos_emb|rotary)\.\w+|attn\.embed_positions)$"
)
_CAUSAL = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration", "ForImageTextToText", "DoubleHeadsModel")


def check_complete(info: Any, settings: Any, tensors: Iterable[TensorHeader], name: str) -> None:
    """Refuse weights that do not fill the model, or that it has no place for.

    transformers would fill the one with random numbers and leave the other out, without an error. info: what its loader
    tells. settings: its configuration. tensors: headers of the files. name: how messages call the folder.

    Raises:
        ModelError: some are missing, have another shape, or have no place.
    """
    if wrong := sorted(info.get("mismatched_keys", ())):
        first, stored, wanted = wrong[0]
        raise ModelError(
            f"{name}: expected weights of the sizes in config.json; {first} is {tuple(stored)} and should be "
            f"{tuple(wanted)} ({len(wrong)} such in all). They do not belong together: download or save the model again"
        )
    task = f" {said}." if (said := another_task(settings)) else ""
    if missing := sorted(info.get("missing_keys", ())):
        raise ModelError(
            f"{name}: expected all weights that config.json asks for; {missing[0]} is missing ({len(missing)} in all)."
            f"{task} Download or save the model again"
        )
    if errors := list(info.get("error_msgs", ())):
        raise ModelError(f"{name}: expected weights that can be read; {str(errors[0])[:300]}. Download them again")
    if homeless := sorted(k for k in info.get("unexpected_keys", ()) if not _harmless(k, settings, tensors)):
        raise ModelError(
            f"{name}: expected a model with a place for all of its weights; that of config.json has none for "
            f"{homeless[0]} ({len(homeless)} such in all), and what is shown would be another model.{task} Check that "
            "config.json belongs to these weights (its number of layers, its biases), or download the model again"
        )


def another_task(settings: Any) -> str:
    """What a config says where it names an architecture that is no causal language model, or ""."""
    named = [a for a in getattr(settings, "architectures", None) or () if isinstance(a, str)]
    if not named or any(a.endswith(_CAUSAL) for a in named):
        return ""
    return f"config.json names {named[0]} as its architecture, which is no causal language model"


def _harmless(key: str, settings: Any, tensors: Iterable[TensorHeader]) -> bool:
    if _LEFT_OUT & set(key.split(".")) or _TABLES.search(key) or _predicts_further(key, settings.get_text_config()):
        return True
    return is_made_anew(key) and not any(_same(key, tensor.name) for tensor in tensors)


def _same(key: str, stored: str) -> bool:
    """Whether a key is that of a tensor in the files: one of them may have the trunk's name in front."""
    return key == stored or key.endswith(f".{stored}") or stored.endswith(f".{key}")


def _predicts_further(key: str, config: Any) -> bool:
    """Whether it is of a layer after the last one that was trained to predict the token after the next."""
    more, first = getattr(config, "num_nextn_predict_layers", None) or 0, getattr(config, "num_hidden_layers", 0)
    layer = re.search(r"(?:^|\.)layers\.(\d+)\.", key)
    return layer is not None and first <= int(layer[1]) < first + more
