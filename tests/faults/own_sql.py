"""Reads a stored sweep by separate SQL, without sweeper's own code, so that a bug of sweeper cannot hide a fault."""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow.parquet as pq

#: Runs an SQL statement and returns its rows.
Ask = Callable[[str], list[tuple[Any, ...]]]


def ask_sqlite(file: Path) -> Ask:
    """Read a SQLite file without writing to it."""

    def ask(statement: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True, timeout=60)) as database:
            return database.execute(statement).fetchall()

    return ask


def ask_postgres(url: str) -> Ask:
    """Read a PostgreSQL database, with a new connection for each statement, because the server may be killed."""
    import psycopg

    def ask(statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(url, connect_timeout=10) as connection:
            return connection.execute(statement).fetchall()

    return ask


@dataclass
class Row:
    """A trial in Optuna's tables."""

    task: str
    number: int
    state: str
    ended_at: str
    attributes: dict[str, Any] = field(default_factory=dict)
    params: dict[str, float] = field(default_factory=dict)
    values: dict[int, float] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return self.attributes["plan"]["key"]

    @property
    def ended(self) -> dict[str, Any]:
        return self.attributes.get("ended", {})

    @property
    def rungs(self) -> dict[str, dict[str, float]]:
        return self.attributes.get("rungs", {})

    @property
    def attempt(self) -> int:
        return self.attributes.get("claim", {}).get("attempt", 0)

    @property
    def end(self) -> tuple[Any, ...]:
        """The facts of a finished trial, which must never change again."""
        return self.state, self.ended_at, self.attempt, json.dumps(self.ended, sort_keys=True)


FINISHED = ("COMPLETE", "PRUNED", "FAIL")


def rows_of(ask: Ask) -> list[Row]:
    """Return every trial of a ledger, in order."""
    studies = "select t.trial_id, s.study_name, t.number, t.state, t.datetime_complete from trials t "
    studies += "join studies s on s.study_id = t.study_id order by s.study_id, t.number"
    rows = {i: Row(name.partition("/")[2], number, state, str(at)) for i, name, number, state, at in ask(studies)}
    for trial, name, text in ask("select trial_id, key, value_json from trial_user_attributes"):
        rows[trial].attributes[name] = json.loads(text)
    for trial, name, value in ask("select trial_id, param_name, param_value from trial_params"):
        rows[trial].params[name] = value
    for trial, objective, value in ask("select trial_id, objective, value from trial_values"):
        rows[trial].values[objective] = value
    return list(rows.values())


def open_trials(ask: Ask) -> tuple[int, int]:
    """Return how many trials have no outcome yet, and how many have."""
    counted = dict(ask("select state in ('COMPLETE', 'PRUNED', 'FAIL'), count(*) from trials group by 1"))
    return counted.get(False, 0), counted.get(True, 0)


@dataclass
class Run:
    """A run in MLflow's tables."""

    number: str
    status: str
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    points: list[tuple[str, int, float]] = field(default_factory=list)

    @property
    def key(self) -> str:
        return self.tags.get("sweeper.trial_key", "")


def runs_of(ask: Ask) -> list[Run]:
    """Return every run of an MLflow database that is not deleted."""
    runs = {
        i: Run(i, status) for i, status in ask("select run_uuid, status from runs where lifecycle_stage = 'active'")
    }
    for i, name, value in ask("select run_uuid, key, value from tags"):
        if i in runs:
            runs[i].tags[name] = value
    for i, name, value in ask("select run_uuid, key, value from params"):
        if i in runs:
            runs[i].params[name] = value
    for i, name, step, value in ask("select run_uuid, key, step, value from metrics order by key, step"):
        if i in runs:
            runs[i].points.append((name, step, value))
    return list(runs.values())


@dataclass
class Stored:
    """Everything that a sweep has stored.

    Attributes:
        rows: Rows of the ledger.
        runs: MLflow's runs of trials, by trial key.
        sweeps: MLflow's runs of sweeps.
        fronts: Fronts with their hypervolumes, by task.
        table: Number of rows in MLflow's table of trials, by trial key and attempt.
        networks: Digests of the networks' files, by trial key.
    """

    rows: list[Row]
    runs: dict[str, list[Run]]
    sweeps: list[Run]
    fronts: dict[str, tuple[Any, float]]
    table: Counter[tuple[str, int]]
    networks: dict[str, str]

    @property
    def by_key(self) -> dict[str, Row]:
        return {row.key: row for row in self.rows}


def stored(ledger: Ask, tracker: Ask, artifacts: Path, networks: Path) -> Stored:
    """Read a sweep.

    Args:
        ledger: Queries the ledger's database.
        tracker: Queries MLflow's database.
        artifacts: Folder that contains the folders of all runs, at any depth.
        networks: Folder of networks.
    """
    runs: defaultdict[str, list[Run]] = defaultdict(list)
    sweeps = []
    for run in runs_of(tracker):
        if run.tags.get("sweeper.kind") == "sweep":
            sweeps.append(run)
        else:
            runs[run.key].append(run)
    fronts, table = {}, Counter()
    for run in sweeps:
        (folder,) = artifacts.rglob(f"{run.number}/artifacts")
        for name, text in run.tags.items():
            if name.startswith("sweeper.front."):
                mark = json.loads(text)
                fronts[name.removeprefix("sweeper.front.")] = pq.read_table(folder / mark["path"]), mark["hypervolume"]
        for path, _ in json.loads(run.tags.get("sweeper.trials", '{"parts": []}'))["parts"]:
            part = pq.read_table(folder / path, columns=["key", "attempt"])
            table.update(zip(part["key"].to_pylist(), part["attempt"].to_pylist(), strict=True))
    files = {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in networks.glob("*.safetensors")}
    return Stored(rows_of(ledger), dict(runs), sweeps, fronts, table, files)


# --- findings --------------------------------------------------------------------------------------------

#: Findings by kind: `lost`, `repeated`, `stuck` and `wrong`.
Found = dict[str, list[str]]


def compared(held: Stored, calm: Stored, spec: dict[str, Any], *, is_ordered: bool) -> Found:
    """Compare a sweep with an undisturbed one of the same spec, and check that it agrees with itself.

    Args:
        held: The sweep.
        calm: The undisturbed sweep.
        spec: Spec as it was written.
        is_ordered: Whether all outcomes must be the same. Otherwise the order in which populations reach a rung decides
            which trials are stopped early, so trials are compared only as far as both sweeps have trained them.
    """
    found: Found = {"lost": [], "repeated": [], "stuck": [], "wrong": []}
    _whole(held, found)
    _mirrored(held, found)
    goals = {each["name"]: each["goal"] for each in spec["objectives"]}
    _right_fronts(held, goals, found)
    found["lost"] += [f"{key} was never planned" for key in calm.by_key.keys() - held.by_key.keys()]
    found["wrong"] += [f"{key} is no key of this sweep" for key in held.by_key.keys() - calm.by_key.keys()]
    for key, row in held.by_key.items():
        if key in calm.by_key:
            found["wrong"] += [f"{key}: other {what}" for what in _unlike(row, calm.by_key[key], is_ordered)]
    if is_ordered:
        _same_mirror(held, calm, found)
    else:
        _stopped_rightly(held, goals, found)
    both = held.networks.keys() & calm.networks.keys()
    found["wrong"] += [f"{key}: another network" for key in both if held.networks[key] != calm.networks[key]]
    return found


def _whole(held: Stored, found: Found) -> None:
    """Look for trials without an outcome, or with two."""
    counted = Counter(row.key for row in held.rows)
    found["repeated"] += [f"{key} has {times} rows" for key, times in counted.items() if times > 1]
    for row in held.rows:
        if row.state not in FINISHED:
            found["stuck"].append(f"{row.key} is {row.state}")
        elif row.state == "FAIL":
            found["lost"].append(f"{row.key} ended as {row.ended.get('outcome')}: {row.ended.get('reason', '')[-200:]}")
        elif row.attempt < 1:
            found["wrong"].append(f"{row.key} has ended without an attempt")
        if row.state == "COMPLETE" and row.key not in held.networks:
            found["lost"].append(f"{row.key} has no network")


#: MLflow's status of a finished trial's run, by the trial's state.
_STATUSES = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}


def _mirrored(held: Stored, found: Found) -> None:
    """Compare MLflow with the ledger."""
    if (statuses := [run.status for run in held.sweeps]) != ["FINISHED"]:
        found["stuck"].append(f"the sweep's runs in MLflow are {statuses}")
    found["wrong"] += [f"a run of {key}, which is no trial" for key in held.runs.keys() - held.by_key.keys()]
    for key, row in held.by_key.items():
        runs = held.runs.get(key, [])
        if not runs:
            found["lost"].append(f"{key} is not in MLflow")
            continue
        if len(runs) > 1:
            found["repeated"].append(f"{key} has {len(runs)} runs")
        run = runs[0]
        if run.status != _STATUSES.get(row.state):
            found["stuck"].append(f"the run of {key}, which is {row.state}, is {run.status}")
        twice = [name for name, times in Counter(point[:2] for point in run.points).items() if times > 1]
        found["repeated"] += [f"{key} has {name} of step {step} twice" for name, step in twice]
        last = {name: value for name, step, value in run.points if step == 0}
        measured = row.ended.get("measurement", {})
        found["wrong"] += [f"{key}: {n} is other in MLflow" for n, v in measured.items() if last.get(n) != v]
        if run.tags.get("sweeper.attempt") != str(row.attempt):
            found["wrong"].append(f"{key}: attempt {row.attempt} is {run.tags.get('sweeper.attempt')} in MLflow")
    want = Counter((row.key, row.attempt) for row in held.rows)
    found["lost"] += [f"{key} is not in the table of trials" for key, _ in want - held.table]
    found["repeated"] += [f"{key} is in the table of trials again" for key, _ in held.table - want]


def _same_mirror(held: Stored, calm: Stored, found: Found) -> None:
    """Compare MLflow's data of two sweeps, except for times, attempts and run ids, which differ."""
    same = ("sweeper.state", "sweeper.outcome", "sweeper.setting_key", "sweeper.population", "sweeper.front")
    for key, others in calm.runs.items():
        for run in held.runs.get(key, []):
            other = others[0]
            if run.points != other.points:
                found["wrong"].append(f"{key}: other metrics in MLflow")
            if run.params != other.params:
                found["wrong"].append(f"{key}: other params in MLflow")
            tags = [name for name in same if run.tags.get(name) != other.tags.get(name)]
            found["wrong"] += [f"{key}: another tag {name}" for name in tags]
    for task, (table, volume) in calm.fronts.items():
        mine, its = held.fronts.get(task, (None, None))
        if mine is None or not mine.equals(table) or its != volume:
            found["wrong"].append(f"another front of {task}")
    found["wrong"] += [f"a front too many: {task}" for task in held.fronts.keys() - calm.fronts.keys()]
    found["wrong"] += [f"a network too many: {key}" for key in held.networks.keys() - calm.networks.keys()]


def _unlike(row: Row, other: Row, is_ordered: bool) -> Iterable[str]:
    """Yield the parts of one trial that differ in any bit."""
    plan, planned = row.attributes["plan"], other.attributes["plan"]
    yield from (name for name in ("setting", "axes", "population") if plan[name] != planned[name])
    if plan.get("former"):
        yield "company: its population was divided"
    if row.params != other.params or row.task != other.task:
        yield "parameters"
    if is_ordered or row.state == other.state == "COMPLETE":
        yield from (
            n for n in ("outcome", "reason", "measurement", "details", "curve") if row.ended[n] != other.ended[n]
        )
        if (row.state, row.values, row.rungs) != (other.state, other.values, other.rungs):
            yield "state, values or rungs"
        return
    yield from (f"measurement at {n}" for n in row.rungs.keys() & other.rungs.keys() if row.rungs[n] != other.rungs[n])
    curve, its = row.ended.get("curve", []), other.ended["curve"]
    shared = min(len(curve), len(its))
    if curve[:shared] != its[:shared] or not shared:
        yield "curve, as far as both go"


def _dominates(one: dict[str, float], other: dict[str, float], goals: dict[str, str]) -> bool:
    better = [(one[n] - other[n]) * (1 if goal == "maximize" else -1) for n, goal in goals.items()]
    return min(better) >= 0 and max(better) > 0


def _means(rows: Iterable[dict[str, float]], goals: dict[str, str]) -> dict[str, float]:
    rows = list(rows)
    return {name: math.fsum(row[name] for row in rows) / len(rows) for name in goals}


def _settings(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Return the replicates of each setting: trials that differ only in the seed."""
    found = defaultdict(list)
    for row in rows:
        setting = {name: value for name, value in row.attributes["plan"]["setting"].items() if name != "seed"}
        found[json.dumps(setting, sort_keys=True)].append(row)
    return found


def _right_fronts(held: Stored, goals: dict[str, str], found: Found) -> None:
    """Compare each stored front with the settings of the ledger that nothing dominates."""
    for task in {row.task for row in held.rows}:
        settings = _settings(row for row in held.rows if row.task == task and row.state == "COMPLETE")
        points = {
            frozenset(row.key for row in its): _means((row.ended["measurement"] for row in its), goals)
            for its in settings.values()
        }
        best = {keys: p for keys, p in points.items() if not any(_dominates(q, p, goals) for q in points.values())}
        table = held.fronts[task][0].to_pydict() if task in held.fronts else {"keys": []}
        stored_points = {
            frozenset(keys): {name: table[name][index] for name in goals} for index, keys in enumerate(table["keys"])
        }
        # Of several equal points the front needs only one.
        values = {tuple(point.values()) for point in best.values()}
        if not stored_points.keys() <= best.keys() or {tuple(p.values()) for p in stored_points.values()} != values:
            found["wrong"].append(f"the front of {task} is not that of the ledger")


def _stopped_rightly(held: Stored, goals: dict[str, str], found: Found) -> None:
    """Look for settings that were stopped although nothing dominated them at that rung, which must never happen."""
    for rung in {rung for row in held.rows for rung in row.rungs}:
        there = _settings(row for row in held.rows if rung in row.rungs)
        means = {name: (its[0].task, _means((row.rungs[rung] for row in its), goals)) for name, its in there.items()}
        for name, its in there.items():
            task, point = means[name]
            is_stopped = all(row.state == "PRUNED" and max(map(int, row.rungs)) == int(rung) for row in its)
            if is_stopped and not any(_dominates(p, point, goals) for other, p in means.values() if other == task):
                found["wrong"].append(f"{its[0].key} was stopped at {rung}, though nothing was better")
