"""Trains a job: turns settings into measurements, and writes the networks that training leaves."""

from __future__ import annotations

import math
import platform
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweeper import model, own_code, storage
from sweeper.imports import import_problem
from sweeper.job import Job, Progress

# Imported by name, so that the model's files are loaded, and missing packages are noticed, before any training.
from sweeper.lesion import lesion_column
from sweeper.measurements import complexity_name, lesion_name, probe_name
from sweeper.model import encode, probing, thinking_entries
from sweeper.model import train as train_networks
from sweeper.model.compute import gpu_problem, use_threads
from sweeper.provenance import software
from sweeper.rules import FACT, RULES
from sweeper.sealed import sealed
from sweeper.spec import LatticeSetting
from sweeper.training.checkpoints import Checkpoints
from sweeper.training.handed_out import DISK_FULL, GoneError, kind_of, refuse_other_code, refuse_superseded, unshared
from sweeper.training.handed_out import SupersededError as SupersededError
from sweeper.training.inputs import (
    complexity_of,
    costs_of,
    growth_of,
    load_task,
    members_of,
    own_kinds,
    training_of,
    window_of,
)
from sweeper.training.network_file import (
    Described as Described,  # exported again, because other rooms import these names from here
)
from sweeper.training.network_file import describe as describe
from sweeper.training.network_file import describe_bytes as describe_bytes
from sweeper.training.own_measures import OwnMeasure, measures_of
from sweeper.trial import Ended, Outcome


def train_population(
    job: Job, report: Callable[[Progress], None], clock: Callable[[], float] = time.monotonic
) -> list[Ended]:
    """Train the networks of a job side by side, from their last checkpoint if there is one.

    Args:
        job: Job to train.
        report: Called after each epoch, when its checkpoint is on disk.
        clock: Returns seconds from any start; measures the job's time limit.

    Returns:
        How each wanted member ended, in order, or its measurement at the epoch that the job is to pause after. The
        networks of complete members are then on disk. Any failure inside the training is an outcome, and so is a
        training that takes longer than its limit.

    Raises:
        ValueError: If a member is wanted and stopped.
        SupersededError: If the population was handed out again.
        Exception: Whatever `report` or an import raises: it is not the training's fault, and must not become its
            outcome.
    """
    stopped = job.stopped or (False,) * len(job.keys)
    if both := [key for key, *is_so in zip(job.keys, job.wanted, stopped, strict=True) if all(is_so)]:
        raise ValueError(f"population {job.key} was handed out with trials both wanted and stopped: {', '.join(both)}")
    if job.device != "cpu" and (problem := gpu_problem(job.device)):
        reason = (
            f"population {job.key} was given a GPU that torch cannot use on {platform.node()}: {problem}. Install a "
            "torch and a driver that fit there, take that machine out of the cluster, or set placement.gpus to 0."
        )
        return [Ended(Outcome.FAILED, reason, is_final=True)] * len(job.wanted_keys)
    if problem := unshared(job.lease):
        return [Ended(Outcome.LOST, f"on {platform.node()} {problem}")] * len(job.wanted_keys)
    raised: list[BaseException] = []

    def guarded(progress: Progress) -> None:
        try:
            report(progress)
        except BaseException as error:
            raised.append(error)
            raise

    try:
        return _train(job, guarded, clock)
    except SupersededError:
        raise
    except GoneError as error:
        return [Ended(Outcome.LOST, f"on {platform.node()} {error}")] * len(job.wanted_keys)
    except Exception as error:
        if raised or import_problem(error):
            raise
        reason = "".join(traceback.format_exception(error))
        return [Ended(kind_of(error), reason)] * len(job.wanted_keys)


def _train(job: Job, report: Callable[[Progress], None], clock: Callable[[], float]) -> list[Ended]:
    started = clock()
    use_threads(1)  # one population per core; set each time because a reused worker keeps its last number
    checkpoints = Checkpoints(job.checkpoint) if job.checkpoint else None
    notes: list[str] = []
    # All members take part, even those with an outcome, because rounding depends on who trains beside whom.
    settings = [LatticeSetting.from_flat(setting) for setting in job.settings]
    wanted = [member for member, is_wanted in enumerate(job.wanted) if is_wanted]

    def on_epoch(epoch: model.Epoch) -> None:
        if checkpoints:
            refuse_superseded(job.lease)
            _save(epoch, checkpoints, job.checkpoint, notes)
        limit = settings[0].lattice.memory_mib
        notes.extend(f"{job.keys[m]} stopped growing at {limit} MiB: {size}" for m, size in epoch.full.items())
        report(Progress(epoch.epoch, epoch.epochs, [epoch.values[member] for member in wanted], tuple(notes)))
        notes.clear()

    def is_over() -> bool:
        return job.time_limit_s is not None and clock() - started > job.time_limit_s

    if job.code:
        folder = Path(job.own_folder)
        refuse_other_code(job.code, own_code.still_there(job.code, folder), f"this sweep's functions in {folder}")
    task, costs = load_task(settings[0].task, job.own_folder), costs_of(settings[0], job.own_folder)
    measures = measures_of(job.own_measures, job.own_folder)

    def train_from(state: dict[str, Any] | None) -> list[model.Trained]:
        return train_networks(
            task,
            window_of(settings[0], task),
            members_of(settings),
            training_of(settings[0]),
            growth=growth_of(settings[0]),
            report=on_epoch,
            state=state,
            until=job.until,
            stopped=[member for member, is_stopped in enumerate(job.stopped) if is_stopped],
            is_over=is_over,
            costs=costs,
            device=job.device,
        )

    trained = _trained_from_newest(checkpoints, train_from, job.key, notes)
    trained, failed = _measured(wanted, trained, task, settings, measures)
    rounds = settings[0].training.rounds
    last = rounds if job.until is None else min(job.until, rounds)
    if last == rounds:  # a paused training has no finished networks
        trained = _beside(job, wanted, _probed(job, wanted, trained, task, notes), task, settings[0])
    if job.networks and last == rounds:
        refuse_superseded(job.lease)
        _save_networks(job, wanted, trained, task, notes)
    if moved := sorted({", then in ".join(one.recurrences) for one in trained if len(one.recurrences) > 1}):
        notes.append(
            f"population {job.key} ran in {moved[0]}: the machine that it went on on cannot run what it began in, "
            "so that its numbers are not those of a training that was never interrupted, to the last bit"
        )
    if notes:
        report(Progress(last, rounds, [{}] * len(wanted), tuple(notes)))
    complete = Outcome.COMPLETE if last == rounds else None
    return [failed.get(member) or _ended(trained[member], complete, job.time_limit_s) for member in wanted]


def _measured(
    wanted: Sequence[int],
    trained: Sequence[model.Trained],
    task: model.Task,
    settings: Sequence[LatticeSetting],
    measures: Sequence[OwnMeasure],
) -> tuple[list[model.Trained], dict[int, Ended]]:
    """Measure the remaining network of each wanted member by a user's own functions, even if the training only pauses.

    Returns:
        The members, with these values among their measurements; and the outcomes of members that could not be measured,
        which then have no network. A `FAILED` outcome is final, because a retry would end the same.
    """
    found, failed = list(trained), dict[int, Ended]()
    for member in wanted if measures else ():
        result, network = trained[member], trained[member].network
        if network is None:
            continue
        try:
            own = {measure.name: measure(network, task, settings[member].seed) for measure in measures}
        except Exception as error:
            if import_problem(error):
                raise
            kind, reason = kind_of(error), "".join(traceback.format_exception(error))
            is_final = kind is Outcome.FAILED
            failed[member] = Ended(kind, reason, result.measurement, curve=result.curve, is_final=is_final)
            found[member] = replace(result, network=None)
            continue
        found[member] = replace(result, measurement={**result.measurement, **own})
    return found, failed


def _trained_from_newest(
    checkpoints: Checkpoints | None,
    train_from: Callable[[dict[str, Any] | None], list[model.Trained]],
    population: str,
    notes: list[str],
) -> list[model.Trained]:
    """Train from the newest usable checkpoint, and note those that cannot be used."""
    refused: list[str] = []

    def say(how: str) -> None:
        if refused:
            notes.append(f"{'; '.join(refused)}; population {population} {how}")
            refused.clear()

    for state in checkpoints.states(refused) if checkpoints else ():
        say(f"goes on from its other checkpoint, of epoch {state['epoch']}")
        try:
            return train_from(state)
        except model.CheckpointError as error:
            refused.append(str(error))
    say("starts anew")
    return train_from(None)


def _save(epoch: model.Epoch, checkpoints: Checkpoints, location: str, notes: list[str]) -> None:
    """Write a checkpoint; if that fails the training continues, because it is not the training's fault."""
    try:
        checkpoints.save(epoch.state())
    except OSError as error:
        where = storage.without_credentials(location)
        notes.append(f"no checkpoint could be written to {where}: {error.strerror}; an interruption would lose more")


def _probed(
    job: Job, wanted: Sequence[int], trained: Sequence[model.Trained], task: model.Task, notes: list[str]
) -> list[model.Trained]:
    """Show probes to the remaining network of each wanted member, and write its response to each image.

    Returns:
        The members, with the means under each probe among their measurements.

    Raises:
        OSError: If a disk is full. That is temporary, and a complete trial should have its file.
    """
    own = own_kinds(job.own_probes, job.own_folder, "probes")
    found, failed = list(trained), []
    for member in wanted if job.probes else ():
        result = trained[member]
        if result.network is None:
            continue
        table = probing.probed(result.network, task, job.probes, job.probe_images, own)
        means = {probe_name(*which): mean for which, mean in probing.means(table).items()}
        found[member] = replace(result, measurement={**result.measurement, **means})
        if not job.probe_files:
            continue
        refuse_superseded(job.lease)
        try:
            rows = sealed(probing.described(table, job.keys[member]), "zstd")
            storage.write_bytes(job.probe_files[member], rows)
        except OSError as error:
            if error.errno in DISK_FULL:
                raise
            failed.append(error)
    if failed:
        notes.append(
            f"what {len(failed)} networks do under probes could not be written to "
            f"{storage.without_credentials(job.probe_files[0])} and beside it: {failed[0].strerror}; "
            "the means are among their measurements"
        )
    return found


def _beside(
    job: Job, wanted: Sequence[int], trained: Sequence[model.Trained], task: model.Task, setting: LatticeSetting
) -> list[model.Trained]:
    """Return the members with the requested additions to their measurements: lesions, and the task's complexity."""
    found = list(trained)
    hard = complexity_of(setting.task, job.own_folder) if job.complexity else {}
    for member in wanted:
        network = trained[member].network
        if network is None:
            continue
        values = {complexity_name(what): value for what, value in hard.items()}
        for lesion in job.lesions:
            parts = tuple(lesion.split(","))
            seen = probing.without(network, task.test, parts)
            values |= {lesion_name(lesion_column(parts), what): value for what, value in seen.items()}
        found[member] = replace(trained[member], measurement={**trained[member].measurement, **values})
    return found


def _save_networks(
    job: Job, wanted: Sequence[int], trained: Sequence[model.Trained], task: model.Task, notes: list[str]
) -> None:
    """Write the remaining network of each wanted member; if that fails it is noted, and the outcomes stand.

    Raises:
        OSError: If a disk is full. That is temporary, and a complete trial should have its network.
    """
    known = {
        FACT: RULES,
        "classes": task.classes,
        "labels": list(task.labels),
        **({"names": list(task.names)} if task.names else {}),
        "data": task.fingerprint,
        "software": software(),
    }
    failed: list[OSError] = []
    for member in wanted:
        result = trained[member]
        if result.network is None:
            continue
        description = {
            "key": job.keys[member],
            "setting": dict(job.settings[member]),
            "measurement": {name: value for name, value in result.measurement.items() if math.isfinite(value)},
            "step_dist": result.step_dist,
            "recurrence": ", then ".join(result.recurrences),
            **known,
            **thinking_entries(result.thinking, task.test),
        }
        try:
            storage.write_bytes(job.networks[member], encode(result.network, description))
        except OSError as error:
            if error.errno in DISK_FULL:
                raise
            failed.append(error)
    if failed:
        notes.append(
            f"{len(failed)} networks could not be written to {storage.without_credentials(job.networks[0])} and "
            f"beside it: {failed[0].strerror}; "
            "their measurements are safe, but they cannot be exported"
        )


def _ended(trained: model.Trained, outcome: Outcome | None, time_limit_s: float | None) -> Ended:
    """Return how a wanted member ended: as `outcome`, unless something went wrong."""
    if trained.end is model.End.NOT_FINITE:
        return Ended(Outcome.NOT_FINITE, trained.reason, curve=trained.curve)
    if trained.end is model.End.INTERRUPTED:
        reason = f"training took longer than its limit of {time_limit_s:g} s and was {trained.reason}"
        return Ended(Outcome.TIMED_OUT, reason, trained.measurement, curve=trained.curve)
    details = {"channels_per_layer": trained.channels_per_layer}
    return Ended(outcome, "", trained.measurement, details, trained.curve)
