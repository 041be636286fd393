"""The dictionaries of one model: added, listed, let go of."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace

from intravisto_core.errors import RequestError, expected
from intravisto_core.models.dictionaries.opening import open_dictionary
from intravisto_core.progress import Report, quiet
from intravisto_core.records import DictionaryCard
from intravisto_core.request.checks import check, read_whole_numbers
from intravisto_core.request.fields import read_text
from intravisto_core.traces import Traces


class Dictionaries:
    """What an engine that holds its model does with dictionaries."""

    @property
    def kept_traces(self) -> Traces:
        """The traces of the model, which hold its dictionaries."""
        raise NotImplementedError

    def add_dictionary(
        self,
        path: str | os.PathLike[str],
        *,
        model: str | None = None,
        layers: Iterable[int] | None = None,
        revision: str | None = None,
        token: str | None = None,
        report: Report = quiet,
    ) -> DictionaryCard:
        """Add a sparse autoencoder or transcoder that was trained on this model (docs/methods.md §7).

        Its active features are then one more list of parts in `trace.layer`; `trace.feature` tells of one.

        path: a folder of SAELens, circuit-tracer or Gemma Scope, or the same on the Hub as "owner/name/folder", with
        "@revision" after it or beside it. Only safetensors and npz are read. model: what its config calls this model,
        where that is another name of the same one. layers: of a set with one for every layer, which; None is all.
        token: for the Hub, kept nowhere. report: is told how far a download is.

        Raises:
            RequestError: there is no such folder.
            ModelError: it was trained on another model, has other sizes, a formula or a place that is not known here,
                or is damaged.
            HubError: it cannot be had.
        """
        traces = self.kept_traces
        try:
            source = os.fspath(path)
        except TypeError:
            raise RequestError(expected("path", "a folder, or owner/name/folder on the Hub", path)) from None
        check(isinstance(source, str) and source != "", "path", "a folder, or owner/name/folder on the Hub", path)
        named = None if model is None else read_text(model, "model")
        wanted = None if layers is None else frozenset(read_whole_numbers(layers, "layers", "whole numbers, or None"))
        about = None if revision is None else read_text(revision, "revision")
        found = open_dictionary(source, traces.model, named, wanted, about, token, report)
        name, number = found.name, 1
        while name in traces.dictionaries and traces.dictionaries[name].source != found.source:
            number += 1
            name = f"{found.name} ({number})"
        traces.dictionaries[name] = replace(found, name=name)
        return traces.dictionaries[name].describe()

    @property
    def dictionaries(self) -> tuple[DictionaryCard, ...]:
        """Those that were added, by name."""
        return tuple(each.describe() for _, each in sorted(self.kept_traces.dictionaries.items()))

    def remove_dictionary(self, name: str) -> None:
        """Let go of a dictionary.

        Raises:
            RequestError: there is none of that name.
        """
        held = self.kept_traces.dictionaries
        if held.pop(read_text(name, "name"), None) is None:
            raise RequestError(expected("dictionary", sorted(held) or "one that was added; none was", name))
