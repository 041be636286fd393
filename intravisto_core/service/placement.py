"""Which models share a process, and what each process needs: decided from estimates, before anything is loaded."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from intravisto_core.errors import RequestError, expected
from intravisto_core.request import ModelSpec

# what a process takes beside weights, for libraries and for traces
BESIDE = 1 << 30
# of a GPU's memory, what weights may take: the rest is for runs
PART_OF_GPU = 0.8


@dataclass(frozen=True, slots=True)
class Group:
    """Models that one replica holds together. nbytes: of their weights. gpus: that a replica needs."""

    names: tuple[str, ...]
    nbytes: int
    gpus: int = 0


def name_models(specs: Iterable[ModelSpec]) -> dict[str, ModelSpec]:
    """Models by the names that clients know: of a folder its last part.

    Raises:
        RequestError: two have one name, or there is none.
    """
    found: dict[str, ModelSpec] = {}
    for spec in specs:
        name = PurePath(spec.source).name if spec.source.startswith(("/", ".", "~")) else spec.source
        if name in found:
            raise RequestError(expected("models", "every one under its own name", f"{name} twice"))
        found[name] = spec
    if not found:
        raise RequestError(expected("models", "at least one", "none"))
    return found


def read_gigabytes(name: str, given: float | str | None) -> int | None:
    """Bytes of a size in gigabytes; None where none is given.

    Raises:
        RequestError: it is no number above 0.
    """
    if given is None:
        return None
    try:
        found = float(given)
    except ValueError:
        found = math.nan
    if not 0 < found < math.inf:
        raise RequestError(expected(name, "gigabytes, a number above 0", given))
    return max(1, int(found * 1e9))


def check_devices(specs: Mapping[str, ModelSpec], on_gpus: bool) -> None:
    """Refuse models that ask for another device than replicas have. on_gpus: whether replicas have GPUs of their own.

    Raises:
        RequestError: a model asks for a GPU where they have none, or for the processor where they have some.
    """
    for name, spec in specs.items():
        if on_gpus and spec.device_map == "cpu":
            what, todo = "one that uses the GPU of a replica", "Leave out gpu_memory, or device_map"
        elif not on_gpus and spec.device_map == "cuda":
            what, todo = "one without a GPU, which no replica has", "Give gpu_memory, the gigabytes of one GPU"
        else:
            continue
        raise RequestError(expected(f"device_map of {name}", what, spec.device_map, todo))


def check_gpus(groups: Iterable[Group], replicas: int, there: float) -> None:
    """Refuse a plan that needs more GPUs than there are, which would wait for them for ever.

    replicas: of each group. there: GPUs of the cluster.

    Raises:
        RequestError: with both numbers.
    """
    needed = replicas * sum(group.gpus for group in groups)
    if needed > there:
        what = f"{needed} for {replicas} replica{'s' if replicas > 1 else ''} of each group of models"
        raise RequestError(expected("GPUs", what, int(there), "Leave gpu_memory out to run on processors"))


def group_models(sizes: Mapping[str, int], room: int | None, gpu_bytes: int | None = None) -> list[Group]:
    """Models packed into as few groups as first-fit by falling size finds.

    sizes: bytes of weights by name. room: for the weights of one group, or None for one group of all. gpu_bytes:
    memory of one GPU, where models run on GPUs; a model larger than that gets several, over which it is split. A model
    larger than the room stands alone.
    """
    if gpu_bytes is not None:
        room = min(room or int(PART_OF_GPU * gpu_bytes), int(PART_OF_GPU * gpu_bytes))
    groups: list[list[str]] = []
    for name in sorted(sizes, key=lambda n: (-sizes[n], n)):
        for group in groups:
            if room is None or sum(sizes[n] for n in group) + sizes[name] <= room:
                group.append(name)
                break
        else:
            groups.append([name])
    return [_group(names, sizes, gpu_bytes) for names in groups]


def _group(names: Sequence[str], sizes: Mapping[str, int], gpu_bytes: int | None) -> Group:
    nbytes = sum(sizes[name] for name in names)
    gpus = 0 if gpu_bytes is None else max(1, math.ceil(nbytes / (PART_OF_GPU * gpu_bytes)))
    return Group(tuple(names), nbytes, gpus)


def estimate_sizes(models: Mapping[str, ModelSpec]) -> dict[str, int]:
    """Bytes of weights by name, from the files' headers.

    Raises:
        ModelError: a model cannot be had or read.
    """
    # torch is loaded here
    from intravisto_core.models.estimates import estimate_memory

    return {name: estimate_memory(spec).weights for name, spec in models.items()}
