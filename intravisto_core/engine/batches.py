"""What asking for many runs at once takes: interventions for each prompt, and a bar while one waits."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from intravisto_core.engine.base import Trace
from intravisto_core.engine.job import Job
from intravisto_core.errors import IntravistoError, RequestError, expected
from intravisto_core.request import TraceBatch, TraceRequest
from intravisto_core.request.fields import list_of

OFTEN = 0.1
ANY_PROMPT = "a"


def per_prompt(interventions: Any, n: int) -> list[Any]:
    """Interventions of each of n prompts: the same for all, or a list of n lists.

    Raises:
        RequestError: a list of lists of another length.
    """
    given = list_of(interventions)
    if not any(isinstance(one, list | tuple) for one in given):
        return [given] * n
    if len(given) != n or not all(isinstance(one, list | tuple) for one in given):
        raise RequestError(expected("interventions", f"one list for all, or {n} lists, one a prompt", len(given)))
    return given


def run_each(
    prompts: Sequence[Any],
    edits: Sequence[Any],
    ask: Callable[[Any, Any], TraceRequest],
    run: Callable[[TraceBatch], list[Trace | IntravistoError]],
) -> list[Trace | IntravistoError]:
    """The traces of many prompts in their order; what is no prompt has its error in its place.

    Raises:
        RequestError: an option is wrong whatever the prompt.
    """
    found: list[Trace | IntravistoError | None] = []
    requests = []
    for prompt, own in zip(prompts, edits, strict=True):
        try:
            requests.append(ask(prompt, own))
            found.append(None)
        except RequestError as error:
            ask(ANY_PROMPT, own)
            found.append(error)
    if requests:
        ran = iter(run(TraceBatch(tuple(requests))))
        found = [next(ran) if each is None else each for each in found]
    return [each for each in found if each is not None]


def wait_with_bar(job: Job, shown: bool | None) -> Any:
    """The job's result; a bar shows how far it is. Ctrl-C cancels the job.

    shown: None shows it in a terminal or a notebook alone.
    """
    if not (_seen_by_somebody() if shown is None else shown):
        return _result(job)
    from tqdm.auto import tqdm

    with tqdm(total=None, unit="tokens", leave=False) as bar:
        while not job.state.ended:
            bar.total, bar.n = job.progress.total or None, job.progress.done
            bar.set_description(job.progress.text, refresh=True)
            try:
                job.result(OFTEN)
            except TimeoutError:
                continue
            except KeyboardInterrupt:
                job.cancel()
                raise
    return job.result()


def _result(job: Job) -> Any:
    try:
        return job.result()
    except KeyboardInterrupt:
        job.cancel()
        raise


def _seen_by_somebody() -> bool:
    return "ipykernel" in sys.modules or (sys.stderr is not None and sys.stderr.isatty())
