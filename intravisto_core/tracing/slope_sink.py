"""What looks on while a pass under edits is differentiated: as `CaptureSink`, with values that keep their history."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from intravisto_core.models import LoadedModel
from intravisto_core.sites import Site
from intravisto_core.tracing.capture import route_experts, wanted_sites
from intravisto_core.tracing.edits import Edits
from intravisto_core.tracing.functions import ModuleEdit
from intravisto_core.tracing.module_values import tensors_of
from intravisto_core.tracing.sink import AttentionCall, Sink


class SlopeSink(Sink):
    """Nothing is copied into buffers: what is kept until the end of a call is what the model goes on with.

    Of one text, or of several of one length where `edits.by_row`. Sites are kept where functions look back, queries,
    keys and values where a pattern is frozen.
    """

    def __init__(self, model: LoadedModel, edits: Edits) -> None:
        super().__init__(edits, offloaded=model.offloaded)
        self.wanted = wanted_sites(model, None, True) if edits.look_back else set()
        route_experts(model, self.wanted)
        if edits.frozen:
            self.wanted |= {Site.Q, Site.K, Site.V}
        self._now: dict[tuple[Site, int], Tensor] = {}
        self._all: dict[tuple[Site, int], list[Tensor]] = {}
        self._n_heads, self._device = model.dimensions.n_heads, model.device

    def attention(self, layer: int, call: AttentionCall) -> None:
        """Keep queries, and the new rows of keys and values, of one call of one text."""
        assert self.edits is not None
        for site, x in call.new_rows():
            if site in self.wanted:
                new = self._now[site, layer] = x[0]
                if self.edits.frozen:
                    self._all.setdefault((site, layer), []).append(new)

    def keep(self, site: Site, layer: int, x: Tensor) -> None:
        """Keep one call's rows of a site, of any shape (…, width), until the call ends."""
        self._now[site, layer] = x.reshape(-1, x.shape[-1])

    def change(
        self, x: Tensor, edit: Callable[[Edits, Tensor, int], Tensor], place: tuple[Site, int], scale: float = 1.0
    ) -> Tensor | None:
        """x after the edits of the run, text by text, or None where they change nothing."""
        if x.ndim == 3 and len(x) > 1 and self.active:
            changed = [self.change(text, edit, place, scale) for text in x.split(1)]
            if all(new is None for new in changed):
                return None
            return torch.cat([old if new is None else new for old, new in zip(x.split(1), changed, strict=True)])
        if place[0] is Site.RESID_MID and self.active:
            # it is changed in place; what edits looked at must stay as it was for the way back
            new = super().change(copy := x.clone(), edit, place, scale)
            return None if new is copy else new
        return super().change(x, edit, place, scale)

    def change_module(self, edit: ModuleEdit, value: Any) -> Any:
        """What a function at a module makes of its value; what has no history is said."""
        assert self.edits is not None
        new = super().change_module(edit, value)
        if new is not value and _has_history(value) and not _has_history(new):
            self.edits.say_constant(edit.call)
        return new

    def current(self, site: Site, layer: int, row: int = 0) -> Tensor | None:
        """What this call computed of a site, (n, width) or (heads, n, width); None before it was there."""
        assert self.edits is not None
        found = self.edits.standing.get((site, layer))
        found = self._now.get((site, layer)) if found is None else found
        if found is None or site is not Site.Z:
            return found
        return found.unflatten(1, (self._n_heads, -1)).transpose(0, 1)

    def so_far(self, site: Site, layer: int) -> Float[Tensor, "heads T width"]:
        """Queries, keys or values of a layer (heads, T, width) up to the end of the current call."""
        return torch.cat(self._all[site, layer], 1)

    def _forget_call(self) -> None:
        super()._forget_call()
        self._now.clear()


def _has_history(value: Any) -> bool:
    """Whether a tensor of it depends on what is differentiated."""
    return any(x.requires_grad for x in tensors_of(value))
