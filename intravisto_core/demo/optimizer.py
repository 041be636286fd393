"""Muon: momentum whose update is made orthogonal, for the matrices inside the blocks."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

_QUINTIC = (3.4445, -4.7750, 2.0315)


def orthogonalised(matrices: Tensor, steps: int = 5) -> Tensor:
    """Each matrix (n, rows, columns), rows <= columns, with its singular values brought near one.

    Newton–Schulz iteration with the quintic of Jordan et al. (2024).
    """
    a, b, c = _QUINTIC
    x = matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


class Muon(torch.optim.Optimizer):
    """Steps along the orthogonalised Nesterov momentum of each matrix; matrices of one shape go together."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(list(parameters), {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: object = None) -> None:  # type: ignore[override]
        """One step from the gradients at hand."""
        for group in self.param_groups:
            by_shape: dict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = {}
            for parameter in group["params"]:
                update = self._momentum(parameter, group["momentum"])
                wide = update if update.shape[0] <= update.shape[1] else update.mT
                by_shape.setdefault(tuple(wide.shape), []).append((parameter, wide))
            for pairs in by_shape.values():
                directions = orthogonalised(torch.stack([wide for _, wide in pairs]))
                for (parameter, _), direction in zip(pairs, directions, strict=True):
                    rows, columns = parameter.shape
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    stretch = max(1.0, rows / columns) ** 0.5
                    direction = direction if rows <= columns else direction.mT
                    parameter.add_(direction, alpha=-group["lr"] * stretch)

    def _momentum(self, parameter: Tensor, decay: float) -> Tensor:
        gradient = parameter.grad
        if gradient is None:
            raise RuntimeError("Muon: expected a gradient for every parameter, found one without; call backward()")
        buffer = self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
        buffer.lerp_(gradient, 1 - decay)
        return gradient.lerp(buffer, decay)
