"""Families whose MLP is a mixture of experts: exact but for `act`, which is not one matrix."""

from __future__ import annotations

from dataclasses import replace

from intravisto_core.architectures.declaration import Architecture, NormKind

MIXTRAL = Architecture(family="mixtral", w_out=None)
ALL = (
    MIXTRAL,
    *(replace(MIXTRAL, family=name) for name in ("qwen2_moe", "qwen3_moe", "olmoe", "gpt_oss")),
    replace(MIXTRAL, family="phimoe", norm=NormKind.LAYER),
)
