"""Names of a package that load when they are used (PEP 562), so that importing it costs nothing else.

The package states the same names twice: as imports under TYPE_CHECKING, which type checkers and completion read, and as
the table that is given here. A test holds that both are the same.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

NamesLoader = Callable[[str], Any]
NamesLister = Callable[[], list[str]]


def load_when_used(package: str, names: Mapping[str, str]) -> tuple[NamesLoader, NamesLister]:
    """`__getattr__` and `__dir__` of a package.

    names: a module of the package, and the names that it has, with spaces between. A name that equals its module is
    that module. No other name may equal a module of the package, since importing the module would put it in its place.
    """
    places = {name: module for module, line in names.items() for name in line.split()}

    def load(name: str) -> Any:
        if name == "__all__":
            return list(places)
        if name not in places:
            raise AttributeError(f"{package} has no {name!r}; dir({package}) lists the names that there are")
        module = import_module(f"{package}.{places[name]}")
        found = module if name == places[name] else getattr(module, name)
        setattr(sys.modules[package], name, found)
        return found

    def list_names() -> list[str]:
        return sorted({*places, *(name for name in vars(sys.modules[package]) if name.startswith("__"))})

    return load, list_names
