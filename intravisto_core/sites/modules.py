"""What is looked at, at a module of the network (docs/methods.md §12)."""

from __future__ import annotations

from intravisto_core.sites.choice import Choice


class ModuleSide(Choice):
    """Which side of a module is meant."""

    OUTPUT = "output", "output", "What the module returned."
    INPUT = "input", "input", "The module's first input."


class DataKind(Choice):
    """How a tensor reaches what uses it, in the traced flow of a module (docs/methods.md §12)."""

    MAIN = "main", "main", "By position, or as the first keyword: what the call is about."
    SIDE = "side", "supply", "By a further keyword, as rotary tables and masks are, or without being handed over."
    PARAMETER = "parameter", "parameter", "A parameter that the code uses outside of the module that holds it."


class ModuleStatistic(Choice):
    """What is measured of a tensor at a module's side (docs/methods.md §12)."""

    SUMMARY = "summary", "statistics", "Mean, spread, least and largest value, zeros, values that are no numbers."
    SIZE = "size", "size by position", "Euclidean length of the last dimension, for each position."
    HISTOGRAM = "histogram", "histogram", "How many values fall into each of 40 equal bins."
    MATRIX = "matrix", "picture", "Two dimensions as a picture; one may be spread side by side, the rest is averaged."
    TOKENS = "tokens", "top tokens", "Which tokens the last 64 positions read as, through final norm and unembedding."
    ATTENTION = "attention", "attention", "How much each query looks at each key, head by head, of the first 128."
