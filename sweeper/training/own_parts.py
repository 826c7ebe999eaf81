"""Finds, tries and hashes a user's own code for lattices, in a separate process; see `sweeper.isolated`.

So only such processes and workers ever run a user's code.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sweeper import model
from sweeper.errors import SpecError
from sweeper.imports import import_problem
from sweeper.isolated import answer, serve
from sweeper.model.compute import use_threads
from sweeper.model.degradations import try_own
from sweeper.model.images import as_floats
from sweeper.model.learning import learn
from sweeper.model.own_costs import price, try_cost
from sweeper.spec import LatticeSetting
from sweeper.training.forecast import check
from sweeper.training.inputs import costs_of, load_task, own_kinds, training_of, window_of
from sweeper.training.own_measures import measures_of, try_measure
from sweeper.training.own_source import SourceError, function_of, signature_of

#: Number of images that a degradation is tried on.
_TRIED_ON = 50

#: Number of training steps that are timed with a user's costs, and without.
_TIMED = 5


def parts() -> None:
    """Read settings and the sources of a user's functions, try the functions, and answer with facts about them.

    Reads `folder`, `sources` (functions by their places in the spec), `measures` (functions of measures by name),
    `probes` (functions of degradations by name), `levels` (pairs of a probe and a level), `makes_images` (whether a
    function makes a task's images) and `settings` (flat). Answers `files`, the hashes of the functions' files; `tasks`,
    the facts about tasks whose images functions make; `slower`, the factor by which the costs lengthen a training step;
    or a `problem`.
    """
    given = json.load(sys.stdin)
    use_threads(1)
    found: dict[str, Any] = {}
    with redirect_stdout(sys.stderr):  # output of a user's code is no answer
        try:
            found["files"] = _files(given["sources"], given["folder"])
            settings = [LatticeSetting.from_flat(flat) for flat in given["settings"]]
            _try_degradations(settings, given["probes"], given["levels"], given["folder"])
            found["tasks"] = {}
            if given["makes_images"]:
                found["tasks"] = {label: asdict(one) for label, one in check(settings, given["folder"]).items()}
            for setting in {setting.group_key: setting for setting in settings}.values():
                _try(setting, given["measures"], given["folder"])
            found["slower"] = _slower(settings[0], given["folder"])
        except (SourceError, SpecError, model.ModelError) as error:
            found["problem"] = str(error)
    answer(found)


def _files(sources: Mapping[str, str], folder: str) -> dict[str, str]:
    """Return the hashes of the files of all functions, by path within their folders.

    Raises:
        SourceError: If a function cannot be imported.
    """
    files: dict[str, str] = {}
    for place, source in sources.items():
        try:
            files |= signature_of(function_of(source, Path(folder), place), Path(folder)).files
        except SourceError:
            raise
        except (Exception, SystemExit) as error:  # the module may raise anything
            said = import_problem(error) if isinstance(error, Exception) else ""
            first, *_ = str(error).strip().splitlines() or [""]
            said = said or f"{type(error).__name__}: {first}"
            raise SourceError(f"{place} names {source!r}, which cannot be imported: {said}") from error
    return files


def _try_degradations(
    settings: Sequence[LatticeSetting], probes: Mapping[str, str], levels: Sequence[tuple[str, float]], folder: str
) -> None:
    """Try a user's own degradations of tasks and probes at each of their levels."""
    kinds = own_kinds(probes, folder, "probes")
    for task in {setting.task: None for setting in settings}:
        few = load_task(task).train
        pixels_NCHW = as_floats(few.pixels[:_TRIED_ON].numpy())
        asked = [(name, kinds[name], level) for name, level in levels if name in kinds]
        if (own := task.own_degradation) is not None:
            name = own.rpartition(":")[2]
            asked.append((name, own_kinds({name: own}, folder, "task.degradation")[name], task.level))
        for name, kind, level in asked:
            try_own(name, kind, pixels_NCHW, level)


def _try(setting: LatticeSetting, measures: Mapping[str, str], folder: str) -> None:
    task = load_task(setting.task, folder)
    window = window_of(setting, task)
    for cost in costs_of(setting, folder):
        try_cost(cost, window, task.train)
    for measure in measures_of(measures, folder):
        try_measure(measure, window, task)


def _slower(setting: LatticeSetting, folder: str) -> float:
    """Return the factor by which a user's costs lengthen a training step."""
    costs = costs_of(setting, folder)
    if not costs:
        return 1.0
    task, training = load_task(setting.task), training_of(setting)
    lattice = model.Lattice(window_of(setting, task), [0, 1])
    few = task.train.some(slice(min(training.batch_size, len(task.train))))
    pixels_BPCHW = few.shown(slice(None))[:, None].expand(-1, 2, -1, -1, -1).contiguous()
    labels_BP, time_P = few.labels[:, None].expand(-1, 2), lattice.readout_bias.new_full((2,), 0.1)
    pressure_CP = time_P.expand(len(costs), 2)

    def seconds(own: Any) -> float:
        took: list[float] = []
        for _ in range(_TIMED):
            begun = time.process_time()
            learn(lattice, pixels_BPCHW, labels_BP, training.step_loss, time_P, own)
            took.append(time.process_time() - begun)
        return min(took)

    without = seconds(None)
    return max(1.0, seconds(lambda *given: price(costs, pressure_CP, *given)) / max(without, 1e-9))


if __name__ == "__main__":
    serve({"parts": parts})
