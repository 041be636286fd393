"""A LoRA adapter's change added to the matrices of its base model, by peft."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from safetensors.torch import load_file
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from intravisto_core.errors import ModelError
from intravisto_core.models import quantisation
from intravisto_core.models.adapters import CARRIED, WEIGHTS, Adapter
from intravisto_core.models.files.settings import in_one_line
from intravisto_core.models.free_memory import is_short
from intravisto_core.models.placement import Placement
from intravisto_core.records.memory import MemoryEstimate

_PREFIX, _NAME = "base_model.model.", "default"


def add_to(needed: MemoryEstimate, adapter: Adapter | None) -> MemoryEstimate:
    """An estimate of the base with what merging takes: the adapter, and the matrices that are no longer the file's."""
    if adapter is None:
        return needed
    return replace(needed, loading=needed.loading + 2 * adapter.nbytes, mapped=max(needed.mapped, needed.weights))


def merge(network: PreTrainedModel, adapter: Adapter | None, where: Placement) -> PreTrainedModel:
    """The base model with the adapter's change added to its matrices; at scale 0, or without one, as it was.

    Raises:
        ModelError: the adapter does not fit this base, or where its weights lie.
    """
    if adapter is None or adapter.scale == 0:
        return network
    if where.scratch is not None or quantisation.quantised(network):
        raise ModelError(
            f"{adapter.name}: expected a base model in plain weights on one device, into which an adapter can be "
            "merged; this one is packed, or does not fit there. Choose another base, or device_map 'cpu'"
        )
    base = adapter.base.source
    modules = dict(network.named_modules())
    if strange := next((m for m in adapter.modules if m not in modules), None):
        raise ModelError(
            f"{adapter.name}: expected a base model that has all matrices which the adapter changes; {base} has no "
            f"{strange}. They do not belong together: give the base that it was trained on"
        )
    try:
        merged = _merged(network, adapter, modules)
    except Exception as error:
        if is_short(error) or isinstance(error, ModelError):
            raise
        raise ModelError(
            f"{adapter.name}: peft could not merge it into {base} ({type(error).__name__}: {in_one_line(error)}). "
            "Check that adapter and base belong together"
        ) from error
    found: PreTrainedModel = merged.eval().requires_grad_(False)
    return found


def _merged(network: PreTrainedModel, adapter: Adapter, modules: dict[str, nn.Module]) -> Any:
    from peft import LoraConfig, PeftModel, set_peft_model_state_dict
    from peft.tuners.lora import LoraLayer

    given = {key: adapter.config[key] for key in CARRIED if adapter.config.get(key) is not None}
    ranks = adapter.ranks
    given |= {
        "target_modules": list(adapter.modules),
        "rank_pattern": {f"^{re.escape(name)}$": rank for name, rank in ranks.items()},
        "r": next(iter(ranks.values())),
        # every number comes from the file
        "init_lora_weights": True,
        "fan_in_fan_out": any(isinstance(modules[name], Conv1D) for name in adapter.modules),
        "inference_mode": True,
    }
    wrapped: Any = PeftModel(network, LoraConfig(**given), adapter_name=_NAME)
    found: Any = set_peft_model_state_dict(wrapped, load_file(adapter.folder / WEIGHTS), adapter_name=_NAME)
    missing = [k for k in found.missing_keys if "lora_" in k or "modules_to_save" in k]
    if wrong := sorted([*found.unexpected_keys, *missing]):
        what = "has no place in the base" if found.unexpected_keys else "is missing"
        raise ModelError(
            f"{adapter.name}: expected the tensors that its config asks for; {wrong[0].removeprefix(_PREFIX)} {what} "
            f"({len(wrong)} such in all). Download it again, or give the base that it was trained on"
        )
    if adapter.scale != 1:
        for module in wrapped.modules():
            if isinstance(module, LoraLayer):
                module.set_scale(_NAME, adapter.scale)
    return wrapped.merge_and_unload(safe_merge=True)
