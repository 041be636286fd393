"""One worker of a batch: it opens the model once, and writes the answers of each part as one Parquet file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from intravisto_core.engine.answers import pack_answer
from intravisto_core.engine.base import Engine, Trace
from intravisto_core.errors import IntravistoError, RequestError, expected
from intravisto_core.files import write_file
from intravisto_core.request import AttentionView, AttributionView, HeatmapView, ModelSpec, from_json
from intravisto_core.service.batch_plan import PARTS, VIEWS, BatchPlan, Prompt
from intravisto_core.sites import Refinement

# of each prompt, what the means over all are made of; a column each beside the records
NUMBERS = ("curve", "heads", "first")


def read_model(part: Path) -> str:
    """The name of the model that answered a part.

    Raises:
        RequestError: it is no file of a batch.
    """
    try:
        return ((pq.read_schema(part).metadata or {}).get(b"model", b"")).decode()
    except (pa.ArrowException, OSError) as error:
        raise refuse_part(part, error) from None


def refuse_part(part: Path, error: Exception) -> RequestError:
    """What is raised where a part is no file of a batch."""
    todo = "Delete it and begin the batch again: it alone is run then"
    return RequestError(expected(part.name, "a file of this batch", type(error).__name__, todo))


class Worker:
    """Answers parts of a plan."""

    def __init__(self, plan: BatchPlan, folder: str) -> None:
        self._plan, self._folder = plan, Path(folder)
        self._engine = self._open()
        self._refuse_another_model()
        self._engine.finish_check()

    def write(self, name: str, prompts: list[Prompt]) -> int:
        """Run the prompts of a part and write its file, whole; gives how many of them failed."""
        traces = self._engine.traces([p.text for p in prompts], self._plan.max_new_tokens, progress=False)  # type: ignore[attr-defined]
        rows = [self._row(prompt, trace) for prompt, trace in zip(prompts, traces, strict=True)]
        table = pa.Table.from_pylist(rows, schema=self._schema())
        sink = io.BytesIO()
        pq.write_table(table, sink, compression="zstd")
        write_file(self._folder / PARTS / name, sink.getvalue())
        return sum(bool(row["error"]) for row in rows)

    def close(self) -> None:
        """Let go of the model."""
        self._engine.close()

    def _open(self) -> Engine:
        if self._plan.engine:
            from intravisto_core.engine.connecting import connect

            return connect(self._plan.engine, self._plan.model)
        # torch is loaded here
        from intravisto_core.engine.local import LocalEngine

        spec: ModelSpec = from_json(self._plan.spec)
        return LocalEngine(spec)

    def _refuse_another_model(self) -> None:
        """A service may offer another model than it did when the batch was begun."""
        written = next((self._folder / PARTS).glob("part-*.parquet"), None)
        if written is None:
            return
        had, now = read_model(written), self._engine.model.name
        if had != now:
            self.close()
            wanted = f"the model of the answers that are there, {had}"
            raise RequestError(expected("model", wanted, now, "Name it with --model, or choose another --out"))

    def _schema(self) -> pa.Schema:
        texts = [(name, pa.string()) for name in ("id", "prompt", "text", "error")]
        numbers = [(name, pa.list_(pa.float32())) for name in NUMBERS]
        shape = [("head_shape", pa.list_(pa.int32()))]
        records = [(name, pa.binary()) for name in self._plan.views]
        fields = [("line", pa.int64()), *texts, *numbers, *shape, *records]
        return pa.schema(fields, metadata={"model": self._engine.model.name})

    def _row(self, prompt: Prompt, trace: Any) -> dict[str, Any]:
        row: dict[str, Any] = {"line": prompt.line, "id": prompt.id, "prompt": prompt.text, "text": "", "error": ""}
        try:
            if not isinstance(trace, Trace):
                raise trace
            row["text"] = trace.text
            for name in self._plan.views:
                row[name] = pack_answer(trace.view(VIEWS[name](trace.id)), self._engine.model.dtype)
            row |= self._numbers(trace)
        except IntravistoError as error:
            row["error"] = str(error)
        return row

    def _numbers(self, trace: Trace) -> dict[str, Any]:
        """What goes into the means; of what the model does not show nothing."""
        place = trace.prompt_length - 1
        found: dict[str, Any] = {}
        if "heatmap" in self._plan.views:
            said = int(trace.view(HeatmapView(trace.id, positions=(place,), rows=(-1,), top_k=1)).token_ids[0, 0, 0])
            grid = trace.view(HeatmapView(trace.id, positions=(place,), top_k=1, watch=(said,)))
            found["curve"] = grid.watch[0].probability[:, 0].astype(np.float32)
        if "attribution" in self._plan.views:
            heads = trace.view(AttributionView(trace.id, position=place, by=Refinement.HEADS)).head_values
            found |= {"heads": heads.ravel().astype(np.float32), "head_shape": list(heads.shape)}
        if trace.prompt_length > 1:
            view = AttentionView(trace.id, head="mean", queries=tuple(range(1, trace.prompt_length)), keys=(0,))
            found["first"] = trace.view(view).weights[:, :, 0].mean(1).astype(np.float32)
        return found
