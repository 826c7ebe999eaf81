"""Records what a trained network does with each image: its answer, its number of steps, and its confidence.

The images are the test images, intact and degraded, or any others. Probes only measure: they decide nothing and change
no training.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from sweeper.model.counting import readout_at
from sweeper.model.degradations import Degradation, Kind
from sweeper.model.images import Images, as_floats, as_shown
from sweeper.model.lattice import Lattice, LatticeAnswer
from sweeper.model.lesions import lesioned
from sweeper.model.tasks import Task
from sweeper.model.time_selection import halting_step

#: Name of the probe that shows the test images as they are.
WHOLE = "whole"

#: Random stream of the probes' degradations, so that places, noise and so on are the same for all levels and networks.
_STREAM = 3

#: Random stream that chooses the images shown under probes, if not all are shown.
_CHOOSING = 5

#: Format written into every file; raise it if older versions could misread newer files.
FORMAT = 1

#: Columns that describe what a network does with an image.
LOOK = pa.schema([
    ("answer", pa.int32()),
    ("steps", pa.int32()),
    ("expected_steps", pa.float32()),
    ("confidence", pa.float32()),
    ("first_confidence", pa.float32()),
    ("last_confidence", pa.float32()),
    ("uncertainty", pa.float32()),
])

#: Columns of a trial's probes; files from before 0.2 lack those after `confidence`.
SCHEMA = pa.schema([
    ("probe", pa.string()),
    ("level", pa.float64()),
    ("image", pa.int32()),
    ("label", pa.int32()),
    ("answer", pa.int32()),
    ("right", pa.bool_()),
    *(LOOK.field(name) for name in LOOK.names[1:]),
    ("brightness", pa.float32()),
    ("edges", pa.float32()),
])

#: Difference of neighbouring pixels, 0–1, above which there is an edge between them.
_EDGE = 0.1

#: Number of pictures that are processed at once; bounds the memory, not the result.
_PICTURES_AT_ONCE = 1000


@torch.no_grad()
def look(network: Lattice, pixels: Tensor, batch_size: int = 500) -> dict[str, NDArray[np.generic]]:
    """Return what a network does with each image.

    Args:
        network: A population of one.
        pixels: Shape (N, C, H, W); bytes, or floats as networks see them.
        batch_size: Images at once; bounds the memory, not the result.

    Returns:
        Columns of N values: `answer`, a class from 0; `steps` until it halts by its own rule, and `confidence`, the
        probability of its answer then; `expected_steps` of its step distribution; `first_confidence` and
        `last_confidence`, the probability of the most likely class after the first and after the last step;
        `uncertainty`, the entropy of the readout as a share of its maximum, summed over all steps, in steps (an area
        under a curve over steps, as in Goetschalckx et al. 2023, which uses another uncertainty).
    """
    like = network.readout_bias
    parts = [
        looked(network, network(as_shown(pixels[start : start + batch_size]).to(like)))
        for start in range(0, len(pixels), batch_size)
    ]
    return {name: torch.cat([part[name] for part in parts]).cpu().numpy() for name in LOOK.names}


def looked(network: Lattice, answer: LatticeAnswer) -> dict[str, Tensor]:
    """Return the columns of `look` for a network's answer to a batch."""
    step_BP = halting_step(answer.step_dist_TBP)
    confidence_BP, choice_BP = readout_at(answer.logits_TBPK, step_BP).softmax(-1).max(-1)
    said_TBK, entropy_TB = _said(network, answer)
    surest_TB = said_TBK.amax(-1)
    return {
        "answer": choice_BP[:, 0],
        "steps": step_BP[:, 0],
        "expected_steps": answer.expected_steps_BP[:, 0],
        "confidence": confidence_BP[:, 0],
        "first_confidence": surest_TB[0],
        "last_confidence": surest_TB[-1],
        "uncertainty": entropy_TB.sum(0),
    }


def looked_by_step(network: Lattice, answer: LatticeAnswer) -> dict[str, Tensor]:
    """Return a network's answer to each image of a batch after each step, as if nothing halted it.

    Returns:
        By name, shape (B, T): `step_probability`, that of answering after exactly this step; `step_answer`, the most
        likely class, and `step_confidence`, its probability; `step_uncertainty`, the entropy of the readout as a share
        of its maximum. Also `probability`, that of each class, shape (B, T, K).
    """
    said_TBK, entropy_TB = _said(network, answer)
    surest_TB, choice_TB = said_TBK.max(-1)
    return {
        "step_probability": answer.step_dist_TBP[: len(said_TBK), :, 0].T,
        "step_answer": choice_TB.T,
        "step_confidence": surest_TB.T,
        "step_uncertainty": entropy_TB.T,
        "probability": said_TBK.transpose(0, 1),
    }


def _said(network: Lattice, answer: LatticeAnswer) -> tuple[Tensor, Tensor]:
    """Return class probabilities after each step, (T, B, K), and their entropy as a share of its maximum, (T, B)."""
    log_TBK = answer.logits_TBPK[: int(network.last_step[0]), :, 0].double().log_softmax(-1)
    said_TBK = log_TBK.exp()
    return said_TBK, -(said_TBK * log_TBK).sum(-1) / math.log(said_TBK.shape[-1])


def probed(
    network: Lattice,
    task: Task,
    probes: Sequence[tuple[str, float]],
    most_images: int | None = None,
    own: Mapping[str, Kind] | None = None,
) -> pa.Table:
    """Show a network the test images as they are and under each probe.

    Args:
        network: A population of one, as training leaves it.
        task: Task of the test images. The task's own degradations are applied before the probes.
        probes: Kinds of `model.degradations.KINDS` and levels, in the order of the table.
        most_images: Number of images shown under each probe, always the same ones; None for all. Intact images are all
            shown.
        own: A user's own kinds, by name.

    Returns:
        A row for each probe and image, first the intact images, as `whole` at level 0: `image` is the index in the test
        set, `label` and `answer` are labels of the data, and the other columns are those of `look`. Rows of intact
        images also have `brightness`, the mean pixel, and `edges`, the share of neighbouring pixels with an edge
        between them.
    """
    every = np.arange(len(task.test))
    few = np.sort(np.random.default_rng(_CHOOSING).permutation(every)[: most_images or len(every)])
    tables = [_rows(WHOLE, 0.0, look(network, task.test.pixels), task, every)]
    for kind, level in probes:
        pixels = as_floats(task.test.pixels.numpy()[few])
        drawn = Degradation(kind, level, (own or {}).get(kind))(pixels, np.random.default_rng(_STREAM))
        tables.append(_rows(kind, level, look(network, torch.from_numpy(drawn)), task, few))
    return pa.concat_tables(tables)


def _rows(
    kind: str, level: float, seen: Mapping[str, NDArray[np.generic]], task: Task, images: NDArray[np.int64]
) -> pa.Table:
    count, names = len(images), np.asarray(task.labels or range(task.classes))
    label_N = task.test.labels.numpy()[images]
    columns = {
        **seen,
        "probe": [kind] * count,
        "level": [level] * count,
        "image": images,
        "label": names[label_N],
        "answer": names[seen["answer"].astype(np.int64)],
        "right": seen["answer"] == label_N,
        **(
            pictures(task.test.pixels.numpy())
            if kind == WHOLE
            else dict.fromkeys(("brightness", "edges"), [None] * count)
        ),
    }
    return pa.table({field.name: pa.array(columns[field.name]).cast(field.type) for field in SCHEMA}, SCHEMA)


def pictures(pixels_NCHW: NDArray[np.float32] | NDArray[np.uint8]) -> dict[str, NDArray[np.float64]]:
    """Return properties of N images that need no network: `brightness` and `edges`, each a share."""
    firsts = range(0, len(pixels_NCHW), _PICTURES_AT_ONCE) or range(1)
    parts = [_pictures(as_floats(pixels_NCHW[first : first + _PICTURES_AT_ONCE])) for first in firsts]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _pictures(pixels_NCHW: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
    grey_NHW = pixels_NCHW.mean(1, dtype=np.float64)
    steps = [np.abs(np.diff(grey_NHW, axis=axis)).reshape(len(grey_NHW), -1) for axis in (1, 2)]
    apart_NX = np.concatenate(steps, 1)
    edges_N = (apart_NX > _EDGE).mean(1) if apart_NX.shape[1] else np.zeros(len(grey_NHW))
    return {"brightness": grey_NHW.mean((1, 2)), "edges": edges_N}


def means(table: pa.Table) -> dict[tuple[str, float, str], float]:
    """Return the mean `accuracy`, `time` (steps) and `confidence` under each probe, by kind, level and name."""
    columns = {"accuracy": "right", "time": "steps", "confidence": "confidence"}
    grouped = table.group_by(["probe", "level"], use_threads=False)
    rows = grouped.aggregate([(column, "mean") for column in columns.values()]).to_pylist()
    return {
        (row["probe"], row["level"], name): float(row[f"{column}_mean"])
        for row in rows
        for name, column in columns.items()
    }


def without(network: Lattice, images: Images, parts: Sequence[str]) -> dict[str, float]:
    """Return the mean `accuracy`, `time` (steps) and `confidence` of a network without some parts.

    Args:
        network: A population of one.
        images: Images to show, without further degradation.
        parts: As for `model.lesions.lesioned`.
    """
    seen = look(lesioned(network, parts), images.pixels)
    is_right_N = seen["answer"] == images.labels.numpy()
    values = {"accuracy": is_right_N, "time": seen["steps"], "confidence": seen["confidence"]}
    return {name: float(np.mean(value, dtype=np.float64)) for name, value in values.items()}


def described(table: pa.Table, key: str) -> pa.Table:
    """Return the rows of a trial with the metadata that are stored with them: format and trial key."""
    return table.replace_schema_metadata({"sweeper": json.dumps({"format": FORMAT, "key": key})})
