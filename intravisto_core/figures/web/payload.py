"""What the grid in the browser is given: a JSON header, then little-endian arrays that the header lists."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from intravisto_core.figures.measures import Measure, measure, share_rows
from intravisto_core.figures.text import printable
from intravisto_core.figures.web.awaited import lay_out_columns, list_awaited
from intravisto_core.records import DecodedGrid, Shares, Token, row_label
from intravisto_core.sites import Colour, Reading

LISTED = 5
SUPPRESSED = 3
TEXT_SIZE = 13.0
_NOT_A_NUMBER = 0xFFFF
_WINNERS = {"": 0, "input": 1, "output": 2}


@dataclass(frozen=True, slots=True)
class Mark:
    """An outline on a cell. kind: injected, ablated, scaled or found."""

    row: int
    position: int
    kind: str


def decimals(values: np.ndarray) -> np.ndarray:
    """Numbers round_numbers to three significant digits, exactly, in 16 bits: sign, exponent + 20, mantissa 0..999.

    Sizes below 1e-20 become 0; NaN has a code of its own.
    """
    size = np.abs(np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=9.99e11, neginf=-9.99e11))
    exponent = np.floor(np.log10(np.where(size > 0, size, 1.0))).astype(np.int64)
    mantissa = np.rint(size / 10.0 ** (exponent - 2)).astype(np.int64)
    exponent, mantissa = np.where(mantissa >= 1000, exponent + 1, exponent), np.where(mantissa >= 1000, 100, mantissa)
    tiny, huge = exponent < -20, exponent > 11
    mantissa = np.where(tiny, 0, np.where(huge, 999, mantissa))
    exponent = np.clip(exponent, -20, 11)
    code = (values < 0).astype(np.int64) << 15 | (exponent + 20) << 10 | mantissa
    return np.where(np.isnan(values), _NOT_A_NUMBER, code).astype("<u2")


def grid_payload(
    grid: DecodedGrid,
    colour: Colour | str = Colour.P_MAX,
    shares: Shares | None = None,
    scale: str = "component",
    marks: Sequence[Mark] = (),
    rev: str = "",
    log_scale: bool = False,
    clip: bool = False,
    text_size: float = TEXT_SIZE,
    side: str = "",
    columns: Sequence[Token] = (),
) -> bytes:
    """The grid as bytes for grid.js, top row first. 34 x 200 cells take about 250 kB.

    colour: what fills the cells; updates are coloured by the change of logit, an iterative reading by its first
    length, whatever is asked, unless shares or numbers of the stream are asked for. shares: needed for a colour by
    attention or MLP; where given, the hover shows them. scale: "component", "viridis" or "cividis". log_scale, clip:
    of the colours, see `measures.measure`. text_size: of the tokens in the cells, px. marks: outlines of edits and
    finds. rev: goes back with every selection, so that one made on an older picture is known. side: its name
    beside another grid of the same places; such grids scroll together and are saved as one picture. columns: the tokens
    of all columns of the picture, where the grid has only those that are decoded so far.

    Raises:
        RequestError: the colour needs shares, or is not one that this grid has; an unknown scale.
    """
    awaited = list_awaited(grid, columns)
    if awaited:
        grid = lay_out_columns(grid, columns)
    chosen = measure(grid, colour, shares, scale, log_scale, clip)
    order = np.argsort(-grid.rows, kind="stable")
    arrays: dict[str, np.ndarray] = {}
    vocabulary = _write_lists(grid, order, arrays)
    arrays["value"] = chosen.values[order].astype("<f4")
    if np.isfinite(grid.entropy).any():
        arrays["entropy"] = decimals(grid.entropy[order])
    if shares is not None:
        for name in ("attention", "mlp"):
            arrays[name] = decimals(share_rows(grid, shares, name)[order])
    if grid.winner is not None:
        arrays["winner"] = np.vectorize(lambda w: _WINNERS.get(str(w), 0), otypes=["u1"])(grid.winner[order])
    header = _header(grid, chosen, shares, order) | {
        "rev": rev,
        "model": printable(grid.model),
        "beside": side,
        "awaited": awaited,
        "vocabulary": vocabulary,
        "textSize": text_size,
        "marks": [{"row": m.row, "position": m.position, "kind": m.kind} for m in marks],
    }
    return pack_arrays(header, arrays)


def _write_lists(grid: DecodedGrid, order: np.ndarray, arrays: dict[str, np.ndarray]) -> list[str]:
    """Write the listed tokens and their numbers into `arrays`; returns the texts that the ids there point at."""
    ids = {"ids": grid.token_ids[order][:, :, :LISTED]}
    numbers = {"numbers": _numbers(grid)[order][:, :, :LISTED]}
    if grid.suppressed_ids is not None and grid.suppressed_logits is not None:
        ids["suppressed_ids"] = grid.suppressed_ids[order][:, :, :SUPPRESSED]
        numbers["suppressed_numbers"] = grid.suppressed_logits[order][:, :, :SUPPRESSED]
    arrays.update({name: decimals(array) for name, array in numbers.items()})
    return write_token_lists(ids, arrays, grid.shown)


def write_token_lists(
    ids: Mapping[str, np.ndarray], arrays: dict[str, np.ndarray], shown: Mapping[int, str]
) -> list[str]:
    """Write lists of token ids into `arrays` as places in a vocabulary, which is returned; 0 there is none."""
    distinct, where = np.unique(np.concatenate([a.ravel() for a in ids.values()] + [[-1]]), return_inverse=True)
    kind = "<u2" if len(distinct) <= 2**16 else "<u4"
    start = 0
    for name, array in ids.items():
        arrays[name] = where[start : start + array.size].astype(kind)
        start += array.size
    return ["" if i < 0 else printable(shown.get(int(i), f"id {i}")) for i in distinct]


def _numbers(grid: DecodedGrid) -> np.ndarray:
    if grid.reading is Reading.ITERATIVE and grid.coefficients is not None:
        return grid.coefficients
    return grid.logits if grid.is_update else grid.probabilities


def _header(grid: DecodedGrid, chosen: Measure, shares: Shares | None, order: np.ndarray) -> dict[str, object]:
    rows = rows_of(grid.rows[order], [grid.blank[i] for i in order], grid.n_layers)
    iterative = grid.reading is Reading.ITERATIVE
    suppressed = 0 if grid.suppressed_ids is None else min(SUPPRESSED, grid.suppressed_ids.shape[2])
    positions = [int(p) for p in grid.positions]
    return {
        "title": title(grid),
        "fileName": f"heatmap-{grid.component.value}-{grid.lens.value}",
        "note": f"{len(rows)} rows × {len(positions)} positions",
        "rows": rows,
        "columns": columns_of(grid.tokens, grid.positions, grid.says, grid.shown),
        "firstGenerated": next((i for i, t in enumerate(grid.tokens) if not t.is_prompt), -1),
        "listed": min(LISTED, grid.token_ids.shape[2]),
        "suppressed": suppressed,
        "listing": "coefficient" if iterative else "logit" if grid.is_update else "probability",
        "line": "tokens" if iterative and not chosen.in_hover else chosen.line,
        "log": chosen.log,
        "inHover": chosen.in_hover,
        "scale": chosen.scale,
        "low": chosen.low,
        "high": chosen.high,
        "lowText": chosen.low_text,
        "highText": chosen.high_text,
        "colourName": chosen.name,
        "missing": chosen.missing,
        "shareOf": {} if shares is None else _share_of(shares),
    }


def title(grid: DecodedGrid) -> str:
    """What is decoded, in words."""
    reading = "" if grid.reading is Reading.TOP else f", {grid.reading.label}"
    return f"{grid.component.label}, {grid.lens.label} lens{reading}"


def _share_of(shares: Shares) -> dict[str, str]:
    """Of what the shares are."""
    whole = "block output" if shares.block == "parallel" else "the stream after it"
    return dict.fromkeys(("attention", "mlp"), f"{whole} ({shares.measure.label})")


def rows_of(rows: Iterable[int] | np.ndarray, blank: Sequence[str], n_layers: int) -> list[dict[str, object]]:
    """What the grid knows of each row, in the order given."""
    return [
        {"row": int(r), "label": row_label(int(r), n_layers), "strong": int(r) in (0, n_layers + 1), "blank": b}
        for r, b in zip(rows, blank, strict=True)
    ]


def columns_of(
    tokens: Sequence[Token],
    positions: Iterable[int] | np.ndarray,
    says: Iterable[int] | np.ndarray,
    shown: Mapping[int, str],
) -> list[dict[str, object]]:
    """What the grid knows of each column: its token, what it says (an id, or −1 for unknown), what really follows."""
    token_at = {t.position: t for t in tokens}
    columns: list[dict[str, object]] = []
    for position, token, said in zip(positions, tokens, says, strict=True):
        after = token_at.get(int(position) + 1)
        columns.append(
            {
                "position": int(position),
                "reads": printable(token.shown),
                "special": token.is_special,
                "says": printable(shown.get(int(said), f"id {said}")) if said >= 0 else "",
                "next": printable(after.shown) if after else None,
                "made": bool(after and not after.is_prompt and after.id == said),
            }
        )
    return columns


def pack_arrays(header: dict[str, object], arrays: dict[str, np.ndarray]) -> bytes:
    """Length of the header, the header, the arrays, each from a multiple of four on."""
    types = {"i2": "int16", "u1": "uint8", "u2": "uint16", "u4": "uint32", "f4": "float32"}
    listed = [{"name": n, "type": types[a.dtype.str[1:]], "size": a.size} for n, a in arrays.items()]
    bodies = [a.tobytes() for a in arrays.values()]
    digest = hashlib.blake2b(json.dumps(header).encode(), digest_size=12)
    for body in bodies:
        digest.update(body)
    text = json.dumps({**header, "key": digest.hexdigest(), "arrays": listed}, ensure_ascii=False).encode()
    parts = [struct.pack("<I", len(text)) + text, *bodies]
    return b"".join(part + b"\0" * (-len(part) % 4) for part in parts)
