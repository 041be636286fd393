"""Path patching on two layers, held against the way written out by hand on plain transformers."""

from __future__ import annotations

import sys
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch

import intravisto_core as iv
from tests.patching.literal import Literal
from tests.patching.test_grids import ALLOWED, CLEAN, CORRUPT, FIRST
from tests.reference.families import LLAMA_PATHS, PATHS, Plain

SENDER = 2


class Way:
    """What head 2 of layer 0 says, in the corrupt run with the clean one's z, on the way to one place."""

    def __init__(self, case: Any, direction: str) -> None:
        runs = {name: Plain(case.folder, ids) for name, ids in (("clean", CLEAN), ("corrupt", CORRUPT))}
        denoise = direction == "denoise"
        self.donor, self.receiver = (runs["clean"], runs["corrupt"])[:: 1 if denoise else -1]
        self.ids = CORRUPT if denoise else CLEAN
        self.read = Literal(self.donor, self.receiver, self.ids)._read

    @torch.no_grad()
    def said(self) -> torch.Tensor:
        """What is added to the stream (T, d) by the head's other z."""
        z = [torch.tensor(run.sites["z"][0]) for run in (self.donor, self.receiver)]
        change = torch.zeros_like(z[0])
        change[SENDER, FIRST:] = (z[0] - z[1])[SENDER, FIRST:]
        w_o = self.receiver.layers[0].get_submodule(PATHS.get(self.receiver.kind, LLAMA_PATHS)[2])
        rows = change.transpose(0, 1).flatten(1)
        return w_o(rows) - w_o(torch.zeros_like(rows))

    @torch.no_grad()
    def stream(self, through_mlps: bool) -> torch.Tensor:
        """The stream (T, d) that enters layer 1."""
        if not through_mlps:
            return torch.tensor(self.receiver.sites["resid_pre"][1]) + self.said()
        paths, layer = PATHS.get(self.receiver.kind, LLAMA_PATHS), self.receiver.layers[0]
        middle = torch.tensor(self.receiver.sites["resid_mid"][0]) + self.said()
        return middle + layer.get_submodule(paths[1])(layer.get_submodule(paths[4])(middle))

    def to_logits(self, through_mlps: bool) -> np.ndarray:
        """Attention of layer 1 writes what it wrote; its MLP too, or it reads what it is given."""
        entering = self.stream(through_mlps)
        paths, layer = PATHS.get(self.receiver.kind, LLAMA_PATHS), self.receiver.layers[1]
        middle = entering + torch.tensor(self.receiver.sites["attn_out"][1])
        with torch.no_grad():
            mlp = torch.tensor(self.receiver.sites["mlp_out"][1])
            if through_mlps:
                mlp = layer.get_submodule(paths[1])(layer.get_submodule(paths[4])(middle))
        return self.read((middle + mlp)[-1:].numpy())[0]

    def to_head(self, site: str, head: int, through_mlps: bool) -> np.ndarray:
        """q, k or v of a head of layer 1 as it reads that stream; everything else reads the receiver's own."""
        kept: dict[str, torch.Tensor] = {}
        self._run(lambda given: kept.update(given), self.stream(through_mlps))

        def put(given: dict[str, torch.Tensor]) -> None:
            given[site][0, head] = kept[site][0, head]

        return self._run(put)

    @torch.no_grad()
    def _run(self, visit: Any, entering: torch.Tensor | None = None) -> np.ndarray:
        path = PATHS.get(self.receiver.kind, LLAMA_PATHS)[2].rpartition(".")[0]
        layer = self.receiver.layers[1]
        module = layer.get_submodule(path)
        code = sys.modules[type(module).__module__]
        eager = code.eager_attention_forward

        def attention(own: Any, q: Any, k: Any, v: Any, *rest: Any, **options: Any) -> Any:
            given = {"q": q.clone(), "k": k.clone(), "v": v.clone()}
            if own is module:
                visit(given)
            return eager(own, *given.values(), *rest, **options)

        def enter(_: Any, args: Any, kwargs: Any) -> Any:
            if entering is None:
                return None
            return (
                ((entering[None], *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": entering[None]})
            )

        handle = layer.register_forward_pre_hook(enter, with_kwargs=True)
        with patch.object(code, "eager_attention_forward", attention):
            out = self.receiver.model(torch.tensor([self.ids]), use_cache=False)
        handle.remove()
        return out.logits[0, -1].float().numpy()


@pytest.mark.parametrize("name", ["Llama", "GPT-2"])
@pytest.mark.parametrize("direction", ["denoise", "noise"])
@pytest.mark.parametrize("through_mlps", [False, True])
def test_a_way_is_the_one_written_by_hand(family, name, direction, through_mlps):
    case = family(name)
    way = Way(case, direction)
    options = {"clean": CLEAN, "corrupt": CORRUPT, "direction": direction, "through_mlps": through_mlps}
    grid = case.engine.path_patching((0, SENDER), "logits", **options)
    receiving = grid.corrupt if direction == "denoise" else grid.clean

    def m(logits: np.ndarray) -> float:
        return float(logits[grid.targets[0]] - logits[grid.contrasts[0]]) - receiving

    assert grid.layers.tolist() == [0]
    assert np.isnan(grid.effect[0, [0, 1, 3]]).all(), "who was not asked for is not known"
    assert grid.effect[0, SENDER] == pytest.approx(m(way.to_logits(through_mlps)), abs=ALLOWED)
    for site in ("q", "k", "v"):
        found = case.engine.path_patching(None, (-1, 1, site), **options)
        assert found.effect[0, SENDER] == pytest.approx(m(way.to_head(site, 1, through_mlps)), abs=ALLOWED), site
        assert np.isfinite(found.effect).all()
    assert abs(grid.effect[0, SENDER]) > 10 * grid.noise_floor


def test_ways_to_the_logits_of_the_last_layer_are_whole_patches(family):
    """Of heads in the last layer nothing but the MLP stands between; through it the way is all that the head does."""
    engine = family("Llama").engine
    ways = engine.path_patching(None, clean=CLEAN, corrupt=CORRUPT, through_mlps=True)
    whole = engine.patching(CLEAN, CORRUPT, what="z")
    assert ways.effect[1] == pytest.approx(whole.effect[1], abs=ALLOWED)
    assert ways.path == "to the logits, through MLPs"
    assert np.abs(ways.effect[0] - whole.effect[0]).max() > 10 * ALLOWED


def test_a_way_that_cannot_be_gone_is_refused(family):
    engine = family("Llama").engine
    prompts = {"clean": CLEAN, "corrupt": CORRUPT}
    with pytest.raises(iv.RequestError, match="below the receiver's"):
        engine.path_patching((1, 0), (1, 0, "q"), **prompts)
    with pytest.raises(iv.RequestError, match="receiver above layer 0"):
        engine.path_patching(None, (0, 0, "q"), **prompts)
    with pytest.raises(iv.RequestError, match=r"receiver \(head\): expected -2 to 1; got 2"):
        engine.path_patching(None, (1, 2, "k"), **prompts)
    with pytest.raises(iv.RequestError, match="logits"):
        engine.path_patching(None, (1, 2, "z"), **prompts)
    with pytest.raises(iv.ModelError, match="in one piece"):
        family("Bloom").engine.path_patching(None, (1, 2, "q"), **prompts)
