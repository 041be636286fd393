"""LoRA adapters: a change of another model's matrices, read from a folder; `adapter_merging` makes the change."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from intravisto_core.errors import MissingProgramError, ModelError, RequestError, expected, show_value
from intravisto_core.models.files import checkpoint
from intravisto_core.models.files.checkpoint import TensorHeader
from intravisto_core.models.files.folder import check_place, hash_edges, read_by_name, shown
from intravisto_core.request import ModelSpec

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PICKLED = ("adapter_model.bin", "adapter_model.pt")
_OF_MODULE = re.compile(r"base_model\.model\.([\w.]+)\.lora_(?:A|embedding_A)(?:\.weight)?", re.ASCII)
# a name in a pattern of peft's, which is a regular expression: one that could run for ever is not tried
_PLAIN = re.compile(r"\^?[\w.]+\$?", re.ASCII)
# how training began, which the trained numbers no longer show; other ways have changed the base model as well
_BEGINNINGS = (True, False, None, "gaussian", "orthogonal", "eva")
# what is handed on to peft
CARRIED = (
    *("r", "lora_alpha", "use_rslora", "fan_in_fan_out", "use_dora", "bias", "modules_to_save", "rank_pattern"),
    *("alpha_pattern", "init_lora_weights"),
)
# told by the tensors themselves, or of training alone
_TOLD = (
    *("peft_type", "task_type", "peft_version", "base_model_name_or_path", "revision", "inference_mode"),
    *("auto_mapping", "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "lora_dropout"),
    *("megatron_core", "qalora_group_size", "runtime_config", "ensure_weight_tying", "eva_config"),
)


@dataclass(frozen=True, slots=True)
class Adapter:
    """A folder whose config and headers were read and found good. base: the model that it changes. modules: names of
    the matrices that it changes."""

    folder: Path
    name: str
    config: dict[str, Any]
    tensors: tuple[TensorHeader, ...]
    base: ModelSpec
    scale: float

    @property
    def modules(self) -> tuple[str, ...]:
        """Names of the matrices that it changes."""
        return tuple(found[1] for t in self.tensors if (found := _OF_MODULE.fullmatch(t.name)))

    @property
    def ranks(self) -> dict[str, int]:
        """The rank of the change of each matrix."""
        return {f[1]: min(t.shape) for t in self.tensors if (f := _OF_MODULE.fullmatch(t.name))}

    @property
    def has_tokenizer(self) -> bool:
        """Whether it brings the tokenizer that it was trained with, which may have another chat template."""
        return (self.folder / "tokenizer.json").is_file()

    @property
    def nbytes(self) -> int:
        """What it takes in memory."""
        return sum(t.numel * 4 for t in self.tensors)

    @property
    def digest(self) -> str:
        """A short hash of config and weights."""
        digest = hashlib.sha256((self.folder / CONFIG).read_bytes())
        hash_edges(digest, self.folder / WEIGHTS)
        return digest.hexdigest()[:16]

    @property
    def called(self) -> str:
        """Its name, with its scale where that is not the usual one."""
        return self.name if self.scale == 1 else f"{self.scale:g} × {self.name}"

    def note(self, base: str) -> str:
        """What the card says of it. base: the name of the model that it was merged into."""
        ranks = sorted(set(self.ranks.values()))
        rank = f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {ranks[0]} to {ranks[-1]}"
        return (
            f"LoRA adapter {self.name} ({self.digest}) merged into {base} at scale {self.scale:g}: {rank}, "
            f"{len(self.modules)} matrices"
        )


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter; weights that lie beside one are not read."""
    return (folder / CONFIG).is_file()


def require_package(what: str) -> None:
    """Raises:
    MissingProgramError: peft is not installed.
    """
    try:
        import peft  # noqa: F401
    except ImportError:
        raise MissingProgramError(
            f"{what}: this is a LoRA adapter, which changes another model. Expected the package peft, which merges it; "
            "it is not installed. Install it (pip install 'intravisto[adapters]'), or choose a merged model"
        ) from None


def refuse_options(spec: ModelSpec) -> None:
    """Raises:
    RequestError: a spec of a model that is no adapter has an adapter's options.
    """
    for option, usual in (("base", None), ("adapter_scale", 1.0)):
        if (asked := getattr(spec, option)) != usual:
            raise RequestError(expected(option, f"{usual} for {spec.source}, which is no LoRA adapter", asked))


def read_adapter(folder: Path, spec: ModelSpec) -> Adapter:
    """Read what an adapter says of itself, and the headers of its weights.

    Raises:
        ModelError: it is damaged, pickled, or of a kind that is not merged here, by name; or its base is not known.
        MissingProgramError: peft is not installed.
    """
    called = shown(folder)
    require_package(called)
    for file in read_by_name(folder):
        check_place(folder, file)
    config = _config(folder, called)
    tensors = _headers(folder, called)
    _check_kind(config, tensors, called, spec)
    if spec.quantisation or spec.device_map == "offload":
        asked = f"quantisation {spec.quantisation!r}" if spec.quantisation else "device_map 'offload'"
        raise ModelError(
            f"{called}: expected a base model in plain weights in memory, into which an adapter can be merged; got "
            f"{asked}. Open it without"
        )
    name = spec.source if not Path(spec.source).expanduser().is_dir() else folder.resolve().name
    return Adapter(folder, name, config, tensors, base_of(config, spec, called), spec.adapter_scale)


def base_of(config: dict[str, Any], spec: ModelSpec, called: str) -> ModelSpec:
    """The model that an adapter changes: as the spec says, else as its config names it.

    Raises:
        ModelError: neither names one.
    """
    base = spec.base or config.get("base_model_name_or_path")
    if not isinstance(base, str) or not base.strip():
        raise ModelError(
            f"{called}: expected an adapter that names its base model; {CONFIG} does not. Give it: "
            "ModelSpec(source, base=…), or --base"
        )
    revision = config.get("revision") if spec.base is None else None
    return replace(
        spec,
        source=base,
        revision=revision if isinstance(revision, str) and not Path(base).expanduser().exists() else None,
        base=None,
        adapter_scale=1.0,
    )


def read_config(folder: Path) -> dict[str, Any]:
    """An adapter's config as it stands; nothing where it is damaged."""
    try:
        found = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _config(folder: Path, called: str) -> dict[str, Any]:
    config = read_config(folder)
    if not isinstance(config.get("peft_type"), str):
        raise ModelError(f"{called}: expected {CONFIG} to be JSON with a peft_type; it is not. Download it again")
    if config["peft_type"] != "LORA":
        kind = show_value(config["peft_type"][:80])
        raise ModelError(
            f"{called}: expected a LoRA adapter; it is of the kind {kind}, which cannot be merged into "
            "matrices here. Choose a merged model"
        )
    return config


def _headers(folder: Path, called: str) -> tuple[TensorHeader, ...]:
    file = folder / WEIGHTS
    if not file.is_file():
        if pickled := next((name for name in _PICKLED if (folder / name).is_file()), None):
            raise ModelError(
                f"{called}: expected an adapter in safetensors; found only {pickled}, a pickle file that could run any "
                "code when opened. Save it again with save_pretrained, which writes safetensors"
            )
        raise ModelError(
            f"{called}: {CONFIG} says that this is an adapter; expected its weights {WEIGHTS}, found none. Download "
            f"them; or take {CONFIG} away, if the weights beside it are a whole model"
        )
    try:
        return tuple(checkpoint.headers([file]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise ModelError(
            f"{called}: expected {WEIGHTS} to be a safetensors file; it is damaged ({error}). Download it again"
        ) from error


def _check_kind(config: dict[str, Any], tensors: tuple[TensorHeader, ...], called: str, spec: ModelSpec) -> None:
    """Refuse what peft would do to the base model beside adding products, or what it would leave out."""
    todo = "Choose a merged model"
    odd = next((k for k, v in config.items() if v and k not in (*CARRIED, *_TOLD)), None)
    if odd is None and config.get("init_lora_weights") not in _BEGINNINGS:
        odd = "init_lora_weights"
    if odd is None and config.get("task_type") not in (None, "CAUSAL_LM"):
        odd = "task_type"
    for key in ("rank_pattern", "alpha_pattern", "modules_to_save"):
        if odd is None and not all(isinstance(n, str) and _PLAIN.fullmatch(n) for n in config.get(key) or ()):
            odd = key
    if odd is not None:
        raise ModelError(
            f"{called}: expected a LoRA adapter that only adds to matrices of a language model; its {odd} is "
            f"{str(config[odd])[:80]!r}, which is not merged here. {todo}"
        )
    if not any(_OF_MODULE.fullmatch(t.name) for t in tensors):
        raise ModelError(f"{called}: expected tensors called …lora_A and …lora_B; it has none. {todo}")
    part = next((k for k in ("use_dora", "modules_to_save") if config.get(k)), None)
    part = "bias" if part is None and config.get("bias", "none") != "none" else part
    if part is not None and spec.adapter_scale not in (0.0, 1.0):
        raise ModelError(
            f"{called}: expected adapter_scale 1 or 0 for an adapter that does more than add to matrices (its {part} "
            f"is {str(config[part])[:80]!r}); got {spec.adapter_scale:g}"
        )


@contextmanager
def without_adapter(folder: Path) -> Iterator[Path]:
    """The folder, or where an adapter lies beside its weights, one with all its files but these: transformers would
    add it by itself."""
    if not is_adapter(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="intravisto-") as made:
        for file in folder.iterdir():
            if file.is_file() and not file.name.startswith("adapter_"):
                (Path(made) / file.name).symlink_to(file.resolve())
        yield Path(made)
