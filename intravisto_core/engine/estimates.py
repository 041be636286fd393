"""What a run would take, before it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from intravisto_core.models.memory import add_whitening, run_estimate
from intravisto_core.records import MemoryEstimate
from intravisto_core.request.checks import check_whole
from intravisto_core.request.fields import read_flag, read_whole_number
from intravisto_core.request.modules import read_paths
from intravisto_core.request.run import read_sites
from intravisto_core.sites import Site
from intravisto_core.traces import Traces


def estimate_run(
    traces: Traces,
    prompt_tokens: int,
    new_tokens: int,
    sites: Sequence[Site] | None,
    whitened: bool,
    modules: str | Sequence[str],
    measure: Callable[[tuple[str, ...]], Callable[[int], int]],
) -> MemoryEstimate:
    """See `Engine.estimate`. measure: gives for paths of modules the bytes that they keep, by the length of a text.

    Raises:
        RequestError: an argument is none of its kind.
    """
    n_prompt, n_new = read_counts(prompt_tokens, new_tokens)
    chosen, paths = read_sites(sites, "sites"), read_paths(modules, "modules")
    besides = measure(paths) if paths else lambda length: 0
    found = run_estimate(traces.model, n_prompt, n_new, chosen, besides)
    return add_whitening(found, traces.model.dimensions) if read_flag(whitened, "whitened") else found


def read_counts(prompt_tokens: int, new_tokens: int) -> tuple[int, int]:
    """Both counts, read and checked.

    Raises:
        RequestError: one is no whole number from 0.
    """
    n_prompt = read_whole_number(prompt_tokens, "prompt_tokens")
    n_new = read_whole_number(new_tokens, "new_tokens")
    check_whole(n_prompt, "prompt_tokens", 0)
    check_whole(n_new, "new_tokens", 0)
    return n_prompt, n_new
