"""A published finding, a saved run that holds the test of a claim, tested once more: here, or on another model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from intravisto_core.engine.base import Engine, Trace
from intravisto_core.engine.saved import SavedEngine
from intravisto_core.errors import RequestError, TraceError, expected
from intravisto_core.records import Evidence, Retest
from intravisto_core.request import Claim, EvidenceView, Generation

SAME = ("weights", "tokenizer")


def retest(path: str | Path, engine: Engine, prompts: Iterable[str] | None = None) -> Retest:
    """Test the claim of a published finding once more, and say whether it holds.

    path: a file that `trace.save(path, views=[EvidenceView(…)])` wrote. engine: of its model, or of any other that its
    edit fits. prompts: other ones; None takes those of the finding. The claim keeps the direction that it had.

    Raises:
        TraceError: the file is no saved run, or holds no test of a claim.
        RequestError: the claim cannot be made of that model: a layer that it lacks, tokens by id of another tokenizer.
    """
    if not (hasattr(engine, "identity") and hasattr(engine, "submit")):
        raise RequestError(expected("engine", "an open engine", engine))
    saved = SavedEngine(path)
    asked, before = read_finding(saved)
    same = {key: saved.identity.get(key) == engine.identity.get(key) for key in SAME}
    request = replace(saved.describe(saved.first).request, generation=Generation(), modules=())
    if not same["tokenizer"]:
        _refuse_ids(asked.claim, request.prompt)
    run: Trace = engine.submit(request).result()
    texts = asked.prompts if prompts is None else tuple(prompts)
    claim = replace(asked.claim, effect=before.effect)
    now = run.view(replace(asked, trace=run.id, claim=claim, prompts=texts))
    notes = () if all(same.values()) else ("this is another model than that of the finding",)
    return Retest(
        trace=run.id,
        model=engine.model.name,
        same_model=all(same.values()),
        same_prompts=texts == asked.prompts,
        before=before,
        now=now,
        notes=notes,
    )


def read_finding(saved: SavedEngine) -> tuple[EvidenceView, Evidence]:
    """The test that a saved run holds: what was asked, and what came out.

    Raises:
        TraceError: it holds none.
    """
    for view in saved.held[saved.first].views:
        if isinstance(view, EvidenceView):
            return view, saved.view(view)
    raise TraceError(
        "finding: expected a saved run that holds the test of a claim; this one holds none. Save one with "
        "trace.save(path, views=[EvidenceView(trace, claim, prompts)])"
    )


def _refuse_ids(claim: Claim, prompt: str | tuple[int, ...]) -> None:
    """Refuse what is named by ids of another tokenizer."""
    named = [
        value for each in (claim.target, claim.contrast) for value in (each if isinstance(each, tuple) else (each,))
    ]
    if isinstance(prompt, tuple) or any(isinstance(value, int) for value in named):
        raise RequestError(
            "finding: expected a claim in texts, since this model has another tokenizer; it names tokens by their ids. "
            "Test it on the model that it was found in, or state it anew"
        )
