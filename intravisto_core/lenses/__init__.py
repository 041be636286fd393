"""Lenses as objects: what a vector goes through before its scores over the vocabulary (docs/methods.md §3)."""

from intravisto_core.lenses.base import LensConfig, Projection, VocabularyLens, normalise
from intravisto_core.lenses.tables import TableLens, table_lens

__all__ = ["LensConfig", "Projection", "TableLens", "VocabularyLens", "normalise", "table_lens"]
