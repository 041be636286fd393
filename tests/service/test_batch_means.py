"""The means over a batch: the numbers of all rows stacked, with a few rows in memory."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import intravisto_core as iv
from intravisto_core.service import batch_means
from intravisto_core.service.batch_means import Z_95, Moments, summarise
from intravisto_core.service.batch_plan import IN_PART

N_LAYERS, N_HEADS = 3, 4
WIDTHS = {"curve": N_LAYERS + 2, "heads": N_LAYERS * N_HEADS, "first": N_LAYERS}
SCHEMA = pa.schema(
    [
        ("line", pa.int64()),
        ("error", pa.string()),
        *((name, pa.list_(pa.float32())) for name in WIDTHS),
        ("head_shape", pa.list_(pa.int32())),
        ("heatmap", pa.binary()),
    ],
    metadata={"model": "a model"},
)


def make_rows(n: int) -> list[dict[str, Any]]:
    """Prompts, of which every seventh failed and every fifth has one token, which looks at nothing before it."""
    random = np.random.default_rng(3)
    rows: list[dict[str, Any]] = []
    for line in range(n):
        row: dict[str, Any] = {"line": line, "error": "too long" if line % 7 == 2 else "", "heatmap": b"x" * 5000}
        # far from 0, where the mean of squares less the square of the mean is wrong
        numbers = {name: (1000 + random.normal(size=width)).astype(np.float32) for name, width in WIDTHS.items()}
        if line % 5 == 0:
            del numbers["first"]
        rows.append(row if row["error"] else row | numbers | {"head_shape": [N_LAYERS, N_HEADS]})
    return rows


def write(folder: Path, rows: list[dict[str, Any]], in_part: int, in_group: int | None = None) -> None:
    (folder / "parts").mkdir()
    for at in range(0, len(rows), in_part):
        table = pa.Table.from_pylist(rows[at : at + in_part], schema=SCHEMA)
        path = folder / "parts" / f"part-{at // in_part:06d}.parquet"
        pq.write_table(table, path, compression="zstd", row_group_size=in_group)


def stacked(rows: list[dict[str, Any]], name: str) -> np.ndarray:
    """Mean and ends from all rows at once."""
    values = np.stack([row[name].astype(np.float64) for row in rows if name in row])
    half = Z_95 * values.std(0, ddof=1) / np.sqrt(len(values))
    return np.stack([values.mean(0), values.mean(0) - half, values.mean(0) + half])


@pytest.mark.parametrize(("n", "in_part", "in_group"), [(200, IN_PART, None), (131, 64, 10), (2, 1, None)])
def test_the_means_are_those_of_all_rows_at_once(tmp_path, n, in_part, in_group):
    rows = make_rows(n)
    write(tmp_path, rows, in_part, in_group)
    found = summarise(tmp_path)
    assert (found.n_prompts, found.n_failed, found.model) == (n, sum(bool(r["error"]) for r in rows), "a model")
    assert np.array_equal(found.curve, stacked(rows, "curve"))
    assert np.array_equal(found.heads.reshape(3, -1), stacked(rows, "heads"))
    assert found.heads.shape == (3, N_LAYERS, N_HEADS)
    if n > 2:
        assert np.array_equal(found.first, stacked(rows, "first"))
    else:
        assert np.isnan(found.first[1:]).all(), "of one prompt there is no interval"


def test_no_more_than_a_few_rows_are_in_memory(tmp_path, monkeypatch):
    """However many there are, and however large the groups of a file."""
    write(tmp_path, make_rows(20 * IN_PART), 10 * IN_PART)
    read, batches, most = batch_means.read_rows, pq.ParquetFile.iter_batches, {"rows": 0, "of a batch": 0}

    def count(folder: Path) -> Iterator[batch_means.Row]:
        kept: list[weakref.ref[Any]] = []
        for row in read(folder):
            kept = [each for each in kept if each() is not None] + [weakref.ref(row)]
            most["rows"] = max(most["rows"], len(kept))
            yield row

    def count_batch(self: pq.ParquetFile, *arguments: Any, **options: Any) -> Iterator[pa.RecordBatch]:
        for batch in batches(self, *arguments, **options):
            most["of a batch"] = max(most["of a batch"], batch.num_rows)
            assert "heatmap" not in batch.schema.names, "records are not read"
            yield batch

    monkeypatch.setattr(batch_means, "read_rows", count)
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", count_batch)
    gc.collect()
    assert summarise(tmp_path).n_prompts == 20 * IN_PART
    assert most["rows"] <= 3
    assert most["of a batch"] == IN_PART


def test_an_interval_worked_by_hand():
    moments = Moments()
    assert moments.interval().shape == (3, 0)
    values = np.array([[1.0, 2.0], [3.0, 2.0]])
    moments.add(values[0])
    moments.add_again(values[0])
    assert np.isnan(moments.interval()[1:]).all()
    moments = Moments()
    for step in (moments.add, moments.add_again):
        for row in values:
            step(row)
    assert np.allclose(moments.interval(), [[2, 2], [2 - Z_95, 2], [2 + Z_95, 2]])


def test_a_file_that_is_no_part_is_named(tmp_path):
    write(tmp_path, make_rows(3), 2)
    (tmp_path / "parts" / "part-000001.parquet").write_bytes(b"cut")
    with pytest.raises(iv.RequestError, match=r"part-000001\.parquet: expected a file of this batch"):
        summarise(tmp_path)
