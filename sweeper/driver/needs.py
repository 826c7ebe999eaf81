"""What a sweep's populations need, found out before any starts: how many networks each, and what of a machine."""

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

if TYPE_CHECKING:  # it loads torch, which a driver of a user's own function does without
    from sweeper.training.forecast import MemoryBudget, TaskFacts

#: What is asked for beside what was measured: the share by which a long training may differ from a short one, what Ray
#: takes in a worker, and what CUDA takes there where a GPU is used.
_MARGIN, _RAY_BYTES, _CUDA_BYTES = 0.25, 128 * 2**20, 2 * 2**30

#: Share of a machine's memory that trainings may take, and what a worker takes without any.
_MEMORY_SHARE, _WORKER_BYTES = 0.75, 400 * 2**20

#: The population that measures best, by the number of pixels of an image (`benchmarks/population.py`).
_LARGEST_POPULATIONS = ((100, 8), (400, 4), (float("inf"), 2))

#: How often a sampler must hear of outcomes before its last proposals.
_LEAST_ROUNDS = 8

#: Requests are whole multiples of this, so that measuring again asks for the same.
_STEP_BYTES = 64 * 2**20

#: What Linux has in /dev where a GPU may be: NVIDIA's, those of its small boards, Windows' own below Linux, AMD's.
_GPU_DEVICES = ("nvidia*", "nvhost*", "nvgpu*", "nvmap", "dxg", "kfd")

#: A probe of a few batches that takes longer hangs.
_PROBE_PATIENCE_S = 600.0


@dataclass(frozen=True)
class Needs:
    """What populations need.

    Attributes:
        population: Networks trained side by side, at most.
        request: What each population asks for.
        at_once: Populations that can be trained at a time.
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
    """Return what the populations of a sweep need.

    Args:
        spec: Its `placement` says what it can.
        tasks: What is known of its tasks.
        machines: Where they can be placed; None for this machine.
        workers: Populations at a time, where the user has said so.
        planned: Size of populations where they were planned already: it stands, whatever the machines are now.
        folder: Where the user's own costs are; empty where there are none.

    Raises:
        ClusterError: If no machine can ever hold a population, or one that would have to cannot train.
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
    """Return what the spec asks for; memory that is to be measured is not yet in it."""
    placement = spec.placement
    gpus = float(here.has_usable_gpu) if placement.gpus == "auto" else placement.gpus
    return Request(placement.cpus, gpus, 0 if placement.memory_mib == "auto" else placement.memory_mib * 2**20)


def _memory_budget(
    tasks: Mapping[str, TaskFacts], here: Machines, request: Request, workers: int | None
) -> MemoryBudget:
    """Return the budget of the machine with the least memory that would train."""
    from sweeper.training import forecast

    budget, smallest = forecast.memory_budget(tasks), here.smallest(request)
    if not here.is_cluster or smallest is None:
        return budget
    sharing = min(request.at_once(smallest.has), workers or request.at_once(smallest.has))
    return replace(budget, machine_bytes=smallest.has.memory_bytes, sharing=sharing, machine=f"node {smallest.name}")


def _measured(spec: LatticeSweep, tasks: Mapping[str, TaskFacts], size: int, has_gpu: bool, folder: str) -> int:
    """Return what memory a population asks for: the heaviest one, trained for a moment in a process of its own."""
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
    # A probe sees windows as they begin; those that grow may take all that they are allowed.
    grown = count * max(task.network_bytes for task in tasks.values()) if spec.grows else 0
    needed = (1 + _MARGIN) * answers[-1]["memory_bytes"] + grown + _RAY_BYTES + has_gpu * _CUDA_BYTES
    return -int(-needed // _STEP_BYTES) * _STEP_BYTES


def population_size(spec: LatticeSweep, workers: int, budget: MemoryBudget) -> int:
    """Return how many networks to train side by side.

    `auto` gives every worker something to do, up to the number beyond which populations were measured to gain
    nothing on a CPU (figures in docs/explanation/clusters.md), and to what fits in memory.

    Args:
        spec: Its `placement.population` decides where it is a number.
        workers: Populations trained at a time.
        budget: What the networks need and the machine has.

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
    # A sampler learns between populations: with fewer than so many rounds a search is a random one.
    return -(-spec.search.trials * spec.replicates * len(spec.cells()) // _LEAST_ROUNDS)


def this_machine(devices: Path = Path("/dev")) -> Node:
    """Return what this machine has for populations; of GPUs only those that torch can use.

    Args:
        devices: Where the kernel shows devices. Without one that could be a GPU, torch is not asked: its import takes
            seconds.
    """
    limits, gpus = read_limits(), 0
    if sys.platform != "linux" or any(any(devices.glob(name)) for name in _GPU_DEVICES):
        from sweeper.training import forecast

        gpus = forecast.usable_gpus()
    return Node("this machine", Resources(limits.workers, gpus, limits.memory_bytes))
