"""The families' models, each made, opened and traced once."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from unittest.mock import patch

import pytest

from intravisto_core.models.threads import using_threads
from tests.families.tiny import Case


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """These models are too small for a second thread."""
    with using_threads(1):
        yield


@pytest.fixture(scope="session")
def family(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Case]]:
    """`family("Bloom")`: that case, for reading only."""
    made: dict[str, Case] = {}

    def get(name: str) -> Case:
        if name not in made:
            made[name] = Case(name, tmp_path_factory.mktemp("family"))
        return made[name]

    yield get
    # One collection for all: each engine's own would walk through everything that the tests hold.
    with patch("gc.collect"):
        for case in made.values():
            case.engine.close()
    made.clear()
    gc.collect()
