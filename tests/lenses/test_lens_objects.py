"""Lenses as objects: equal by what they are, and bound to an unembedding where they were trained."""

from __future__ import annotations

import pytest
import torch

import intravisto_core as iv
from intravisto_core.lenses import LensConfig, TableLens, table_lens
from intravisto_core.lenses.unembedding import hash_unembedding
from intravisto_core.sites import Lens


class Trained(TableLens):
    """A lens that says it was trained with an unembedding, and doubles its vectors first."""

    def __init__(self, unembedding: str) -> None:
        super().__init__(Lens.OUTPUT)
        self._config = LensConfig(Lens.OUTPUT, artefact="a1", unembedding=unembedding)

    def translate(self, x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return 2 * x


def test_lenses_are_equal_by_their_config() -> None:
    assert TableLens(Lens.MAX) == table_lens(Lens.MAX)
    assert hash(TableLens(Lens.MAX)) == hash(table_lens(Lens.MAX))
    assert table_lens(Lens.OUTPUT) != Trained("")
    assert len({table_lens(kind) for kind in Lens} | {TableLens(kind) for kind in Lens}) == len(Lens)


def test_a_trained_lens_belongs_to_its_unembedding(case) -> None:
    llama, gpt2 = (case(name).engine.kept_traces.model for name in ("llama", "gpt2"))
    lens = Trained(hash_unembedding(llama.weights))
    lens.check_model(llama)
    table_lens(Lens.OUTPUT).check_model(gpt2)
    with pytest.raises(iv.ModelError, match="trained on"):
        lens.check_model(gpt2)


def test_the_hash_is_of_the_numbers_whatever_the_loaded_dtype(case, tiny_llama) -> None:
    engine = iv.open_model(tiny_llama, dtype="bfloat16")
    model = case("llama").engine.kept_traces.model
    assert hash_unembedding(engine.kept_traces.model.weights) == hash_unembedding(model.weights)
    engine.close()


def test_a_lens_translates_before_the_norm(case) -> None:
    model = case("llama").engine.kept_traces.model
    x = torch.randn((3, model.dimensions.d_model), generator=torch.Generator().manual_seed(0))
    rows, policy = torch.tensor([0, 1, 2]), iv.NormPolicy.NONE
    plain = table_lens(Lens.OUTPUT).project(model, x, x, rows, policy)
    moved = Trained("").project(model, x, x, rows, policy)
    assert torch.equal(moved.x_hat, 2 * plain.x_hat)
