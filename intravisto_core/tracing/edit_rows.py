"""Many edited runs of one text in one batch, over no more layers and positions than they can change.

All rows read the same tokens, so nothing is padded: the cache is filled with the baseline's keys and values, and a row
differs from a run alone by no more than products of other shapes do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from intravisto_core.errors import TraceError
from intravisto_core.models import LoadedModel
from intravisto_core.sites import Site
from intravisto_core.tracing.attention import captured_by
from intravisto_core.tracing.edits import Edits
from intravisto_core.tracing.hooks import capturing
from intravisto_core.tracing.reuse import fill_cache, only_layers
from intravisto_core.tracing.sink import Sink
from intravisto_core.tracing.trace_data import TraceData

BATCH_ROWS = 512
MOST_IN_BATCH = 64
# What a call costs beside its rows, in rows of a layer: the weights are read once.
CALL_ROWS = 200


def group_starts(starts: Sequence[tuple[int, int]], stop: int, n_layers: int) -> list[list[int]]:
    """Indices of runs that are made together, so that calls and needless rows cost least.

    starts: first layer and position that each can change. stop: no position from there on is run; a run that starts
    there changes nothing, and is in no group.
    """

    def cost(group: Sequence[int]) -> int:
        layer, position = min(starts[i][0] for i in group), min(starts[i][1] for i in group)
        return CALL_ROWS + len(group) * (n_layers - layer) * (stop - position)

    found: list[list[int]] = []
    for i in sorted((i for i, (_, p) in enumerate(starts) if p < stop), key=lambda i: starts[i][::-1]):
        joined = [*found[-1], i] if found else []
        rows = stop - starts[joined[0]][1] if joined else 0
        room = len(joined) <= min(MOST_IN_BATCH, max(1, BATCH_ROWS // max(rows, 1)))
        if joined and room and cost(joined) <= cost(found[-1]) + cost([i]):
            found[-1] = joined
        else:
            found.append([i])
    return found


def can_share(edits: Edits) -> bool:
    """Whether a run's edits can be made in a row of a batch: no function, no frozen pattern, no neuron of an expert,
    nothing inside attention but cut edges."""
    inside = any(edit.site in (Site.Q, Site.K, Site.V, Site.PATTERN) for edit in edits.sites)
    return not (inside or edits.have_functions or edits.frozen or edits.experts)


@torch.no_grad()
def run_edit_rows(
    model: LoadedModel, base: TraceData, rows: Sequence[Edits], layer: int, position: int, stop: int
) -> Float[Tensor, "n d"]:
    """The final stream after position stop − 1 of each row, in the model's dtype.

    base: the unedited run, which kept what `reuse` needs. rows: what each run does; `can_share` holds of each. layer,
    position: from there on is run; no row changes anything before.

    Raises:
        TraceError: a row gave infinite values.
    """
    sink = RowSink(model, rows, layer, position)
    cache = fill_cache(model, base, position)
    if position:
        cache.batch_repeat_interleave(len(rows))
    ids = torch.tensor([base.ids[position:stop]], device=model.device).expand(len(rows), -1)
    options = {"logits_to_keep": 1} if model.blueprint.keeps_last_logits else {}
    with (
        capturing(model, sink),
        only_layers(model, range(layer, model.dimensions.n_layers), base, position, stop),
        sink.call(stop - position),
        captured_by(sink),
    ):
        model.network(input_ids=ids, **model.cached(cache), **options)
    found = sink.last_row
    if not bool(torch.isfinite(found).all()):
        raise TraceError("activations: expected finite numbers; an edit, or a control of it, gave infinity or NaN")
    return found


class RowSink(Sink):
    """What edits the rows of a batch of one text. Nothing is kept but the final stream after the last position."""

    def __init__(self, model: LoadedModel, rows: Sequence[Edits], layer: int, position: int) -> None:
        edits = Edits(
            tuple(site for edits in rows for site in edits.sites), tuple(cut for edits in rows for cut in edits.knocked)
        )
        super().__init__(edits, layer, position, model.offloaded)
        self.row_edits = rows
        self.last_row = torch.empty(0)

    def change_heads(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As they are; see `can_share`."""
        return query, key, value

    def keep_final(self, x: Float[Tensor, "n t d"]) -> None:
        """Keep the last position's stream of every row."""
        self.last_row = x[:, -1].clone()

    def change(
        self, x: Tensor, edit: Callable[[Edits, Tensor, int], Tensor], place: tuple[Site, int], scale: float = 1.0
    ) -> Tensor | None:
        """x after the edits of every row, or None where they change nothing."""
        if not self.active:
            return None
        rows = x.reshape(len(self.row_edits), -1, x.shape[-1])
        new = rows
        for i, own in enumerate(self.row_edits):
            if not (own.at(*place) or own.on_pattern(place[1])):
                continue
            found = edit(own, old := rows[i], self.start)
            if found is not old:
                new = rows.clone() if new is rows else new
                new[i] = found
        return None if new is rows else new.view(x.shape)

    def masked(
        self, layer: int, mask: Tensor | None, query: Tensor, n_key: int, seen: Tensor | None = None
    ) -> Tensor | None:
        """The mask of each row, with the edges hidden that its edits cut."""
        if not any(own.on_pattern(layer) for own in self.row_edits):
            return mask
        n = len(self.row_edits)
        found = []
        for i, own in enumerate(self.row_edits):
            given = None if mask is None else mask[i : i + 1] if mask.shape[0] == n else mask
            new = own.masked(layer, given, seen, query[i : i + 1], self.stop, n_key)
            if new is None:
                new = torch.zeros((1, 1, query.shape[2], n_key), dtype=query.dtype, device=query.device)
            found.append(new)
        heads = max(new.shape[1] for new in found)
        return torch.cat([new.expand(-1, heads, -1, -1) for new in found])

    def _forget_call(self) -> None:
        super()._forget_call()
        for own in self.row_edits:
            own.standing.clear()
