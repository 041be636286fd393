"""The picture of a module: its tree, and what one run showed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape

from intravisto_core.records.base import Record
from intravisto_core.records.module_run import ModuleFlow, ModuleOutput, ModuleRun
from intravisto_core.records.module_tree import ModuleTree


@dataclass(frozen=True, repr=False)
class Architecture(Record):
    """What any PyTorch module is made of, what runs after what, and what was measured (docs/methods.md §12)."""

    tree: ModuleTree
    """Its modules."""
    run: ModuleRun | None = None
    """The last run; None before the first."""
    flow: ModuleFlow | None = None
    """What was handed to what, in a run with inputs of the same kinds; None before the first."""
    outputs: tuple[ModuleOutput, ...] = ()
    """What was measured in the last run."""
    says: Mapping[str, tuple[tuple[str, float], ...]] = field(default_factory=dict)
    """Of layers, by path: the top token at each position as shown, with its probability; empty where none is read."""
    notes: tuple[str, ...] = ()
    """Sentences that the reader must know."""
    width: str = "100%"
    """How wide it is shown in a notebook, as CSS."""
    height: int = 600
    """How high it is shown in a notebook, px."""

    @property
    def model(self) -> str:
        """What the module is called."""
        return self.tree.model

    def _summary(self) -> tuple[str, ...]:
        return (*self.tree._summary(), "" if self.run is None else f"{len(self.run.calls):,} ran")

    def _repr_html_(self) -> str:
        page, width = escape(self.html(), quote=True), escape(self.width, quote=True)
        return f'<iframe srcdoc="{page}" style="width:{width};height:{int(self.height)}px;border:0"></iframe>'
