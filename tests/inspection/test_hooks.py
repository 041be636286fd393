"""Hooks on any module: read, replaced, and taken off whatever happens."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from intravisto_core.inspection.hooks import Handles, on_input, on_output


class Pair(nn.Module):
    """Gives its input and a second thing, as attention modules do."""

    def forward(self, hidden_states: Tensor) -> tuple[Tensor, str]:
        return hidden_states + 1, "second"


def test_what_a_visit_gives_takes_the_place_and_the_rest_stays() -> None:
    module = Pair()
    with Handles([on_input(module, lambda x: 2 * x), on_output(module, lambda x: -x)]):
        first, second = module(torch.tensor([3.0]))
        by_name, _ = module(hidden_states=torch.tensor([3.0]))
    assert first.item() == by_name.item() == -7.0
    assert second == "second"
    assert module(torch.tensor([3.0]))[0].item() == 4.0


def test_a_visit_that_gives_nothing_changes_nothing() -> None:
    module, seen = Pair(), []
    with Handles([on_input(module, seen.append), on_output(module, seen.append)]):
        assert module(torch.tensor([3.0]))[0].item() == 4.0
    assert [x.item() for x in seen] == [3.0, 4.0]


def test_hooks_come_off_after_an_error_and_when_making_one_fails() -> None:
    module = Pair()

    def fail(_: Tensor) -> None:
        raise ValueError("in the middle")

    def broken():
        yield on_output(module, fail)
        raise RuntimeError("no more hooks")

    with pytest.raises(ValueError, match="middle"), Handles([on_input(module, fail)]):
        module(torch.tensor([1.0]))
    with pytest.raises(RuntimeError, match="no more"), Handles() as handles:
        handles.extend(broken())
    assert not module._forward_pre_hooks
    assert not module._forward_hooks
