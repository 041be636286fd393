"""The means over all prompts of a batch, from its files, of which a few rows are in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from intravisto_core.records import BatchSummary
from intravisto_core.service.batch_plan import IN_PART, PARTS
from intravisto_core.service.batch_work import NUMBERS, refuse_part

Z_95 = 1.959963984540054


@dataclass(frozen=True)
class Row:
    """What one prompt gives to the means. shape: of `heads`, (layers, heads a layer), where there are any."""

    failed: bool
    shape: tuple[int, ...]
    numbers: Mapping[str, np.ndarray]
    model: str


class Moments:
    """Mean and 95 % interval of arrays that come one after another, and once more in the same order.

    Squares are summed about the mean, which is known only after the first time; the numbers are those of all arrays
    stacked, and nothing grows with how many there are.
    """

    def __init__(self) -> None:
        self._n = 0
        self._sum = self._squares = np.zeros(0)

    def add(self, values: np.ndarray) -> None:
        """The first time."""
        self._sum = self._sum + values if self._n else values
        self._n += 1

    def add_again(self, values: np.ndarray) -> None:
        """The second time."""
        away = values - self._sum / self._n
        self._squares = self._squares + away * away if self._squares.size else away * away

    def interval(self) -> np.ndarray:
        """Mean, lower and upper end, (3, width): mean ± 1.96 standard errors; NaN ends of a single array."""
        if not self._n:
            return np.zeros((3, 0))
        mean, n = self._sum / self._n, self._n
        wide = Z_95 * np.sqrt(self._squares / (n - 1)) / np.sqrt(n) if n > 1 else np.full_like(mean, np.nan)
        return np.stack([mean, mean - wide, mean + wide])


@dataclass
class _Found:
    n: int = 0
    failed: int = 0
    shape: tuple[int, ...] = (0, 0)
    model: str = ""
    moments: dict[str, Moments] = field(default_factory=lambda: {name: Moments() for name in NUMBERS})


def summarise(folder: Path) -> BatchSummary:
    """The means over all parts that are there. Their files are read twice, a few rows at a time.

    Raises:
        RequestError: a part is no file of a batch.
    """
    found = _Found()
    for row in read_rows(folder):
        found.n += 1
        found.failed += row.failed
        found.shape, found.model = row.shape or found.shape, row.model
        for name, values in row.numbers.items():
            found.moments[name].add(values)
    for row in read_rows(folder):
        for name, values in row.numbers.items():
            found.moments[name].add_again(values)
    curve, heads, first = (found.moments[name].interval() for name in NUMBERS)
    return BatchSummary(found.n, found.failed, curve, heads.reshape(3, *found.shape), first, found.model)


def read_rows(folder: Path) -> Iterator[Row]:
    """The prompts of all parts in order, with their numbers alone; of a prompt that failed it has none."""
    for path in sorted((folder / PARTS).glob("part-*.parquet")):
        try:
            with pq.ParquetFile(path) as file:
                model = (file.schema_arrow.metadata or {}).get(b"model", b"").decode()
                for batch in file.iter_batches(IN_PART, columns=["error", "head_shape", *NUMBERS]):
                    yield from (_read_row(row, model) for row in batch.to_pylist())
        except (pa.ArrowException, OSError, KeyError) as error:
            raise refuse_part(path, error) from None


def _read_row(row: Mapping[str, object], model: str) -> Row:
    given = {} if row["error"] else {name: row[name] for name in NUMBERS if row[name] is not None}
    numbers = {name: np.array(values, dtype=np.float64) for name, values in given.items()}
    shape: object = row["head_shape"]
    return Row(bool(row["error"]), tuple(shape) if isinstance(shape, list) else (), numbers, model)
