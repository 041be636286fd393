"""Open a model folder with plain transformers, refusing what would give wrong numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.utils import logging as transformers_logging

from intravisto_core.architectures import bind, find, names
from intravisto_core.errors import ModelError, RequestError
from intravisto_core.models import folder as folders
from intravisto_core.models.inferred import infer
from intravisto_core.models.loaded import LoadedModel, measure
from intravisto_core.models.norms import NormFormula
from intravisto_core.models.weights import Weights
from intravisto_core.request import ModelSpec
from intravisto_core.tokens import TokenReader

ATTENTION_PATH = "eager-captured-1"


def load(spec: ModelSpec) -> LoadedModel:
    """Load a model.

    Raises:
        ModelError: the source, its files or its family do not serve, with what to do.
        RequestError: the device asked for is not there.
    """
    folder = folders.resolve(spec.source)
    config = folders.read_config(folder)
    files = folders.check_weights(folder)
    device = _device(spec.device_map)
    tokenizer = _tokenizer(folder)
    family = config["model_type"]
    declared = find(family) if family in names() else None
    network = _network(folder, spec, device, declared.kernel(_settings(folder)) if declared else "eager")
    architecture = declared or infer(network)
    blueprint = bind(architecture, network)
    weights = Weights(blueprint)
    dtype = str(network.dtype).removeprefix("torch.")
    return LoadedModel(
        spec=spec,
        name="demo" if spec.source == "demo" else folder.resolve().name,
        resolved=f"{folders.weights_hash(folder, files)}:{dtype}:{device.type}:{ATTENTION_PATH}",
        network=network,
        tokenizer=tokenizer,
        blueprint=blueprint,
        dimensions=measure(network, blueprint, weights),
        weights=weights,
        norm=NormFormula.of(blueprint.final_norm, architecture),
        reader=TokenReader(tokenizer),
    )


def _settings(folder: Path) -> Any:
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise ModelError(
            f"{folder / 'config.json'}: transformers could not read it ({type(error).__name__}: {error}). "
            "Download or save it again"
        ) from error


def _device(device_map: str) -> torch.device:
    if device_map == "cuda" and not torch.cuda.is_available():
        raise RequestError('device_map: expected a machine with a CUDA device for "cuda"; none was found. Use "cpu"')
    if device_map == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device_map)


def _tokenizer(folder: Path) -> Any:
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{folder}: expected tokenizer files (tokenizer.json); they are missing or damaged "
            f"({type(error).__name__}). Save the tokenizer into the same folder"
        ) from error


def _network(folder: Path, spec: ModelSpec, device: torch.device, kernel: str) -> PreTrainedModel:
    transformers_logging.disable_progress_bar()
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            attn_implementation=kernel,
            dtype="auto" if spec.dtype == "auto" else getattr(torch, spec.dtype),
            output_loading_info=True,
        )
    except Exception as error:
        raise ModelError(
            f"{folder}: transformers could not load it ({type(error).__name__}: {error}). "
            "Check that config.json and the weights belong together"
        ) from error
    network, info = loaded
    for kind in ("missing_keys", "mismatched_keys"):
        if names := sorted(str(n) for n in info.get(kind, ())):
            raise ModelError(
                f"{folder}: {kind.replace('_', ' ')} in the weights, first {names[0]} ({len(names)} in all); "
                "filled with random numbers they would show nonsense. Download or save the model again"
            )
    model: PreTrainedModel = network.to(device).eval().requires_grad_(False)
    return model
