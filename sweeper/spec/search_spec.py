"""How a sweep searches, when it gives a trial up, and where it runs: the parts of a spec beside its settings."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, ValidationInfo, model_validator

from sweeper.measurements import Bound
from sweeper.spec.choices import Sampler
from sweeper.spec.problems import broken_rule
from sweeper.spec.setting import ROUND_UPDATES, Count, Frozen, Positive, measured

#: A Gaussian process thinks while workers wait: with four objectives and six settings being tried, one proposal takes
#: 2.4 s of a processor at 20 known settings, 2.7 s at 60 and 2.8 s at 100 (benchmarks/README.md).
GP_MOST_TRIALS = 60

#: The least part of a CPU or GPU that Ray counts, and the most that a population may ask for.
LEAST_SHARE, MOST_UNITS = 1e-4, 1024

_BOUND = re.compile(r"\s*([A-Za-z_]\w*)\s*(>=|<=)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*")


def _check_measured(name: str, info: ValidationInfo) -> str:
    return measured(name, "a search must optimise a measurement", info)


def _read_bounds(raw: object) -> object:
    """Accept one condition alone, as text."""
    return (raw,) if isinstance(raw, str) else raw


def _read_bound(raw: object, info: ValidationInfo) -> Bound:
    match = _BOUND.fullmatch(raw) if isinstance(raw, str) else None
    if isinstance(raw, Bound):
        return raw
    if match is None:
        raise broken_rule(
            "subject_to must hold conditions such as 'accuracy >= 0.95'", "Use a name, >= or <=, a number."
        )
    name, sign, number = match.groups()
    return Bound(measured(name, "subject_to must name measurements", info), sign == ">=", float(number))


Measured = Annotated[str, AfterValidator(_check_measured)]


class SearchSpec(Frozen):
    """An adaptive search in every cell of the grid.

    Attributes:
        trials: Settings tried in each cell; every one is trained once for each replicate.
        sampler: What proposes the next settings.
        minimize, maximize: One measurement to optimise alone; without it the search is for the whole front.
        subject_to: Conditions that a setting must meet, such as `accuracy >= 0.95`.
        scalarize: `chebyshev` turns the objectives into one, weighted anew for every proposal.
        warm_start: Names of sweeps of this home whose complete trials the sampler is told.
    """

    trials: Count
    sampler: Annotated[Sampler, Field(strict=False)] = Sampler.TPE
    minimize: Measured | None = None
    maximize: Measured | None = None
    subject_to: Annotated[
        tuple[Annotated[Bound, BeforeValidator(_read_bound), PlainSerializer(str)], ...],
        BeforeValidator(_read_bounds),
        Field(strict=False),
    ] = ()
    scalarize: Literal["chebyshev"] | None = None
    warm_start: Annotated[tuple[str, ...], BeforeValidator(_read_bounds), Field(strict=False)] = ()

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        ways = [n for n in ("minimize", "maximize", "scalarize") if getattr(self, n) is not None]
        if len(ways) > 1:
            raise broken_rule(
                f"a search must be for one thing, but it is given {' and '.join(ways)}",
                "Keep one of them; without any the search is for the whole front.",
            )
        if self.sampler is Sampler.GP and self.trials > GP_MOST_TRIALS:
            raise broken_rule(
                f"the sampler gp must have at most {GP_MOST_TRIALS} trials in a cell, because its proposals "
                "take seconds each, while workers wait",
                "Use tpe, or fewer trials.",
            )
        return self

    @property
    def single(self) -> str | None:
        """The measurement that is optimised alone; None where the search is for the front."""
        return self.minimize or self.maximize


class EarlyStopping(Frozen):
    """Successive halving: of the trials that reach a rung, the worse ones are stopped.

    Attributes:
        min_epochs: Epochs after which a trial may first be stopped, where trainings are given by their epochs.
        min_updates: Updates after which it may, where they are given by their updates; counted in whole rounds of 100.
        factor: About one in so many goes on from each rung, and rungs are so many times as far apart.
    """

    min_epochs: Count | None = None
    min_updates: Count | None = None
    factor: Annotated[int, Field(ge=2, le=10)] = 3

    @model_validator(mode="after")
    def _check_one_beginning(self) -> Self:
        if (self.min_epochs is None) == (self.min_updates is None):
            raise broken_rule(
                "early_stopping must have one of min_epochs and min_updates",
                "Give the one in which `training` is given, such as `min_epochs: 5`.",
            )
        return self

    def rungs(self, rounds: int) -> tuple[int, ...]:
        """Return the rounds after which trials of so many rounds are compared; see `TrainingSpec.rounds`."""
        found, rung = [], self.min_epochs or -(-(self.min_updates or 1) // ROUND_UPDATES)
        while rung < rounds:
            found.append(rung)
            rung *= self.factor
        return tuple(found)


class Retries(Frozen):
    """How often a trial is tried again after something went wrong that may not be its own fault.

    Members of a population that fails are tried apart before any of these counts.

    Attributes:
        lost: After its worker or node died.
        out_of_memory: After it ran out of memory, alone.
        failed: After an exception in its training, alone.
    """

    lost: Annotated[int, Field(ge=0, le=100)] = 3
    out_of_memory: Annotated[int, Field(ge=0, le=100)] = 0
    failed: Annotated[int, Field(ge=0, le=100)] = 0


def _check_population(population: object) -> object:
    is_count = isinstance(population, int) and not isinstance(population, bool) and population >= 1
    if population != "auto" and not is_count:
        raise broken_rule("population must be auto or a whole number of at least 1", "Use auto.")
    return population


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_cpus(cpus: object) -> object:
    if not _is_number(cpus) or not LEAST_SHARE <= cpus <= MOST_UNITS:  # type: ignore[operator]  # it is a number
        raise broken_rule("cpus must be a number above 0, such as 1, 2 or 0.5", "Use 1: training takes one thread.")
    return _in_whole_parts("cpus", cpus)


def _check_gpus(gpus: object) -> object:
    if gpus == "auto":
        return gpus
    if not _is_number(gpus) or not 0 <= gpus <= MOST_UNITS or (gpus > 1 and gpus != int(gpus)):  # type: ignore[operator,call-overload]
        raise broken_rule(
            "gpus must be auto, 0, a fraction below 1 such as 0.25, or a whole number",
            "Use auto: a GPU for each population where the cluster has any.",
        )
    return _in_whole_parts("gpus", gpus)


def _in_whole_parts(name: str, number: object) -> float:
    """Return a share as Ray counts it: in ten-thousandths."""
    share = float(number)  # type: ignore[arg-type]  # a number, as its caller has made sure
    if abs(share / LEAST_SHARE - round(share / LEAST_SHARE)) > 1e-6:
        raise broken_rule(f"{name} must have at most four decimals, as Ray counts them", f"Use {round(share, 4):g}.")
    return share


def _check_memory(memory: object) -> object:
    is_count = isinstance(memory, int) and not isinstance(memory, bool) and 0 <= memory < 2**31
    if memory != "auto" and not is_count:
        raise broken_rule("memory_mib must be auto or a whole number of MiB", "Use auto: it is measured.")
    return memory


class PlacementSpec(Frozen):
    """Where and how many at once: nothing here changes what a trial that completes is.

    Attributes:
        population: Networks trained side by side in one worker; `auto` decides by the machine.
        cpus: CPUs that a population asks for. Training takes one thread however many they are: results would depend
            on their number.
        gpus: GPUs that a population asks for; it trains on the first of them. `auto` is one where the machines have
            any that torch can use.
        memory_mib: Memory that a population asks for on a cluster, in MiB; `auto` is measured. 0 asks for
            none, where nodes are not known to have any.
        time_limit_s: Seconds after which a training that is still going on has timed out; counted anew after a rung,
            an interruption, and when it is tried again.
        retries: How often a trial is tried again.
    """

    population: Annotated[int | Literal["auto"], BeforeValidator(_check_population)] = "auto"
    cpus: Annotated[float, BeforeValidator(_check_cpus)] = 1.0
    gpus: Annotated[float | Literal["auto"], BeforeValidator(_check_gpus)] = "auto"
    memory_mib: Annotated[int | Literal["auto"], BeforeValidator(_check_memory)] = "auto"
    time_limit_s: Positive | None = None
    retries: Retries = Retries()
