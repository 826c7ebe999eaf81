"""How a sweep searches, when it stops a trial early, and where it runs: the parts of a spec beside its settings."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, ValidationInfo, model_validator

from sweeper.measurements import Bound
from sweeper.spec.choices import Sampler
from sweeper.spec.problems import broken_rule
from sweeper.spec.setting import ROUND_UPDATES, Count, Frozen, Positive, measured

#: Most trials in a cell for the sampler gp, whose proposals let workers wait: with four objectives and six running
#: settings, one proposal takes 2.4 s of a processor at 20 known settings, 2.7 s at 60 and 2.8 s at 100
#: (benchmarks/README.md).
GP_MOST_TRIALS = 60

#: Smallest share of a CPU or GPU that Ray counts, and the most CPUs or GPUs that a population may request.
LEAST_SHARE, MOST_UNITS = 1e-4, 1024

_BOUND = re.compile(r"\s*([A-Za-z_]\w*)\s*(>=|<=)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*")


def _check_measured(name: str, info: ValidationInfo) -> str:
    return measured(name, "a search must optimise a measurement", info)


def _read_bounds(raw: object) -> object:
    """Accept a single condition without brackets."""
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
        trials: Number of settings tried in each cell; each is trained once for every replicate.
        sampler: Sampler that proposes the next settings.
        minimize, maximize: One measurement to optimise alone; without it the search is for the whole front.
        subject_to: Conditions that a setting must meet, such as `accuracy >= 0.95`.
        scalarize: `chebyshev` combines the objectives into one, with new weights for every proposal.
        warm_start: Names of sweeps of this home whose complete trials are given to the sampler.
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
        """The measurement that is optimised alone; None if the search is for the front."""
        return self.minimize or self.maximize


class EarlyStopping(Frozen):
    """Successive halving: at each rung, the worse trials are stopped.

    Attributes:
        min_epochs: Epochs after which a trial may first be stopped, for trainings given by their epochs.
        min_updates: Updates after which a trial may first be stopped, for trainings given by their updates; rounded up
            to whole rounds of 100.
        factor: About one in `factor` trials goes on from each rung, and each rung is `factor` times as late as the one
            before.
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
        """Return the rounds after which trials of `rounds` rounds are compared; see `TrainingSpec.rounds`."""
        found, rung = [], self.min_epochs or -(-(self.min_updates or 1) // ROUND_UPDATES)
        while rung < rounds:
            found.append(rung)
            rung *= self.factor
        return tuple(found)


class Retries(Frozen):
    """How often a trial is retried after each kind of failure, which may not be its own fault.

    The members of a failed population are first tried one by one. Only failures of a trial alone count here.

    Attributes:
        lost: Retries after its worker or node died.
        out_of_memory: Retries after it ran out of memory, alone.
        failed: Retries after an exception in its training, alone.
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
    """Return a share that Ray can count, in ten-thousandths, or refuse it."""
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
    """Where trials run, and how many at once. Nothing here changes the identity of a complete trial.

    Attributes:
        population: Number of networks trained side by side in one worker; `auto` decides by the machine.
        cpus: CPUs that a population requests. Training takes one thread whatever their number, because results depend
            on the number of threads.
        gpus: GPUs that a population requests; it trains on the first of them. `auto` requests one if the machines have
            any that torch can use.
        memory_mib: Memory that a population requests on a cluster, in MiB; `auto` measures it. 0 requests none, for
            nodes whose memory Ray does not know.
        time_limit_s: Time after which a running training has timed out, in seconds; counted anew after a rung, after an
            interruption, and at each retry.
        retries: How often a trial is retried.
    """

    population: Annotated[int | Literal["auto"], BeforeValidator(_check_population)] = "auto"
    cpus: Annotated[float, BeforeValidator(_check_cpus)] = 1.0
    gpus: Annotated[float | Literal["auto"], BeforeValidator(_check_gpus)] = "auto"
    memory_mib: Annotated[int | Literal["auto"], BeforeValidator(_check_memory)] = "auto"
    time_limit_s: Positive | None = None
    retries: Retries = Retries()
