"""Many prompts over many workers, each prompt exactly once, whatever is killed on the way.

Parts are fixed before anything runs, and a part's file is written whole or not at all. So a batch that was stopped is
begun again by the same command: parts that are there are left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from intravisto_core.records import BatchSummary
from intravisto_core.service.batch_means import summarise
from intravisto_core.service.batch_plan import BatchPlan, Prompt, begin, missing_parts, split_parts
from intravisto_core.service.batch_work import Worker

CPUS_A_WORKER = 0.4
# how many parts of all are done
Told = Callable[[int, int], None]


def run_batch(
    plan: BatchPlan,
    prompts: Sequence[Prompt],
    folder: str | Path,
    workers: int = 0,
    address: str | None = None,
    told: Told = lambda done, total: None,
) -> BatchSummary:
    """Run what is missing of a batch; gives the means over all of it, which stand in `summary.html` too.

    workers: processes of Ray Data; 0 runs in this one. address: of a Ray cluster that runs; else a new one here.

    Raises:
        IntravistoError: another batch was begun in that folder, or the model cannot be opened.
    """
    place = Path(folder).expanduser().resolve()
    begin(place, plan, prompts)
    missing = missing_parts(place, prompts)
    total = len(split_parts(prompts))
    if missing:
        ran = _run_here(plan, place, missing) if workers < 1 else _run_on_ray(plan, place, missing, workers, address)
        for done, _ in enumerate(ran, total - len(missing) + 1):
            told(done, total)
    summary = summarise(place)
    summary.save(place / "summary.html")
    summary.save(place / "summary.csv")
    return summary


def _run_here(plan: BatchPlan, folder: Path, missing: list[tuple[str, list[Prompt]]]) -> Iterator[int]:
    worker = Worker(plan, str(folder))
    try:
        for name, part in missing:
            yield worker.write(name, part)
    finally:
        worker.close()


class PartWriter:
    """A worker as Ray Data calls it: a batch of names of parts in, how many prompts of each failed out."""

    def __init__(self, plan: BatchPlan, folder: str, parts: dict[str, list[Prompt]]) -> None:
        self._worker, self._parts = Worker(plan, folder), parts

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Write the parts of those names."""
        failed = [self._worker.write(name, self._parts[name]) for name in map(str, batch["part"])]
        return {"part": batch["part"], "failed": np.array(failed)}


def _run_on_ray(
    plan: BatchPlan, folder: Path, missing: list[tuple[str, list[Prompt]]], workers: int, address: str | None
) -> Iterator[int]:
    import ray

    from intravisto_core.service.ray_start import start_ray

    start_ray(address)
    ray.data.DataContext.get_current().enable_progress_bars = False
    names = ray.data.from_items([{"part": name} for name, _ in missing], override_num_blocks=len(missing))
    done = names.map_batches(
        PartWriter,
        fn_constructor_args=(plan, str(folder), dict(missing)),
        batch_size=1,
        concurrency=min(workers, len(missing)),
        num_cpus=CPUS_A_WORKER,
        # a worker that is killed is replaced, and its part begun again
        max_restarts=-1,
        max_task_retries=-1,
    )
    for row in done.iter_rows():
        yield int(row["failed"])
