"""Finds out, before a sweep starts, how many networks a population has and which resources it needs."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.errors import ClusterError, SpecError
from sweeper.execution.resources import Machines, Node, Request, Resources
from sweeper.isolated import ask
from sweeper.limits import read_limits
from sweeper.spec import LatticeSweep, SweepSpec

if TYPE_CHECKING:  # this loads torch, which a driver of a user's own function does not need
    from sweeper.training.forecast import MemoryBudget, TaskFacts

#: Additions to the measured memory: the share by which a long training may need more than a short one, Ray's bytes in
#: a worker, and CUDA's bytes there if a GPU is used.
_MARGIN, _RAY_BYTES, _CUDA_BYTES = 0.25, 128 * 2**20, 2 * 2**30

#: Share of a machine's memory that trainings may take, and bytes that a worker takes without a training.
_MEMORY_SHARE, _WORKER_BYTES = 0.75, 400 * 2**20

#: Population sizes that measured best, each with the most pixels of an image it holds for (`benchmarks/population.py`).
_LARGEST_POPULATIONS = ((100, 8), (400, 4), (float("inf"), 2))

#: Least number of rounds of a search: the sampler learns from the outcomes between rounds.
_LEAST_ROUNDS = 8

#: Memory requests are whole multiples of this, so that a repeated measurement makes the same request.
_STEP_BYTES = 64 * 2**20

#: Device files under /dev of possible GPUs: NVIDIA's, those of its small boards, Windows' under WSL, AMD's.
_GPU_DEVICES = ("nvidia*", "nvhost*", "nvgpu*", "nvmap", "dxg", "kfd")

#: Longest probe of a few batches, in seconds; a longer one hangs.
_PROBE_PATIENCE_S = 600.0


@dataclass(frozen=True)
class Needs:
    """Needs of a sweep's populations.

    Attributes:
        population: Largest number of networks trained side by side.
        request: Resources that each population asks for.
        at_once: Number of populations that can be trained at a time.
    """

    population: int
    request: Request
    at_once: int


def needs(
    spec: LatticeSweep,
    tasks: Mapping[str, TaskFacts],
    machines: Machines | None,
    workers: int | None = None,
    planned: int | None = None,
    folder: str = "",
) -> Needs:
    """Return the needs of a sweep's populations.

    Args:
        spec: Spec of the sweep; its `placement` may fix some of the needs.
        tasks: Facts about its tasks.
        machines: Machines that can hold populations; None for this machine.
        workers: Number of populations at a time, if the user named one.
        planned: Population size of a plan that was already made; it stands, whatever the machines are now.
        folder: Folder of the user's own costs; empty if there are none.

    Raises:
        ClusterError: If no machine can ever hold a population, or a machine that would be used cannot train.
        SpecError: If a population does not fit in memory.
    """
    here = machines or Machines([this_machine()])
    request = asked_of(spec, here)
    here.refuse_what_never_fits(request)
    most = workers or max(here.at_once(request), 1)
    size = planned or population_size(spec, most, _memory_budget(tasks, here, request, workers))
    if here.is_cluster and spec.placement.memory_mib == "auto":
        request = replace(request, memory_bytes=_measured(spec, tasks, size, bool(request.gpus), folder))
        here.refuse_what_never_fits(request)
    here.refuse_problems(request)
    return Needs(size, request, here.at_once(request))


def asked_of(spec: SweepSpec, here: Machines) -> Request:
    """Return the resources that a spec asks for, without memory that is still to be measured."""
    placement = spec.placement
    gpus = float(here.has_usable_gpu) if placement.gpus == "auto" else placement.gpus
    return Request(placement.cpus, gpus, 0 if placement.memory_mib == "auto" else placement.memory_mib * 2**20)


def _memory_budget(
    tasks: Mapping[str, TaskFacts], here: Machines, request: Request, workers: int | None
) -> MemoryBudget:
    """Return the memory budget of the machine with the least memory among those that would train."""
    from sweeper.training import forecast

    budget, smallest = forecast.memory_budget(tasks), here.smallest(request)
    if not here.is_cluster or smallest is None:
        return budget
    sharing = min(request.at_once(smallest.has), workers or request.at_once(smallest.has))
    return replace(budget, machine_bytes=smallest.has.memory_bytes, sharing=sharing, machine=f"node {smallest.name}")


def _measured(spec: LatticeSweep, tasks: Mapping[str, TaskFacts], size: int, has_gpu: bool, folder: str) -> int:
    """Return the memory in bytes to ask for, from the heaviest population trained briefly in a separate process."""
    from sweeper.training import forecast

    heaviest, count = forecast.heaviest(spec.corners()), min(size, largest_group(spec))
    members = [heaviest.model_copy(update={"seed": spec.seed + number}).flat() for number in range(count)]
    asked = {"settings": members, "folder": folder}
    answers = ask(["population"], _PROBE_PATIENCE_S, {"CUDA_VISIBLE_DEVICES": ""}, json.dumps(asked))
    if not answers or isinstance(answers[-1], str):
        said = answers[-1] if answers else "it said nothing"
        raise ClusterError(
            f"the memory that a population of {count} networks takes could not be measured on this machine: {said}. "
            "Say it with placement.memory_mib, or use a smaller placement.population."
        )
    # A probe sees windows at their initial size; growing windows may reach their limit.
    grown = count * max(task.network_bytes for task in tasks.values()) if spec.grows else 0
    needed = (1 + _MARGIN) * answers[-1]["memory_bytes"] + grown + _RAY_BYTES + has_gpu * _CUDA_BYTES
    return -int(-needed // _STEP_BYTES) * _STEP_BYTES


def population_size(spec: LatticeSweep, workers: int, budget: MemoryBudget) -> int:
    """Return how many networks to train side by side.

    `auto` gives every worker something to do. It is limited by what fits in memory and by the number beyond which
    larger populations gain nothing on a CPU (figures in docs/explanation/clusters.md).

    Args:
        spec: Spec of the sweep; if its `placement.population` is a number, that is the size.
        workers: Number of populations trained at a time.
        budget: Memory that the networks need and the machine has.

    Raises:
        SpecError: If a population does not fit in the memory of a worker.
    """
    largest = largest_group(spec)
    given, sharing = spec.placement.memory_mib, budget.sharing or workers
    is_given = isinstance(given, int) and given > 0
    has_bytes = int(given) * 2**20 if is_given else _MEMORY_SHARE * budget.machine_bytes / sharing
    fitting = int((has_bytes - _WORKER_BYTES) // budget.network_bytes)
    asked = spec.placement.population
    wanted = min(asked, largest) if isinstance(asked, int) else 1
    if wanted > fitting:
        in_each, has = f"in each of {sharing} workers", f"{budget.machine} has {budget.machine_bytes / 2**30:.1f} GiB"
        if is_given:
            in_each, has = "beside what its worker takes itself", f"placement.memory_mib is {given}"
        fewer = "a higher memory_mib" if is_given else "fewer workers"
        raise SpecError(
            f"a population must fit in memory, but placement.population={asked} needs about "
            f"{wanted * budget.network_bytes / 2**30:.1f} GiB {in_each}, and {has}. "
            + (f"Use {fitting} or fewer." if fitting > 0 else f"Use {fewer}, or a smaller window or batch_size.")
        )
    if isinstance(asked, int):
        return asked
    most = next(size for limit, size in _LARGEST_POPULATIONS if budget.pixels <= limit)
    return max(1, min(most, fitting, -(-largest // workers)))


def largest_group(spec: LatticeSweep) -> int:
    """Return how many trials could be trained side by side, if there were room."""
    if spec.search is None:
        return max(Counter(setting.group_key for setting in spec.settings()).values())
    if not spec.trains_side_by_side:
        return spec.replicates
    # A sampler learns between populations: with too few rounds a search is random.
    return -(-spec.search.trials * spec.replicates * len(spec.cells()) // _LEAST_ROUNDS)


def this_machine(devices: Path = Path("/dev")) -> Node:
    """Return this machine's resources for populations; only GPUs that torch can use are counted.

    Args:
        devices: Folder where the kernel shows devices. Torch, whose import takes seconds, is asked only if one of them
            could be a GPU.
    """
    limits, gpus = read_limits(), 0
    if sys.platform != "linux" or any(any(devices.glob(name)) for name in _GPU_DEVICES):
        from sweeper.training import forecast

        gpus = forecast.usable_gpus()
    return Node("this machine", Resources(limits.workers, gpus, limits.memory_bytes))
