"""A model from its configuration alone, on the meta device: its structure without one weight."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from intravisto_core.errors import ModelError, TraceError, expected
from intravisto_core.inspection.inspector import Inspector
from intravisto_core.models.construction import loading
from intravisto_core.models.files.guard import refusing_damage
from intravisto_core.models.files.settings import FILE, in_one_line
from intravisto_core.models.remote import hub
from intravisto_core.models.remote.folder_files import fetch_folder
from intravisto_core.progress import quiet

N_TOKENS = 8
USUAL_SIDE = 224


def open_skeleton(source: str, token: str | None = None) -> Inspector:
    """An Inspector of a model that is made from a config, and was called once, as far as that went.

    source: a folder with a config.json, such a file, or a name on the Hub, of which the configuration alone is fetched.
    token: for the Hub, as `open_model` takes it.

    Raises:
        ModelError: there is no such configuration, or transformers has no model for it.
    """
    with refusing_damage(source):
        place, name = _locate(source, token)
        try:
            config = json.loads(place.read_text("utf-8"))
        except ValueError as error:
            raise ModelError(f"{place.name}: expected a configuration in JSON; {in_one_line(error)}") from error
        model = _build(config, source)
    inspector = Inspector(model, name=name)
    own = next((p.dtype for p in model.parameters()), torch.float32)
    # products by expert are known on the meta device in bfloat16 alone
    for dtype in dict.fromkeys((own, torch.bfloat16)):
        try:
            with torch.no_grad():
                inspector.forward(**find_inputs(model.to(dtype)))
            break
        except TraceError:
            # what ran until then is drawn, with the place where it failed
            continue
    model.to(own)
    return inspector


def _locate(source: str, token: str | None) -> tuple[Path, str]:
    """The configuration, and what the model is called."""
    place = Path(source).expanduser()
    for file in (place, place / FILE):
        if file.is_file() and file.suffix == ".json":
            return file, file.resolve().parent.name
    if not place.exists() and hub.is_id(source):
        found = fetch_folder(source, "", None, token, lambda names: [n for n in names if n == FILE], quiet, f"a {FILE}")
        return found / FILE, source.rpartition("/")[2]
    raise ModelError(expected("model", f"a folder with a {FILE}, such a file, or a name on the Hub", source))


def _build(config: Any, source: str) -> nn.Module:
    import transformers

    kind = str(config.get("model_type")) if isinstance(config, dict) else ""
    if kind not in transformers.CONFIG_MAPPING:
        raise ModelError(expected(f"{source}: model_type", "a kind of model that transformers knows by itself", kind))
    try:
        settings = transformers.CONFIG_MAPPING[kind].from_dict(config)
        names = config.get("architectures") or []
        cls = getattr(transformers, str(names[0]), None) if names else None
        with loading(quiet), torch.device("meta"):
            model: nn.Module = cls(settings) if cls is not None else transformers.AutoModel.from_config(settings)
        stated = getattr(settings, "dtype", None)
        return model.to(stated).eval() if isinstance(stated, torch.dtype) else model.eval()
    except Exception as error:
        raise ModelError(
            f"{source}: transformers could not make this model ({type(error).__name__}: {in_one_line(error)})"
        ) from error


def find_inputs(model: Any) -> dict[str, Tensor]:
    """Something to call a transformers model with, on the meta device: eight tokens, or one image."""
    config, name = model.config, str(getattr(model, "main_input_name", "input_ids"))
    ids = torch.zeros((1, N_TOKENS), dtype=torch.int64, device="meta")
    if name == "input_ids":
        more = {"decoder_input_ids": ids} if getattr(config, "is_encoder_decoder", False) else {}
        return {"input_ids": ids, **more}
    if name == "pixel_values":
        vision = getattr(config, "vision_config", config)
        side = getattr(vision, "image_size", USUAL_SIDE) or USUAL_SIDE
        height, width = side if isinstance(side, list | tuple) else (side, side)
        channels = getattr(vision, "num_channels", 3) or 3
        image = torch.empty((1, channels, height, width), device="meta", dtype=model.dtype)
        with_text = {"input_ids": ids} if hasattr(config, "text_config") else {}
        return {"pixel_values": image, **with_text}
    given = {"input_features": (1, getattr(config, "num_mel_bins", 80), 3000), "input_values": (1, 16000)}
    return {name: torch.empty(given.get(name, (1, N_TOKENS)), device="meta", dtype=model.dtype)}
