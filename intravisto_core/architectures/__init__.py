"""Declarations of model families: where their parts are. Nothing else in the program knows a module path."""

from intravisto_core.architectures.blueprint import BlockModules, Blueprint, ExpertModules, bind, trunk_of
from intravisto_core.architectures.composite import auto_class
from intravisto_core.architectures.declaration import Architecture, AttentionKind, ExpertPaths, NormKind, Order
from intravisto_core.architectures.refused import refusal
from intravisto_core.architectures.registry import find, names

__all__ = [
    "Architecture",
    "AttentionKind",
    "BlockModules",
    "Blueprint",
    "ExpertModules",
    "ExpertPaths",
    "NormKind",
    "Order",
    "auto_class",
    "bind",
    "find",
    "names",
    "refusal",
    "trunk_of",
]
