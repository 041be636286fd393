"""These models are too small for a second thread."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from intravisto_core.models.threads import using_threads


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    with using_threads(1):
        yield
