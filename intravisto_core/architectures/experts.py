"""Families whose MLP is a mixture of experts."""

from __future__ import annotations

from dataclasses import replace

from intravisto_core.architectures.declaration import Architecture, ExpertPaths, NormKind

MIXTRAL = Architecture(family="mixtral", w_out=None, experts=ExpertPaths())
BY_ROUTER = replace(MIXTRAL, experts=ExpertPaths(router="mlp.router"))
ALL = (
    MIXTRAL,
    replace(MIXTRAL, family="qwen3_moe"),
    replace(MIXTRAL, family="qwen3_vl_moe_text"),
    replace(MIXTRAL, family="olmoe"),
    replace(
        MIXTRAL,
        family="qwen2_moe",
        experts=ExpertPaths(shared="mlp.shared_expert", shared_gate="mlp.shared_expert_gate"),
    ),
    replace(BY_ROUTER, family="phimoe", norm=NormKind.LAYER),
    replace(BY_ROUTER, family="gpt_oss", experts=ExpertPaths(router="mlp.router", interleaved=True)),
)
