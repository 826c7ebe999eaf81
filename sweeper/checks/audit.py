"""`sweeper audit`: checks the promises about a sweep against its ledger, its files and MLflow. Writes nothing.

Each store is read once. MLflow is read before the ledger, so that the ledger must know everything in MLflow even while
a driver works.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweeper import storage
from sweeper.analysis.formats import read_probes
from sweeper.analysis.fronts import Front, compute_fronts
from sweeper.analysis.trials import read_aims
from sweeper.checks.guarantee import Guarantee, judged
from sweeper.errors import QueryError, TrackingError
from sweeper.ledger.again import attempts
from sweeper.ledger.home import SweepFolder
from sweeper.ledger.open import read_ledger
from sweeper.ledger.populations import population_key
from sweeper.ledger.rows import Row
from sweeper.rules import RULES, rules_in
from sweeper.search.cells import cells_of
from sweeper.spec import SweepSpec, keys_of
from sweeper.tracking.mlflow.inventory import Mirror, differences, read_mirror
from sweeper.tracking.mlflow.runs import network_path
from sweeper.tracking.recorder import member_keys, probes_path, shortened
from sweeper.trial import Outcome, State, TrialRecord

if TYPE_CHECKING:
    from sweeper.tracking.mlflow.client import Run

_Broken = defaultdict[str, list[str]]


@dataclass(frozen=True)
class Evidence:
    """Everything known about a sweep, read once.

    Attributes:
        rows: The ledger's rows that count.
        former: Rows of former attempts of trials that were tried again on request.
        driver: The running driver in words; None if there is none.
        mirror: MLflow's content; a text with the reason if it cannot be read.
    """

    folder: SweepFolder
    spec: SweepSpec
    identity: str
    rows: Sequence[Row]
    driver: str | None
    mirror: Mirror | str
    former: Sequence[Row] = ()

    @property
    def finished(self) -> dict[str, TrialRecord]:
        """Trials with an outcome, by key."""
        return {row.record.key: row.record for row in self.rows if row.record and row.record.state.is_finished}

    def is_former(self, key: str, run: Run) -> bool:
        """Return whether a run mirrors a former attempt of a trial that was tried again."""
        return any(r.record is not None and r.name == key and not differences(run, r.record) for r in self.former)


def audit(folder: SweepFolder, tracking_uri: str) -> list[Guarantee]:
    """Check every promise about a sweep.

    Args:
        folder: Folder of a planned sweep.
        tracking_uri: Its tracking URI.

    Raises:
        SweepError: If the ledger cannot be read.
    """
    driver = folder.driver
    mirror: Mirror | str
    try:
        mirror = read_mirror(tracking_uri, folder.name)
    except TrackingError as error:
        mirror = str(error)
    with closing(read_ledger(folder)) as ledger:
        driver = driver or folder.driver or ledger.driver
        rows, former = attempts(ledger.rows())
        evidence = Evidence(folder, ledger.spec, ledger.identity, rows, driver, mirror, former)
    return [
        judged(
            "every planned trial is in the ledger, once", planned_once(evidence.spec, evidence.rows, evidence.former)
        ),
        judged("no trial is running without a driver, and none waits once the sweep has ended", driven(evidence)),
        judged("every finished trial has one outcome, and its row says the same", outcomes(evidence)),
        _of_mirror("no trial ran or was mirrored twice: one run in MLflow, equal to the ledger", once, evidence),
        _of_mirror("MLflow holds every finished trial, and the run of the sweep", mirrored, evidence),
        _of_mirror("every stored front is the front of the trials in the ledger", fronts, evidence, is_settled=True),
        *_of_networks(evidence),
        judged("every population that has begun can go on from a checkpoint", checkpoints(evidence)),
        judged("every trial belongs to the population it names", populations(evidence.rows, evidence.former)),
    ]


def _of_networks(evidence: Evidence) -> list[Guarantee]:
    """Return the promise about networks; none for a user's own function, which stores no networks."""
    if evidence.spec.own_units is not None:
        return []
    return [judged("every complete trial has its network, readable and its own", networks(evidence))]


def _of_mirror(
    text: str, check: Callable[[Evidence, Mirror], _Broken], evidence: Evidence, is_settled: bool = False
) -> Guarantee:
    """Judge a promise about MLflow; unknown if MLflow cannot be read, or if a driver runs and `is_settled` is set."""
    if isinstance(evidence.mirror, str):
        return Guarantee(text, None, reason=evidence.mirror)
    if is_settled and evidence.driver:
        reason = f"the sweep is being driven by {evidence.driver}: ask again when it has ended"
        return Guarantee(text, None, reason=reason, is_early=True)
    return judged(text, check(evidence, evidence.mirror))


# --- the ledger -----------------------------------------------------------------------------------


def planned_once(spec: SweepSpec, rows: Sequence[Row], former: Sequence[Row] = ()) -> _Broken:
    """Compare the keys in the ledger with those that the spec plans; a former attempt is not a second trial."""
    broken = _Broken(list)
    found = Counter(row.plan["key"] for row in rows if "key" in row.plan)
    if spec.search is None and any(rules_in(row.plan) != RULES for row in rows if "key" in row.plan):
        _planned_by_earlier_rules(spec, rows, broken)
    elif spec.search is None:
        planned = {setting.key for setting in spec.settings()}
        broken["planned, but not in the ledger"] = sorted(planned - found.keys())
        broken["in the ledger, but not planned"] = sorted(found.keys() - planned)
    else:
        _searched_once(spec, [row.record for row in rows if row.record], broken)
    broken["in the ledger more than once"] = sorted(key for key, times in found.items() if times > 1)
    for row in rows:
        if row.record is None:
            broken["a row that cannot be read"].append(row.name)
        elif keys_of(row.record.setting, rules_in(row.plan)).key != row.record.key:
            broken["a key that is not that of its setting"].append(row.name)
    keys = Counter((row.task, row.plan["again"]) for row in (*rows, *former) if "again" in row.plan)
    for row in former:
        if row.state is not State.FAILED:
            broken[f"tried again, though it was {row.state}"].append(row.name)
        if keys[row.task, row.number] > 1:
            broken["tried again twice at a time"].append(row.name)
    return broken


def _planned_by_earlier_rules(spec: SweepSpec, rows: Sequence[Row], broken: _Broken) -> None:
    """Compare a grid with the ledger by axes and seeds: by today's rules the settings have other names and keys."""
    axes, tasks = list(spec.axes), len(spec.tasks)
    planned = {json.dumps([*values, seed]) for values in itertools.product(*spec.axes.values()) for seed in spec.seeds}
    found = {
        json.dumps([*(row.record.axes.get(axis) for axis in axes), row.record.seed]): row for row in rows if row.record
    }
    broken["planned, but not in the ledger"] = sorted(planned - found.keys())
    broken["in the ledger, but not planned"] = sorted(found[each].name for each in found.keys() - planned)
    if (seen := len({row.task for row in rows})) != tasks:
        broken[f"trials of {seen} tasks, not of {tasks}"].append(", ".join(sorted({row.task for row in rows})))


def _searched_once(spec: SweepSpec, records: Sequence[TrialRecord], broken: _Broken) -> None:
    """Compare a search's proposals with the planned numbers of settings, replicates and cells."""
    cells = cells_of(spec, records)
    known = {record.key for cell in cells for its in cell.settings.values() for record in its}
    broken["in the ledger, but in no cell of the sweep"] = sorted({record.key for record in records} - known)
    for cell in cells:
        more = len(cell.settings) - (spec.search.trials if spec.search else 0)
        if more > 0:
            broken[f"{more} settings more than there are to be"].append(f"cell {cell.key} of {cell.task}")
        for its in cell.settings.values():
            if {record.seed for record in its} != set(spec.seeds):
                broken["a setting without all its replicates"].append(its[0].key)
            if not all(given.holds(its[0].axes[name]) for name, given in spec.searched.items()):
                broken["a setting outside of the searched ranges"].append(its[0].key)


def driven(evidence: Evidence) -> _Broken:
    """Look for running trials without a driver, and for waiting trials of a sweep that has ended."""
    broken = _Broken(list)
    if evidence.driver:
        return broken
    mirror = evidence.mirror
    has_ended = isinstance(mirror, Mirror) and set(mirror.statuses) & {"FINISHED", "FAILED"}
    for row in evidence.rows:
        if row.state is State.RUNNING:
            broken[f"running, but nobody drives the sweep (`sweeper resume {evidence.folder.name}`)"].append(row.name)
        elif row.state is State.WAITING and has_ended:
            broken["waiting, though MLflow says that the sweep has ended"].append(row.name)
    return broken


def outcomes(evidence: Evidence) -> _Broken:
    """Compare each finished row's outcome with the state and values that Optuna stores."""
    broken = _Broken(list)
    names = [one.name for one in evidence.spec.objectives]
    for row in (*evidence.rows, *evidence.former):
        if row.state is State.WAITING and row.ended:
            broken["waiting, though it has an outcome"].append(row.name)
        if not row.state.is_finished:
            continue
        outcome = row.ended.get("outcome")
        if outcome not in set(Outcome):
            broken["finished without an outcome"].append(row.name)
            continue
        if Outcome(outcome).state is not row.state:
            broken["an outcome of another kind than its state"].append(row.name)
        elif row.state is State.COMPLETE:
            measured = row.ended.get("measurement")
            measured = measured if isinstance(measured, dict) else {}
            values = [measured.get(name, math.nan) for name in names]
            if not all(isinstance(value, float | int) and math.isfinite(value) for value in values):
                broken["complete without a finite value of every objective"].append(row.name)
            elif list(row.values or ()) != values:
                broken["objective values other than those measured"].append(row.name)
        elif row.state is State.FAILED and not row.ended.get("reason"):
            broken["failed without a reason"].append(row.name)
        elif row.values is not None:
            broken["objective values, though it is not complete"].append(row.name)
    return broken


def populations(rows: Sequence[Row], former: Sequence[Row] = ()) -> _Broken:
    """Compare each population's key with the keys of the trials that name it, now or in a former attempt."""
    broken = _Broken(list)
    members: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        for key in _populations_of(row):
            members[key].append(row)
    for row in former:
        for key in _populations_of(row):
            if row.name not in {member.name for member in members[key]}:
                members[key].append(row)
    for key, group in members.items():
        if key != population_key(str(row.plan.get("key", "")) for row in group):
            broken["a population with other members than it was formed of"].append(key or "no name")
        elif len({_kind(row) for row in group}) > 1:
            broken["a population of several tasks, windows or trainings"].append(key)
    return broken


def _populations_of(row: Row) -> set[str]:
    # A population that failed was divided. Trials that left it still count among its original members.
    return {str(row.plan.get("population", "")), *map(str, row.plan.get("former", []))}


def _kind(row: Row) -> tuple[str, str]:
    try:
        return row.task, keys_of(row.plan["setting"], rules_in(row.plan)).group_key if row.record else ""
    except KeyError:
        return row.task, ""


# --- MLflow ---------------------------------------------------------------------------------------


def once(evidence: Evidence, mirror: Mirror) -> _Broken:
    """Look for trials that MLflow has twice, that are not in the ledger, or whose results differ from it."""
    broken = _Broken(list)
    known = {row.name for row in evidence.rows}
    finished = evidence.finished
    for key, runs in sorted(mirror.runs.items()):
        if key not in known:
            broken["a run of a trial that the ledger does not know"].append(key or runs[0].info.run_id)
        elif len(runs) > 1:
            broken["several runs of one trial"].append(key)
    for key, run in sorted(mirror.committed.items()):
        if evidence.is_former(key, run):  # the new attempt will replace the run when it ends, see `mirrored`
            continue
        if key in finished:
            wrong = differences(run, finished[key])
            if wrong:
                broken["a run that differs from the ledger"].append(f"{key} ({shortened(', '.join(wrong), 120)})")
        elif key in known:
            broken["a run that has ended, of a trial that has not"].append(key)
    return broken


def mirrored(evidence: Evidence, mirror: Mirror) -> _Broken:
    """Look for content that MLflow lacks."""
    broken = _Broken(list)
    name = evidence.folder.name
    if len(mirror.statuses) != 1:
        broken[f"{len(mirror.statuses)} runs of the sweep itself, not one"].append(name)
    elif mirror.identity != evidence.identity:
        broken[f"another sweep of this name, from the home {mirror.home}"].append(name)
    if evidence.driver:  # the driver may not have mirrored the latest trials yet
        return broken
    finished, again = evidence.finished, f"`sweeper mirror {name}`"
    broken[f"not as it was written ({again})"] = list(mirror.damaged)
    broken[f"stored files that are not those of the home ({again})"] = _other_files(evidence, mirror)
    if mirror.aims is not None and not _is_same_aim(mirror.aims, evidence.spec):
        broken[f"the objectives that MLflow names are others than the ledger's ({again})"].append(name)
    former = {key for key, run in mirror.committed.items() if key in finished and evidence.is_former(key, run)}
    broken[f"with the run of a former attempt ({again})"] = sorted(former)
    missing = sorted(finished.keys() - mirror.committed.keys())
    broken[f"without a run ({again})"] = [key for key in missing if key not in mirror.runs]
    broken[f"with a run that was not written to its end ({again})"] = [key for key in missing if key in mirror.runs]
    held = mirror.in_table
    broken[f"not in the table of trials ({again})"] = sorted(k for k, r in finished.items() if held.get(k) != r.attempt)
    states = Counter(row.state for row in evidence.rows)
    is_open = states[State.WAITING] + states[State.RUNNING] or len(evidence.rows) < evidence.spec.planned
    wanted = "KILLED" if is_open else "FAILED" if states[State.FAILED] else "FINISHED"
    if len(mirror.statuses) == 1 and mirror.statuses[0] != wanted:
        broken[f"the sweep's run is {mirror.statuses[0]}, but should be {wanted} ({again})"].append(name)
    return broken


def _other_files(evidence: Evidence, mirror: Mirror) -> list[str]:
    """Return the files of trials in MLflow that differ from sound files of the home."""
    from sweeper.training.network_file import network_problem

    found: list[str] = []
    if "RUNNING" in mirror.statuses:  # a killed driver may not have stored the last files
        return found
    has_networks = any(path.startswith("networks/") for path in mirror.files)
    drawn = {
        key
        for front in mirror.fronts.values()
        if isinstance(front, Front) and not front.is_chosen
        for key in front.table["key"].to_pylist()
    }
    has_probes = any(path.startswith("probes/") for path in mirror.files)  # earlier versions stored none
    for key, record in evidence.finished.items():
        if record.state is not State.COMPLETE:
            continue
        location, path = evidence.folder.network(key), network_path(key)
        is_stored = path in mirror.files or (has_networks and key in drawn)
        if is_stored and _digest(location) != mirror.files.get(path) and not network_problem(location, key):
            found.append(path)
        location, path = evidence.folder.probes(key), probes_path(key)
        if has_probes and (digest := _digest(location)) and digest != mirror.files.get(path):
            problems: _Broken = _Broken(list)
            _look_at_probes(location, key, problems)
            found += [] if problems else [path]
    return found


def _digest(location: str) -> str:
    """Return the digest of a file; empty if the file is missing or cannot be read."""
    try:
        data = storage.read_bytes(location)
    except OSError:
        return ""
    return "" if data is None else hashlib.sha256(data).hexdigest()


def _is_same_aim(text: str, spec: SweepSpec) -> bool:
    try:
        objectives, corner = read_aims(text)
    except QueryError:
        return False
    names = [one.name for one in spec.objectives]
    return objectives == tuple(spec.objectives) and corner == {name: spec.reference_point[name] for name in names}


def fronts(evidence: Evidence, mirror: Mirror) -> _Broken:
    """Compare each stored front with the front computed from the ledger."""
    broken = _Broken(list)
    records = list(evidence.finished.values())
    with_outcome = {record.task for record in records}
    spec, keys = evidence.spec, set[str]()
    for task in spec.tasks:
        for computed in compute_fronts(
            records, evidence.folder.name, task, spec.objectives, spec.reference_point, spec.fronts
        ):
            key = computed.key
            keys.add(key)
            stored = mirror.fronts.get(key)
            if stored is None:
                if task in with_outcome:
                    broken["no front is stored"].append(key)
                continue
            if isinstance(stored, str):
                broken["a stored front that cannot be read"].append(f"{key} ({shortened(stored, 400)})")
                continue
            for what in _other(stored, computed, mirror.marks[key]):
                broken[what].append(key)
            if not computed.is_chosen and mirror.members.get(task, set()) != set(member_keys(computed)):
                broken["runs tagged as being on the front are others than those on it"].append(task)
    broken["a stored front that the sweep does not have"] = sorted(mirror.fronts.keys() - keys)
    return broken


def _other(stored: Front, computed: Front, mark: Mapping[str, object]) -> list[str]:
    found = [] if stored.same_content(computed) else ["a stored front with other points than the ledger's"]
    volumes = (stored.hypervolume, mark.get("hypervolume"))
    if not all(isinstance(v, float | int) and math.isclose(v, computed.hypervolume, rel_tol=1e-9) for v in volumes):
        found.append("a stored hypervolume other than the ledger's")
    if (mark.get("version"), mark.get("points")) != (stored.version, stored.table.num_rows):
        found.append("a commit mark that names another front")
    return found


# --- files ----------------------------------------------------------------------------------------


def networks(evidence: Evidence) -> _Broken:
    """Read the network of each complete trial, and look for torn files."""
    from sweeper.training.network_file import read_network

    broken = _Broken(list)
    for key, record in evidence.finished.items():
        if record.state is not State.COMPLETE:
            continue
        problem, description = read_network(evidence.folder.network(key))
        if problem.startswith("does not exist"):
            broken["without a network"].append(key)
        elif problem:
            broken["a network that cannot be used"].append(f"{key} ({problem})")
        elif description.get("key") != key:
            broken["the network of another trial"].append(key)
        elif description.get("measurement") != record.measurement or description.get("setting") != record.setting:
            broken["a network with another setting or measurement than the ledger's"].append(key)
        if evidence.spec.beside.probes:
            _look_at_probes(evidence.folder.probes(key), key, broken)
    if not evidence.driver:
        broken["a torn file that was left behind"] = [path.name for path in evidence.folder.leftovers()]
    return broken


def _look_at_probes(location: str, key: str, broken: _Broken) -> None:
    """Read a network's answers to each image under probes."""
    try:
        data = storage.read_bytes(location)
        if data is None:
            broken["without what it does under probes"].append(key)
        else:
            read_probes(data, key)
    except QueryError as error:
        broken["what it does under probes cannot be used"].append(f"{key} ({str(error).partition('. ')[0]})")
    except OSError as error:
        broken["what it does under probes cannot be used"].append(f"{key} ({error.strerror})")


def checkpoints(evidence: Evidence) -> _Broken:
    """Read the checkpoint, if there is one, of each population with an unfinished trial."""
    from sweeper.training.checkpoints import checkpoint_problem

    broken = _Broken(list)
    waiting = {str(row.plan.get("population", "")) for row in evidence.rows if not row.state.is_finished}
    for population in sorted(waiting):
        if checkpoint_problem(evidence.folder.checkpoint(population)):
            broken["a torn checkpoint: the population would start anew"].append(population)
    return broken
