"""Questions to stored sweeps, answered from MLflow alone. Nothing is ever written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from sweeper.record import read_front
from sweeper.table import Front, concatenated
from sweeper.table import where as rows_where


def pareto(tracking_uri: str, sweep: str, *, task: str | None = None, where: Sequence[str] = ()) -> list[Front]:
    """Return the stored fronts of a sweep, reduced to the points that meet all conditions.

    Args:
        tracking_uri: Where MLflow is; the sweep may have run on another machine.
        sweep: Name of the sweep.
        task: Label of one task cell; None for all, sorted by label.
        where: Conditions such as `accuracy >= 0.95`; see `sweeper.table.where`.

    Returns:
        One front for each task. The version and the hypervolume stay those of the whole front.

    Raises:
        UnknownSweepError: If there is no such sweep, or no front of that task.
        QueryError: If a condition cannot be read or names no column.
        TrackingError: If MLflow cannot be reached.
    """
    fronts = read_front(tracking_uri, sweep, task)
    # An empty front knows no axis columns, so a condition on one would be refused for no reason.
    return [replace(front, table=rows_where(front.table, where)) if front.table.num_rows else front for front in fronts]


def as_table(fronts: Sequence[Front]) -> pa.Table:
    """Return the points of all fronts in one table, told apart by the column `task`.

    Columns that one front lacks are null there. Where one front holds words and another numbers
    in one column, the numbers become words; whole numbers and fractions become fractions.

    Args:
        fronts: Fronts of one sweep, or of sweeps that are compared.
    """
    return concatenated([front.table for front in fronts]) if fronts else pa.table({})
