"""New rows of the ledger: of planned settings, and of new attempts; and how Optuna's own tools are told what varies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from sweeper.ledger.optuna_tables import NewRow
from sweeper.ledger.populations import Population, population_key
from sweeper.ledger.rows import outcome_of, row_key, told_of_plan
from sweeper.rules import FACT, RULES
from sweeper.search.distributions import distribution_of
from sweeper.spec import SweepSpec
from sweeper.trial import Outcome

#: After these the last checkpoint is as good as any, and training goes on from it; after all others it begins anew:
#: what failed once would fail from there again.
_GOES_ON = (Outcome.LOST, Outcome.OUT_OF_MEMORY, Outcome.TIMED_OUT)


def new_rows(
    spec: SweepSpec, populations: Iterable[Population], notes: Mapping[str, object] | None = None
) -> Iterator[tuple[str, list[NewRow]]]:
    """Yield the task and the rows of each population; a search gives what the sampler noted, by setting key."""
    known = distributions_of(spec)  # once: it goes through every value of the grid
    for population in populations:
        rows = []
        for key, setting in zip(population.keys, population.settings, strict=True):
            flat = setting.flat()
            axes = spec.axes_in(flat)
            ranges = {name: its for name, its in known.items() if name in axes or name == "seed"}
            plan: dict[str, Any] = {
                "key": key,
                FACT: RULES,
                "setting": flat,
                "axes": axes,
                "population": population.key,
            }
            if notes and (note := notes[setting.setting_key]):
                plan["note"] = note
            varied = {**axes, "seed": setting.seed}
            attributes = {"plan": plan, **told_of_plan(key, axes)}
            rows.append(NewRow(attributes, {name: varied[name] for name in ranges}, ranges))
        yield population.task, rows


def new_attempts(trials: Sequence[FrozenTrial]) -> tuple[list[NewRow], list[str]]:
    """Return the rows of new attempts, and the keys of the populations among theirs that begin anew.

    Whoever begins anew leaves its population, together with the others of it that do: those that it trained beside may
    have a checkpoint to go on from, which it must not share.
    """
    anew: dict[str, list[FrozenTrial]] = {}
    for trial in trials:
        if outcome_of(trial) not in _GOES_ON:
            anew.setdefault(trial.user_attrs["plan"]["population"], []).append(trial)
    begun = {former: population_key(map(row_key, members)) for former, members in anew.items()}
    rows = []
    for trial in trials:
        plan, claim = trial.user_attrs["plan"], trial.user_attrs.get("claim", {})
        attributes: dict[str, Any] = {
            **told_of_plan(plan["key"], plan["axes"]),
            "plan": {**plan, "again": trial.number},
            # Its attempts are counted on; how often it may be retried is counted from the start.
            "claim": {"attempt": claim.get("attempt", 0), "owner": claim.get("owner", ""), "is_over": True},
        }
        if outcome_of(trial) in _GOES_ON:
            attributes |= {"rungs": rungs} if (rungs := trial.user_attrs.get("rungs")) else {}
        elif (population := begun[plan["population"]]) != plan["population"]:
            former = [*plan.get("former", []), plan["population"]]
            attributes["plan"] |= {"population": population, "former": former}
        rows.append(NewRow(attributes, trial.params, trial.distributions))
    return rows, list(begun.values())


def distributions_of(spec: SweepSpec) -> dict[str, BaseDistribution]:
    """Describe what is varied to Optuna, so that its own tools show it.

    Numbers are ranges and not choices: Optuna lets a range grow later, a list of choices it does not. Words are left to
    the row's attribute for that reason.
    """
    found: dict[str, BaseDistribution] = {}
    for name, values in {**spec.axes, "seed": (spec.seeds[0], spec.seeds[-1])}.items():
        numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
        if len(numbers) < len(values):
            continue
        if all(isinstance(number, int) for number in numbers):
            found[name] = IntDistribution(int(min(numbers)), int(max(numbers)))
        else:
            found[name] = FloatDistribution(float(min(numbers)), float(max(numbers)))
    return found | {name: distribution_of(given) for name, given in spec.searched.items() if given.values is None}
