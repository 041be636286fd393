"""From where a dictionary is to a dictionary that fits a model: its files, its format, its model and its places."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from intravisto_core.errors import ModelError, RequestError, expected
from intravisto_core.models.dictionaries import circuit_tracer, gemma_scope, sae_lens
from intravisto_core.models.dictionaries.dictionary import Dictionary, LayerCoder
from intravisto_core.models.dictionaries.hooks import Form, Hook
from intravisto_core.models.dictionaries.tensors import PICKLES
from intravisto_core.models.loaded import LoadedModel
from intravisto_core.models.remote import folder_files, hub
from intravisto_core.progress import Report, quiet
from intravisto_core.sites import Site

_KINDS = {
    "SAELens": (sae_lens.CONFIG, sae_lens.WEIGHTS),
    "circuit-tracer": (circuit_tracer.CONFIG,),
    "Gemma Scope": (gemma_scope.ARRAYS,),
    "Gemma Scope 2": (gemma_scope.WEIGHTS,),
}
_REMOTE = re.compile(r"(?P<id>[^/@]+/[^/@]+)(?:/(?P<folder>[^@]+?))?/?(?:@(?P<revision>[\w./-]+))?")
# GGUF files are called by how they are packed as well
_PACKED = re.compile(r"[-_.](?:i?q\d\w*|f16|f32|bf16|fp16)$", re.IGNORECASE)
# what programs call models otherwise than the Hub does
_ALSO = {"gpt2small": "gpt2", "mistral7b": "mistral7bv01"}


def open_dictionary(
    source: str,
    model: LoadedModel,
    called: str | None = None,
    layers: frozenset[int] | None = None,
    revision: str | None = None,
    token: str | None = None,
    report: Report = quiet,
) -> Dictionary:
    """A dictionary for a model. source: a folder, or `owner/name/folder` on the Hub. called: what its config calls the
    model where that is not the model's own name. layers: of a set, which; None is all.

    Raises:
        RequestError: there is no such folder.
        ModelError: it is of another model, of another size, of a formula or place that is not known, or damaged.
        HubError: it cannot be had.
    """
    where = Path(source).name or source
    folder, named = _locate(source, layers, revision, token, report)
    kind = _find_kind(folder, where)
    report(0, 0, f"reading {where}")
    if kind == "circuit-tracer":
        trained_on, found = circuit_tracer.read_transcoders(folder, where, layers)
    else:
        trained_on, one = _read_one(kind, folder, named, where)
        found = {one.writes.layer: one}
        if layers not in (None, frozenset(found)):
            raise ModelError(expected(f"{where}: layers", f"None, or {sorted(found)}, which it is of", sorted(layers)))
    check_model(trained_on, model, called, where)
    fitting = {layer: _bind(each, layer, model, where) for layer, each in found.items()}
    return Dictionary(_name(named, kind, fitting), named, kind, trained_on, fitting)


def _read_one(kind: str, folder: Path, named: str, where: str) -> tuple[str, LayerCoder]:
    if kind == "SAELens":
        return sae_lens.read_sae(folder, named, where)
    if kind == "Gemma Scope":
        return gemma_scope.read_first(folder, named, where)
    return gemma_scope.read_second(folder, named, where)


def _locate(
    source: str, layers: frozenset[int] | None, revision: str | None, token: str | None, report: Report
) -> tuple[Path, str]:
    """The folder, and what it is called, with the names of the folders around it."""
    path = Path(source).expanduser()
    if path.is_file():
        path = path.parent
    if path.is_dir():
        return path, str(path.resolve())
    found = _REMOTE.fullmatch(source)
    if found is None or not hub.is_id(found["id"]) or ".." in source:
        allowed = "a folder with cfg.json, config.yaml or params.npz, or one on the Hub as owner/name/folder"
        raise RequestError(expected("dictionary", allowed, source, "Check the path or name"))
    inside = found["folder"] or ""

    def choose(names: Iterable[str]) -> list[str]:
        return choose_files(set(names), inside, layers)

    revision = revision or found["revision"]
    return folder_files.fetch_folder(found["id"], inside, revision, token, choose, report), source


def choose_files(names: set[str], inside: str, layers: frozenset[int] | None) -> list[str]:
    """Which files of a repository a dictionary in the folder `inside` is made of; none where there is no dictionary."""
    start = f"{inside}/" if inside else ""
    for kind, needed in _KINDS.items():
        whole = [start + name for name in needed]
        if set(whole) <= names:
            if kind != "circuit-tracer":
                more = start + gemma_scope.CONFIG
                return [*whole, more] if kind == "Gemma Scope 2" and more in names else whole
            own = {n: circuit_tracer.LAYER.fullmatch(n.removeprefix(start)) for n in names if n.startswith(start)}
            return whole + sorted(n for n, m in own.items() if m and (layers is None or int(m[1]) in layers))
    return []


def _find_kind(folder: Path, where: str) -> str:
    for kind, needed in _KINDS.items():
        if all((folder / name).is_file() for name in needed):
            return kind
    pickled = next((p.name for p in sorted(folder.iterdir()) if p.suffix in PICKLES), None)
    known = "; ".join(f"{' and '.join(needed)} ({kind})" for kind, needed in _KINDS.items())
    got = f"{pickled}, a pickle file, which is never opened" if pickled else "none of them"
    raise ModelError(f"{where}: expected {known}; it has {got}. Choose another dictionary")


def _name(named: str, kind: str, layers: Mapping[int, LayerCoder]) -> str:
    """A short name: its folder's, with what tells it from its neighbours."""
    folder = Path(named.partition("@")[0])
    if kind == "Gemma Scope":
        first = next(iter(layers.values()))
        return f"{first.writes.site}-{first.writes.layer}-{folder.parent.name}-{folder.name}"
    return folder.name


def check_model(trained_on: str, model: LoadedModel, called: str | None, where: str) -> None:
    """Refuse a dictionary of another model.

    Raises:
        ModelError: none of the model's names is the one in the config.
    """
    config = str(getattr(model.network.config, "_name_or_path", "") or "")
    names = [called] if called is not None else [model.name, model.spec.source, model.spec.base or "", config]
    if _plain(trained_on) in {_plain(name) for name in names if name}:
        return
    raise ModelError(
        f"{where}: expected a dictionary of {model.name}; this one was trained on {trained_on}. Open that model; or, "
        f'where it is the same one under another name, say so: add_dictionary(path, model="{trained_on}")'
    )


def _plain(name: str) -> str:
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2].partition(":")[0].removesuffix(".gguf")
    plain = re.sub(r"[^a-z0-9]", "", _PACKED.sub("", last).lower())
    return _ALSO.get(plain, plain)


def _bind(found: LayerCoder, layer: int, model: LoadedModel, where: str) -> LayerCoder:
    """A coder on the model's device, if its places and sizes are the model's.

    Raises:
        ModelError: they are not.
    """
    size = model.dimensions
    if not layer < size.n_layers:
        raise ModelError(expected(f"{where}: layer", f"0 to {size.n_layers - 1} of {model.name}", layer))
    if found.reads.layer != found.writes.layer:
        raise ModelError(f"{where}: expected it to read and write one layer; it reads {found.reads.layer}, not {layer}")
    for hook, width in ((found.reads, found.coder.w_enc.shape[0]), (found.writes, found.coder.w_dec.shape[1])):
        wanted = size.n_heads * size.d_value if hook.site is Site.Z else size.d_model
        if width != wanted:
            raise ModelError(
                f"{where}: expected {wanted:,} numbers at {hook.said} of {model.name}; it has {width:,}. It is of "
                "another model"
            )
        _check_place(hook, model, where)
    if found.writes.form in (Form.NORMED, Form.UNSCALED):
        raise ModelError(f"{where}: expected it to write something that joins the stream; {found.writes.said} does not")
    return LayerCoder(found.reads, found.writes, found.coder.to(model.device))


def _check_place(hook: Hook, model: LoadedModel, where: str) -> None:
    blueprint = model.blueprint
    block = blueprint.blocks[hook.layer]
    if blueprint.parallel and hook.site is Site.RESID_MID and hook.form is Form.WHOLE:
        raise ModelError(f"{where}: this model's blocks are parallel: there is no stream between attention and MLP")
    if hook.form in (Form.NORMED, Form.UNSCALED) and (block.mlp is None or block.mlp.norm is None):
        raise ModelError(f"{where}: expected a norm before the MLP of {model.name}; it is not known")
    if hook.form is Form.PROJECTED and (block.mlp_post_norm is not None or blueprint.multiplier != 1.0):
        raise ModelError(f"{where}: this model's MLP output goes through a norm or factor; {hook.said} is before it")
