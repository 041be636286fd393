"""Equal numbered siblings of a module tree: one is drawn for all of them, with a table of what differs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from intravisto_core.records import Architecture, ModuleNode

FEWEST_EQUAL = 3
LONGEST_PERIOD = 6
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.|$|@)|^\d+(?=\.|$|@)")
_COUNT = re.compile(r"(@\d+|_\d+)$")


@dataclass(frozen=True, slots=True)
class Fold:
    """Children of one module that are equal, again and again.

    paths: of all of them, in order. period: how many different ones follow each other before the first kind comes
    again. shown: which repetition is drawn; the first one that ran.
    """

    paths: tuple[str, ...]
    period: int
    shown: int

    @property
    def n(self) -> int:
        """How often the period repeats."""
        return len(self.paths) // self.period

    @property
    def body(self) -> tuple[str, ...]:
        """Paths of those that are drawn."""
        return self.paths[self.shown * self.period : (self.shown + 1) * self.period]


class Folding:
    """What is folded in a tree, by what is equal: classes, constructor, tensors, children, and the flow inside."""

    def __init__(self, found: Architecture) -> None:
        self._tree = found.tree
        self._ran = set(found.run.by_path) if found.run else set()
        self._scopes = found.flow.scopes if found.flow else {}
        self._kinds: dict[str, int] = {}
        self._known: dict[Any, int] = {}
        self._flows: dict[str, frozenset[Any] | None] = {}
        self._sign(found.tree.root)
        # a link to any of them is one to the one that is drawn
        self.drawn_as: dict[str, str] = {}
        self.children: dict[str, list[str | Fold]] = {}
        for node in found.tree.nodes:
            self.children[node.path] = self._fold(node.children)

    def _sign(self, node: ModuleNode) -> int:
        """A number for what a module is made of, equal for equal ones; children first."""
        below = tuple((self._tree.by_path[p].name, self._sign(self._tree.by_path[p])) for p in node.children)
        held = tuple((t.name, t.shape, t.dtype, t.quantised, t.is_buffer) for t in node.tensors)
        made_of = (node.cls, node.built_with, held, below)
        self._kinds[node.path] = self._known.setdefault(made_of, len(self._known))
        self._flows[node.path] = self._sign_flow(node)
        return self._kinds[node.path]

    def _sign_flow(self, node: ModuleNode) -> frozenset[Any] | None:
        """What is handed to what inside, numbers left out; None where it did not run."""
        if node.path not in self._ran and node.path not in self._scopes:
            below = [self._flows[p] for p in node.children]
            if all(flow is None for flow in below):
                return None
        _, links = self._scopes.get(node.path, ([], []))
        own = {(plain(link.source, node.path), plain(link.target, node.path), link.kind) for link in links}
        inner = {
            (plain(path, node.path), hash(self._flows[path])) for path in node.children if self._flows[path] is not None
        }
        return frozenset(own | inner)

    def _equal(self, one: str, other: str) -> bool:
        if self._kinds[one] != self._kinds[other]:
            return False
        flows = self._flows[one], self._flows[other]
        return None in flows or flows[0] == flows[1]

    def _fold(self, paths: Sequence[str]) -> list[str | Fold]:
        found: list[str | Fold] = []
        i = 0
        while i < len(paths):
            period, n = self._longest(paths, i)
            if n < FEWEST_EQUAL:
                found.append(paths[i])
                i += 1
                continue
            members = tuple(paths[i : i + n * period])
            ran = (r for r in range(n) if any(p in self._ran for p in members[r * period : (r + 1) * period]))
            fold = Fold(members, period, next(ran, 0))
            self.drawn_as |= {path: fold.body[k % period] for k, path in enumerate(members)}
            found.append(fold)
            i += n * period
        return found

    def _longest(self, paths: Sequence[str], start: int) -> tuple[int, int]:
        """Period and number of repetitions of what folds most from there on."""
        best = (1, 1)
        for period in range(1, LONGEST_PERIOD + 1):
            n = 1
            while start + (n + 1) * period <= len(paths) and all(
                self._equal(paths[start + k], paths[start + n * period + k]) for k in range(period)
            ):
                n += 1
            names = [path.rpartition(".")[2] for path in paths[start : start + n * period]]
            if n >= FEWEST_EQUAL and n * period > best[0] * best[1] and all(name.isdigit() for name in names):
                best = (period, n)
        return best


def plain(name: str, scope: str) -> str:
    """The name of a node without the path of its scope, numbers of modules and counts."""
    short = name.removeprefix(f"{scope}.") if scope else name
    return _NUMBER.sub("*", _COUNT.sub("", short))
