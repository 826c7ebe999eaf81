"""A trained network looks at degraded test images: how well it answers, after how many steps, and how sure it is.

Nothing here decides anything, and nothing of it changes what is trained: probes are part of what is measured.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from sweeper.model.counting import Evaluation, evaluate
from sweeper.model.degradations import Degradation
from sweeper.model.lattice import Lattice
from sweeper.model.tasks import Images, Task

#: What the test images are called as they are, before anything is done to them.
WHOLE = "whole"

#: The stream that degradations of probes are drawn from: the same places, noise and so on for all levels and networks.
_STREAM = 3

#: Written into every file; raise it when an older sweeper could misread a newer one.
FORMAT = 1

SCHEMA = pa.schema([
    ("probe", pa.string()),
    ("level", pa.float64()),
    ("image", pa.int32()),
    ("label", pa.int32()),
    ("answer", pa.int32()),
    ("right", pa.bool_()),
    ("steps", pa.int32()),
    ("expected_steps", pa.float32()),
    ("confidence", pa.float32()),
])


def probed(network: Lattice, task: Task, probes: Sequence[tuple[str, float]]) -> pa.Table:
    """Show a network the test images as they are and under each probe.

    Args:
        network: A population of one, as training leaves it.
        task: Whose test images are shown; what the task itself does to them comes first.
        probes: Kinds of `model.degradations.KINDS` and levels, in the order of the table.

    Returns:
        A row for each probe and image, the images as they are first, as `whole` at level 0: `image` is its number in
        the test set, `label` and `answer` are labels of the data, `steps` those until it halts by its own rule,
        `expected_steps` those of its step distribution, `confidence` the probability of its answer.
    """
    tables = []
    for kind, level in ((WHOLE, 0.0), *probes):
        pixels = task.test.pixels
        if kind != WHOLE:
            drawn = Degradation(kind, level)(pixels.numpy(), np.random.default_rng(_STREAM))
            pixels = torch.from_numpy(drawn)
        like = network.readout_bias
        seen = evaluate(network, Images(pixels, task.test.labels).to(like.device, like.dtype))
        tables.append(_rows(kind, level, seen, task))
    return pa.concat_tables(tables)


def _rows(kind: str, level: float, seen: Evaluation, task: Task) -> pa.Table:
    count, names = len(task.test), np.asarray(task.labels or range(task.classes))
    columns = {
        "probe": [kind] * count,
        "level": [level] * count,
        "image": np.arange(count),
        "label": names[task.test.labels.numpy()],
        "answer": names[seen.choice[:, 0].cpu().numpy()],
        "right": seen.is_right[:, 0].cpu().numpy(),
        "steps": seen.step[:, 0].cpu().numpy(),
        "expected_steps": seen.expected_steps[:, 0].double().cpu().numpy(),
        "confidence": seen.confidence[:, 0].double().cpu().numpy(),
    }
    return pa.table({field.name: pa.array(columns[field.name]).cast(field.type) for field in SCHEMA}, SCHEMA)


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


def to_parquet(table: pa.Table, key: str) -> bytes:
    """Return the rows of a trial as the content of one file; repeated words and levels take next to nothing there."""
    facts = {"sweeper": json.dumps({"format": FORMAT, "key": key})}
    sink = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(facts), sink, compression="zstd")
    return sink.getvalue()
