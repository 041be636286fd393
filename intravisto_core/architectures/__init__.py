"""Declarations of model families: where their parts are. Nothing else in the program knows a module path."""

from intravisto_core.architectures.blueprint import (
    AttentionReader,
    BlockModules,
    Blueprint,
    ExpertModules,
    MlpReader,
    bind,
    trunk_of,
)
from intravisto_core.architectures.composite import auto_class
from intravisto_core.architectures.declaration import (
    Architecture,
    AttentionKind,
    ExpertPaths,
    Fused,
    Layout,
    MlpPaths,
    NormKind,
    Order,
)
from intravisto_core.architectures.refused import refusal
from intravisto_core.architectures.registry import find, names

__all__ = [
    "Architecture",
    "AttentionKind",
    "AttentionReader",
    "BlockModules",
    "Blueprint",
    "ExpertModules",
    "ExpertPaths",
    "Fused",
    "Layout",
    "MlpPaths",
    "MlpReader",
    "NormKind",
    "Order",
    "auto_class",
    "bind",
    "find",
    "names",
    "refusal",
    "trunk_of",
]
