"""What tests of views share."""

from __future__ import annotations

import pytest


@pytest.fixture
def added(case, family):
    """`added(engine, path, …)`: a dictionary for the time of a test."""
    engines = []

    def add(engine, path, **options):
        engines.append(engine)
        return engine.add_dictionary(path, **options)

    yield add
    for engine in engines:
        for card in engine.dictionaries:
            engine.remove_dictionary(card.name)
