"""What a vector reads as that an edit would put in (docs/methods.md §8)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import numpy as np
import torch

from intravisto_core.analysis.decoding import count_tile_positions, find_top_tokens
from intravisto_core.errors import RequestError
from intravisto_core.progress import Progress
from intravisto_core.records import ReadBack
from intravisto_core.request import ReadBackView
from intravisto_core.request.interventions import in_words
from intravisto_core.traces.whitened import make_operands
from intravisto_core.tracing.binding import Binder
from intravisto_core.tracing.operands import Text
from intravisto_core.views.context import ViewContext


def compute_read_back(context: ViewContext, view: ReadBackView) -> Generator[Progress, None, ReadBack]:
    """The new vectors of an edit at its places, decoded, and what stands there without it.

    Raises:
        RequestError: the trace is edited; or a layer, position or site that this model or text does not have.
    """
    model, data, each = context.model, context.data, view.edit
    if context.entry.request.interventions:
        raise RequestError("read_back: expected an unedited trace; got an edited one. Ask its baseline")
    operands = yield from make_operands(
        model, context.store, (each,), Text(data.prompt_length, data.length), data, sources={}
    )
    # the record says it
    operands = replace(operands, reports=False)
    (edit,) = Binder(operands).bind((each,)).sites
    said = tuple(operands.notes)
    old = data.site(each.site, edit.layer)[list(edit.places)]
    new = edit.change(old, list(edit.places)).to(old.dtype)
    reading, ids = operands.reading(each, edit.layer), operands.ids(each.token)
    asked = ids[0] if len(ids) == 1 else -1
    parts: list[dict[str, torch.Tensor]] = []
    step = count_tile_positions(2, model.dimensions.d_vocab)
    for start in range(0, len(edit.places), step):
        yield Progress(start, len(edit.places), "reading the new vectors")
        # one product for both: it takes as long as reading the table
        pair = torch.cat([x[start : start + step].float() for x in (old, new)])
        before, after = reading.logits(model, pair).chunk(2)
        parts.append(_read(before, after, asked, view.top_k, reading.is_update))
    found = {name: torch.cat([part[name] for part in parts]).cpu().numpy() for name in parts[0]}
    listed = {int(i) for name in ("ids", "ids_before") for i in np.unique(found[name])} | ({asked} - {-1})
    return ReadBack(
        model=context.model.name,
        trace=context.entry.id,
        edit=in_words(each),
        site=each.site,
        layer=edit.layer,
        lens=reading.lens,
        norm=reading.policy,
        asked=asked,
        positions=np.array(edit.places),
        **found,
        shown={i: model.reader.shown(i) for i in sorted(listed)},
        notes=said,
    )


def _read(
    before: torch.Tensor, after: torch.Tensor, asked: int, top_k: int, is_update: bool
) -> dict[str, torch.Tensor]:
    """What logits (n, V) of places say, before and after."""
    blank = torch.full((len(after),), torch.nan, dtype=torch.float32, device=after.device)
    (old, old_ids), (new, new_ids) = find_top_tokens(before, 1), find_top_tokens(after, top_k)
    rank, probability = torch.zeros_like(old_ids[:, 0]), blank
    if asked >= 0:
        logit = after[:, asked]
        rank, probability = 1 + (after > logit[:, None]).sum(-1), (logit - after.logsumexp(-1)).exp()
    return {
        "ids_before": old_ids[:, 0],
        "probability_before": blank if is_update else (old[:, 0] - before.logsumexp(-1)).exp(),
        "ids": new_ids,
        "probabilities": new * torch.nan if is_update else (new - after.logsumexp(-1)[:, None]).exp(),
        "asked_rank": rank,
        "asked_probability": blank if is_update else probability,
    }
