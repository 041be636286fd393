"""Vectors that no run holds, read by a lens, or given to a module."""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor, nn

from intravisto_core.analysis.decoding import compute_sums, count_tile_positions, find_top_tokens, read_logits
from intravisto_core.errors import IntravistoError, RequestError, expected
from intravisto_core.inspection.paths import find_module
from intravisto_core.lenses import table_lens
from intravisto_core.models import LoadedModel
from intravisto_core.models.free_memory import is_short
from intravisto_core.progress import Progress
from intravisto_core.records import DecodedVectors, ModuleValue
from intravisto_core.request import DecodeRequest, ModuleRequest, TensorRef
from intravisto_core.request.modules import split_path
from intravisto_core.request.ranges import index
from intravisto_core.request.views import default_norm
from intravisto_core.sites import Component, ModuleSide, Reading
from intravisto_core.traces.trace_store import Traces
from intravisto_core.tracing import RunControl
from intravisto_core.tracing.module_values import to_arrays


def run_decode(
    traces: Traces, request: DecodeRequest, session: str, control: RunControl
) -> Generator[Progress, None, DecodedVectors]:
    """The tokens that a lens reads in vectors; a turn is as many as fit into a tile.

    Raises:
        RequestError: another width than the model's, or a row that it does not have.
    """
    model, n_layers = traces.model, traces.model.dimensions.n_layers
    x = _tensor(request.x, model)
    x = x[None] if x.ndim == 1 else x
    if x.shape[1] != model.dimensions.d_model:
        raise RequestError(expected("x", f"vectors of {model.dimensions.d_model} numbers", request.x.shape))
    row = n_layers if request.row is None else index(request.row, n_layers + 2, "row")
    norm = request.norm or default_norm(Component.BLOCK, request.lens, Reading.TOP)
    lens = table_lens(request.lens)
    lens.check_policy(norm)
    step = count_tile_positions(1, model.dimensions.d_vocab)
    parts: list[tuple[Tensor, ...]] = []
    for start in range(0, len(x), step):
        some = x[start : start + step]
        rows = torch.full((len(some),), row, device=x.device)
        projection = lens.project(model, some, some, rows, norm)
        z = read_logits(model, projection, lens, rows == n_layers + 1)
        top, ids = find_top_tokens(z)
        sums = compute_sums(z, top[:, 0])
        kept = top[:, : request.top_k]
        share = (kept - sums.log_sum[:, None]).exp()
        parts.append((ids[:, : request.top_k].int(), kept, share, sums.entropy))
        yield Progress(start + len(some), len(x), "decoding")
    token_ids, logits, chances, entropy = (torch.cat(part).cpu().numpy() for part in zip(*parts, strict=True))
    return DecodedVectors(
        lens=request.lens,
        norm=norm,
        row=row,
        token_ids=token_ids,
        logits=logits.astype("float32"),
        probabilities=chances.astype("float32"),
        entropy=entropy.astype("float32"),
        shown={int(i): model.reader.shown(int(i)) for i in sorted(set(token_ids.ravel().tolist()))},
    )


def run_module(
    traces: Traces, request: ModuleRequest, session: str, control: RunControl
) -> Generator[Progress, None, ModuleValue]:
    """What a module makes of an array.

    Raises:
        RequestError: there is no such module, or it does not take such an array; the message says what it said.
    """
    path, side = split_path(request.path)
    if side is ModuleSide.INPUT:
        raise RequestError(expected("path", "the path of a module alone, which is applied", request.path))
    yield Progress(0, 1, "applying a module")
    own, found = apply_module(traces.model, path, _tensor(request.x, traces.model))
    return ModuleValue("", own, ModuleSide.OUTPUT, to_arrays(found))


def apply_module(model: LoadedModel, path: str, x: Tensor) -> tuple[str, object]:
    """The module's own path, and what it returns for a tensor, in the model's dtype; ids for an embedding.

    Raises:
        RequestError: there is no such module, or it does not take such an array.
    """
    own, module = find_module(model.network, path)
    given = x.to(model.device).long() if isinstance(module, nn.Embedding) else x.to(model.device, model.dtype)
    try:
        return own, module(given)
    except IntravistoError:
        raise
    except Exception as error:
        if is_short(error):
            raise
        raise RequestError(
            f"{own}: expected an array that this {type(module).__name__} takes alone; it was given "
            f"{tuple(x.shape)}: {type(error).__name__}: {str(error)[:300]}"
        ) from error


def _tensor(ref: TensorRef, model: LoadedModel) -> Tensor:
    if ref.content is None:
        raise RequestError(f"x: expected the array {ref.hash[:12]}… beside the request; it did not come with it")
    return torch.from_numpy(ref.content.copy()).to(model.device)
