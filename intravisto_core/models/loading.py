"""Open a model folder with plain transformers, refusing what would give wrong numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from intravisto_core.architectures import Architecture, auto_class, bind, find, names
from intravisto_core.errors import IntravistoError, ModelError
from intravisto_core.models import adapters, quantisation
from intravisto_core.models.adapter_merging import add_to, merge
from intravisto_core.models.adapters import Adapter
from intravisto_core.models.construction import loading
from intravisto_core.models.files import checkpoint
from intravisto_core.models.files import folder as folders
from intravisto_core.models.files.completeness import another_task, check_complete
from intravisto_core.models.files.generation_file import GenerationFile, read_generation
from intravisto_core.models.files.guard import refusing_damage
from intravisto_core.models.files.plausible import check_plausible
from intravisto_core.models.files.settings import in_one_line, read_settings
from intravisto_core.models.files.tokenizer_files import describe_differences, describe_lost, open_tokenizer
from intravisto_core.models.free_memory import all_free, is_short
from intravisto_core.models.gguf import gguf
from intravisto_core.models.gguf.memory import dtype_of, estimate_gguf
from intravisto_core.models.inferred import infer
from intravisto_core.models.loaded import LoadedModel, count_heads, measure
from intravisto_core.models.memory import estimate, require_room
from intravisto_core.models.norms import NormFormula
from intravisto_core.models.placement import Placement, place
from intravisto_core.models.reading import telling
from intravisto_core.models.source import locate, locate_base, name
from intravisto_core.models.weights import Weights, read_in
from intravisto_core.progress import Report, quiet
from intravisto_core.request import ModelSpec
from intravisto_core.tokens import TokenReader

ATTENTION_PATH = "eager-captured-1"

T = TypeVar("T")


def nothing(nbytes: int) -> None:
    """Makes no room."""


def load(
    spec: ModelSpec,
    token: str | None = None,
    report: Report = quiet,
    make_room: Callable[[int], None] = nothing,
) -> LoadedModel:
    """Load a model, downloaded first where it is on the Hub.

    The hash of its files may still be under way when it is there. A closer look at its tokenizer is taken when it is
    asked for: it keeps Python busy, which opening and a first run would wait for.

    token: for the Hub, used for this call and kept nowhere. report: is told how far it is; what it raises ends a
    download within a piece of it, and reading within a tensor. make_room: is told the bytes of the weights before they
    are read.

    Raises:
        ModelError: the source, its files or its family do not serve, with what to do.
        MemoryShortError: it does not fit; nothing was allocated.
        RequestError: the device asked for is not there.
    """
    folder = locate(spec, token, report)
    adapter = None
    if adapters.is_adapter(folder):
        adapter = adapters.read_adapter(folder, spec)
        folder = locate_base(adapter, token, report)
    else:
        adapters.refuse_options(spec)
    if folder.is_file():
        return _load_gguf(spec, folder, adapter, report, make_room)
    config = folders.read_config(folder)
    files = folders.check_weights(folder)
    shown = folders.shown(folder)
    quantisation.check_asked(config, spec, shown)
    settings, tensors = read_settings(config, shown), checkpoint.headers(files)
    check_plausible(settings, tensors, shown)
    needed = add_to(estimate(spec, folder, tensors), adapter)
    make_room(needed.weights)
    require_room(replace(needed, free=all_free()), spec.source)
    report(0, 0, "reading the weights")
    own_words = adapter is not None and adapter.has_tokenizer
    words = adapter.folder if adapter is not None and own_words else folder
    tokenizer = open_tokenizer(words, settings, folders.shown(words))
    reader = TokenReader(tokenizer)
    said = read_generation(folder, settings, shown)
    family = settings.get_text_config().model_type
    declared = find(family) if family in names() else None
    kernel = declared.kernel(settings) if declared else "eager"
    with _beside() as beside:
        digest = beside.submit(_refusing, shown, lambda: folders.weights_hash(folder, files))
        with loading(report), telling(report, files):
            in_few_bits = bool(spec.quantisation or config.get("quantization_config"))
            where = place(spec.device_map, settings, needed.weights, packed=in_few_bits)
            with adapters.without_adapter(folder) as plain:
                network, info = _network(plain, spec, where, settings, kernel, said)
            check_complete(info, settings, tensors, shown)
            network = merge(network, adapter, where)
        read_in(network, report)
        report(0, 0, "checking that what it shows will be true")

    def look_closer() -> tuple[str, ...]:
        return (*describe_differences(words, tokenizer, reader), *_notes_of_template(reader))

    source = spec.source if adapter is None else adapter.base.source
    notes = (*_notes(settings), *said.notes)
    found = _Found(folders.name(source, folder), digest.result, shown, notes, look_closer).with_adapter(adapter)
    return _bound(spec, found, network, declared or infer(network), tokenizer, reader, where)


def _load_gguf(
    spec: ModelSpec, file: Path, adapter: Adapter | None, report: Report, make_room: Callable[[int], None]
) -> LoadedModel:
    """`load` of a GGUF file, which may be the base of an adapter."""
    model = gguf.open_file(file, name(spec if adapter is None else adapter.base, file))
    gguf.check_asked(spec, model.name)
    needed = add_to(estimate_gguf(spec, model.header, model.settings), adapter)
    make_room(needed.weights)
    require_room(replace(needed, free=all_free()), model.name)
    report(0, 0, "reading the vocabulary")
    tokenizer = _adapter_tokenizer(adapter, model.settings) or gguf.read_tokenizer(model)
    reader = TokenReader(tokenizer)
    family = model.settings.model_type
    declared = find(family) if family in names() else None
    with _beside() as beside:
        digest = beside.submit(_refusing, model.name, model.digest)
        with loading(report):
            where = place(spec.device_map, model.settings, needed.weights)
            kernel = declared.kernel(model.settings) if declared else "eager"
            network = gguf.read_network(model, dtype_of(spec), where, kernel, report)
            network = merge(network, adapter, where)
        read_in(network, report)
        report(0, 0, "checking that what it shows will be true")

    def look_closer() -> tuple[str, ...]:
        return (*describe_lost(reader), *_notes_of_template(reader))

    found = _Found(model.name, digest.result, model.name, model.notes, look_closer).with_adapter(adapter)
    return _bound(spec, found, network, declared or infer(network), tokenizer, reader, where)


@contextmanager
def _beside() -> Iterator[ThreadPoolExecutor]:
    """A thread for what needs no weights in memory; what it does goes on after this context."""
    threads = ThreadPoolExecutor(1, thread_name_prefix="intravisto-beside-loading")
    try:
        yield threads
    finally:
        threads.shutdown(wait=False)


def _notes(settings: Any) -> list[str]:
    task = another_task(settings)
    return [f"{task}: it is read as one"] if task else []


def _refusing(name: str, work: Callable[[], T]) -> T:
    """Work with the files of a model that goes on after loading. name: how messages call it.

    Raises:
        ModelError: the files are damaged.
    """
    with refusing_damage(name):
        return work()


def _notes_of_template(reader: TokenReader) -> list[str]:
    broken = reader.what_is_broken_in_template()
    return [f"its chat template cannot be read ({broken}): prompts are run without chat"] if broken else []


def _adapter_tokenizer(adapter: Adapter | None, settings: Any) -> Any:
    """The tokenizer that an adapter brings, or None."""
    if adapter is None or not adapter.has_tokenizer:
        return None
    return open_tokenizer(adapter.folder, settings, folders.shown(adapter.folder))


@dataclass(frozen=True, slots=True)
class _Found:
    """What was read. digest: gives a hash of its files. shown: how messages call it. notes: for its card. closer: reads
    more of them.
    """

    name: str
    digest: Callable[[], str]
    shown: str
    notes: tuple[str, ...]
    closer: Callable[[], tuple[str, ...]]

    def with_adapter(self, adapter: Adapter | None) -> _Found:
        """What was read once an adapter was merged into it."""
        if adapter is None:
            return self

        def digest() -> str:
            return f"{self.digest()}+{adapter.digest}*{adapter.scale!r}"

        notes = (adapter.note(self.name), *self.notes)
        return _Found(f"{self.name} + {adapter.called}", digest, adapter.name, notes, self.closer)


def _bound(
    spec: ModelSpec,
    found: _Found,
    network: PreTrainedModel,
    architecture: Architecture,
    tokenizer: Any,
    reader: TokenReader,
    where: Placement,
) -> LoadedModel:
    """A model that was read, with its parts found."""
    blueprint = bind(architecture, network)
    weights = Weights(blueprint, network.dtype, where.device, count_heads(network, blueprint))
    _check_vocabulary(found.shown, tokenizer, weights.n_rows("embed"))
    packed = quantisation.quantised(network)
    how = "" if packed is None else f":{packed}"
    dtype = str(network.dtype).removeprefix("torch.")
    return LoadedModel(
        spec=spec,
        name=found.name,
        read_digest=found.digest,
        computes_in=f"{dtype}{how}:{where.device.type}:{ATTENTION_PATH}",
        network=network,
        tokenizer=tokenizer,
        blueprint=blueprint,
        dimensions=measure(network, blueprint, weights),
        weights=weights,
        norm=NormFormula.of(blueprint.final_norm, architecture).to(where.device),
        reader=reader,
        device=where.device,
        dtype=network.dtype,
        quantisation=packed,
        scratch=where.scratch,
        notes=found.notes,
        look_closer=lambda: _refusing(found.shown, found.closer),
    )


def _check_vocabulary(name: str, tokenizer: Any, n_rows: int) -> None:
    """Added tokens beyond the table are refused only where a text has them: many a checkpoint has one for padding."""
    if tokenizer.vocab_size > n_rows:
        raise ModelError(
            f"{name}: expected a tokenizer of at most {n_rows} tokens, the rows of this model's "
            f"table; its own has {tokenizer.vocab_size}. They do not belong together: save the model's own tokenizer "
            "into the folder"
        )


def _network(
    folder: Path, spec: ModelSpec, where: Placement, settings: Any, kernel: str, said: GenerationFile
) -> tuple[PreTrainedModel, Any]:
    transformers_logging.disable_progress_bar()
    dtype = "auto" if spec.dtype == "auto" else getattr(torch, spec.dtype)
    options = dict(where.options)
    if spec.quantisation:
        options["quantization_config"] = quantisation.config(spec.quantisation, folders.dtype_of(folder, spec.dtype))
    try:
        loaded: Any = auto_class(settings).from_pretrained(
            folder,
            config=settings,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            attn_implementation=kernel,
            dtype=dtype,
            generation_config=said.for_transformers(),
            # they are told below, by name
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **options,
        )
    except Exception as error:
        if is_short(error) or isinstance(error, IntravistoError):
            raise
        raise ModelError(
            f"{folders.shown(folder)}: transformers could not load it ({type(error).__name__}: {in_one_line(error)}). "
            "Check that config.json and the weights belong together"
        ) from error
    network, info = loaded
    quantisation.keep_packed_as_loaded(network)
    return network.eval().requires_grad_(False), info
