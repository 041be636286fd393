"""What tests of saved runs share."""

from __future__ import annotations

import pytest

import intravisto_core as iv


@pytest.fixture(scope="module")
def demo():
    """The demo model, opened for one file of tests."""
    engine = iv.open_model("demo")
    yield engine
    engine.close()
