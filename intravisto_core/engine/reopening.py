"""A saved run as a trace again: from its file alone, or made again by its model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from intravisto_core.engine.base import Engine, Trace
from intravisto_core.engine.saved import SavedEngine
from intravisto_core.errors import RequestError, TraceError, expected

MODEL_KEYS = {"weights": "weights", "tokenizer": "tokenizer", "chat_template": "chat template"}


def open_trace(path: str | Path, engine: Engine | None = None) -> Trace:
    """A saved run as a trace. No model is needed for what the file holds.

    engine: of the same model; the run is made again there, held against the file, and answers every view.

    Raises:
        RequestError: path is no path, or engine no engine.
        TraceError: the file is no saved run or is damaged, the engine has another model, or hooks changed the run.
    """
    if engine is not None and not (hasattr(engine, "identity") and hasattr(engine, "submit")):
        raise RequestError(expected("engine", "an open engine, or None", engine))
    saved = SavedEngine(path)
    trace = saved.find(saved.first)
    return trace if engine is None else _run_again(saved, trace, engine)


def _run_again(saved: SavedEngine, trace: Trace, engine: Engine) -> Trace:
    for key, words in MODEL_KEYS.items():
        had, has = saved.identity.get(key), engine.identity.get(key)
        if had != has:
            raise TraceError(
                f"engine: expected the model of the saved run ({saved.model.name}); its {words} differ: {had} in the "
                f"file, {has} here"
            )
    for id in saved.held:
        if why := saved.describe(id).only_once:
            raise TraceError(
                f"engine: expected a saved run that can be made again; {why}. Open it without engine, which shows what "
                "the file holds, or run the prompt under the same hook"
            )
    request = replace(trace.request, baseline="") if trace.request.interventions else trace.request
    again: Trace = engine.submit(request, session="").result()
    had_ids, has_ids = [[t.id for t in each.tokens] for each in (trace, again)]
    if had_ids != has_ids:
        raise TraceError(
            "engine: expected the text of the saved run; here the model goes on differently, as another device or data "
            f"type can make it ({saved.identity.get('computes_in')} in the file, {engine.identity.get('computes_in')} "
            "here). Open it without engine, or force the saved tokens"
        )
    ids = {trace.id: again.id}
    if trace.baseline is not None and again.baseline is not None:
        ids[trace.baseline.id] = again.baseline.id
    again._held = {ids[had]: held.renamed(ids) for had, held in saved.held.items() if had in ids}
    return again
