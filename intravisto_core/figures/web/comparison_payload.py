"""A comparison of two runs as a grid: each cell the edited run's top token, coloured by how far it moved."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from intravisto_core.errors import RequestError, expected
from intravisto_core.figures.measures import FORMATS
from intravisto_core.figures.text import printable
from intravisto_core.figures.web.payload import TEXT_SIZE, Mark, columns_of, pack_arrays, rows_of, write_token_lists
from intravisto_core.records import Comparison

COLOURS = {
    "kl": ("KL from the baseline's cell", "nats"),
    "distance": ("distance moved, of the vector's length", "share"),
    "difference": ("change of the lead", "change"),
}


def comparison_payload(
    record: Comparison,
    colour: str = "",
    marks: Sequence[Mark] | None = None,
    rev: str = "",
    text_size: float = TEXT_SIZE,
) -> bytes:
    """The difference of two runs as bytes for grid.js, top row first.

    colour: "kl", "distance" or "difference"; "" is KL, or distance where cells are updates. marks: outlines of what was
    edited; None marks every edited cell. rev: as in `grid_payload`. At the pointer stand both runs' top tokens.

    Raises:
        RequestError: another colour.
    """
    colour = colour or ("kl" if np.isfinite(record.grid_kl).any() else "distance")
    if colour not in COLOURS:
        raise RequestError(expected("colour", list(COLOURS), colour))
    order = np.argsort(-record.rows, kind="stable")
    values = {"kl": record.grid_kl, "distance": record.grid_distance, "difference": record.grid_difference}[colour]
    ids = np.stack([record.grid_edited_ids, record.grid_ids], axis=2)[order]
    arrays: dict[str, np.ndarray] = {}
    vocabulary = write_token_lists({"ids": ids}, arrays, record.shown)
    arrays["value"] = values[order].astype("<f4")
    tokens = [record.edited_tokens[int(p)] for p in record.positions]
    says = {int(p): _says(record, int(p)) for p in record.positions}
    rows = rows_of(record.rows[order], [record.blank[i] for i in order], record.n_layers)
    header = _header(record, colour, values) | {
        "rev": rev,
        "model": printable(record.model),
        "vocabulary": vocabulary,
        "textSize": text_size,
        "rows": rows,
        "columns": columns_of(tokens, record.positions, [says[int(p)] for p in record.positions], record.shown),
        "firstGenerated": next((i for i, t in enumerate(tokens) if not t.is_prompt), -1),
        "note": f"{len(rows)} rows × {len(tokens)} positions",
        "marks": [{"row": m.row, "position": m.position, "kind": m.kind} for m in _marks(record, marks)],
    }
    return pack_arrays(header, arrays)


def _says(record: Comparison, position: int) -> int:
    return int(record.edited_top_ids[position]) if position < record.n_compared else -1


def _marks(record: Comparison, marks: Sequence[Mark] | None) -> Sequence[Mark]:
    if marks is not None:
        return marks
    cells = zip(*np.nonzero(record.edited_cells), strict=True)
    return [Mark(int(record.rows[r]), int(record.positions[p]), "injected") for r, p in cells]


def _header(record: Comparison, colour: str, values: np.ndarray) -> dict[str, object]:
    name, line = COLOURS[colour]
    if colour == "difference":
        shown = [printable(record.shown[i]) for i in (record.target, record.contrast)]
        name = f"{name} {shown[0]} less {shown[1]}"
    finite = np.abs(values[np.isfinite(values)])
    high = (float(finite.max()) if finite.size else 0.0) or 1.0
    signed = colour == "difference"
    write = FORMATS[line]
    return {
        "title": f"what the edits changed, {record.component.label}",
        "fileName": f"difference-{record.component.value}-{colour}",
        "listed": 2,
        "suppressed": 0,
        "listing": "pair",
        "line": line,
        "log": False,
        "inHover": True,
        "scale": "diverging" if signed else "entropy",
        "low": -high if signed else 0.0,
        "high": high,
        "lowText": write(-high) if signed else "0",
        "highText": write(high),
        "colourName": name,
        "missing": "the texts differ from here" if not record.same_text else "not compared",
        "shareOf": {},
    }
