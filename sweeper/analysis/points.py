"""Turns trials into points: Arrow tables with one row for each setting.

One *point* is one setting: its replicates (the same setting with other seeds) are averaged,
and their spread is kept beside the mean.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa

from sweeper import own_code
from sweeper.measurements import MEASUREMENTS, TAKEN, WALLS, Objective, is_probe, probe_order
from sweeper.trial import State, TrialRecord

_FIXED_COLUMNS = ("key", "keys", "task", "replicates", "channels_per_layer")


#: Keys in a column's metadata that hold its unit: in a measurement of a user's own function, and in one that a user's
#: code adds to those of lattices.
_OWN_UNIT, _ADDED_UNIT = b"own_unit", b"added_unit"


def axis_column(name: str, own_units: Mapping[str, str] | None = None) -> str:
    """Return the column, and the MLflow metric, that holds an axis.

    An axis named like a measurement or a fixed column is written as `setting.<name>`, so that a parameter is never
    mistaken for a measurement.

    Args:
        name: Name of the axis.
        own_units: Units of the measurements of a user's own function, by name; None for lattices.
    """
    if own_units is None:
        is_taken = name in MEASUREMENTS or name in WALLS or name in _FIXED_COLUMNS
    else:
        is_taken = name in own_units or name in TAKEN or name.endswith("_sd")
    return f"setting.{name}" if is_taken else name


def own_units_of(table: pa.Table) -> dict[str, str] | None:
    """Return the units in a table of a user's own function, by measurement; None for a table of lattices."""
    marked = [field for field in table.schema if _OWN_UNIT in (field.metadata or {})]
    return {field.name: field.metadata[_OWN_UNIT].decode() for field in marked} or None


def own_field(name: str, unit: str) -> pa.Field:
    """Return the field of a measurement of a user's own function."""
    return pa.field(name, pa.float64(), metadata={_OWN_UNIT: unit.encode()})


def added_units_of(table: pa.Table) -> dict[str, str]:
    """Return the units of the measurements that a user's code adds to a table of lattices, by name."""
    marked = [field for field in table.schema if _ADDED_UNIT in (field.metadata or {})]
    return {field.name: field.metadata[_ADDED_UNIT].decode() for field in marked}


def added_units_in(records: Iterable[TrialRecord]) -> dict[str, str]:
    """Return the units of the measurements that a user's code adds to trials of lattices, by name."""
    return {name: unit for record in records for name, unit in record.added_units.items()}


def with_added_units(table: pa.Table, units: Mapping[str, str]) -> pa.Table:
    """Mark the measurements that a user's code adds to a table of lattices with their units."""
    if not units:
        return table
    fields = [
        field.with_metadata({_ADDED_UNIT: units[field.name].encode()}) if field.name in units else field
        for field in table.schema
    ]
    return pa.table(table.columns, schema=pa.schema(fields, table.schema.metadata))


def own_units_in(records: Iterable[TrialRecord]) -> Mapping[str, str] | None:
    """Return the units of the measurements of a user's own function, by name; None for trials of lattices."""
    return next((record.own_units for record in records if record.own_units is not None), None)


def varied_columns(records: Iterable[TrialRecord]) -> tuple[str, ...]:
    """Return the columns of the axes in which complete trials differ, in the order in which trials name them."""
    complete = [record for record in records if record.state is State.COMPLETE]
    own_units = own_units_in(complete)
    axes = dict.fromkeys(axis for record in complete for axis in record.axes)
    return tuple(
        axis_column(axis, own_units) for axis in axes if len({record.axes.get(axis) for record in complete}) > 1
    )


def points_table(records: Sequence[TrialRecord], objectives: Sequence[Objective]) -> pa.Table:
    """Return one row for each setting, averaged over its complete replicates.

    Args:
        records: Trials in any order; those that are not complete are left out.
        objectives: Objectives whose spread to include.

    Returns:
        Columns `key` (the trial with the lowest seed), `keys`, `task`, `replicates`; the axes; each
        name in `MEASUREMENTS`, and the measurements that a user's code adds (mean, in its own unit, null
        unless every replicate has a finite value); `<objective>_sd` (sample standard deviation, null for one
        replicate); each name in `WALLS` (true if any replicate touched it, null if none was measured);
        `channels_per_layer`. Sorted by task, then by the number of the setting's first trial.
    """
    groups: dict[tuple[str, str], list[TrialRecord]] = {}
    for record in records:
        if record.state is State.COMPLETE:
            groups.setdefault((record.task, record.setting_key), []).append(record)
    points = [sorted(group, key=lambda r: (r.seed, r.number, r.key)) for group in groups.values()]
    points.sort(key=lambda group: (group[0].task, min(r.number for r in group), group[0].key))

    own_units = own_units_in(record for group in points for record in group)
    axes = list(dict.fromkeys(axis for group in points for axis in group[0].axes))
    columns: dict[str, pa.Array] = {
        "key": pa.array([group[0].key for group in points], pa.string()),
        "keys": pa.array([[r.key for r in group] for group in points], pa.list_(pa.string())),
        "task": pa.array([group[0].task for group in points], pa.string()),
        "replicates": pa.array([len(group) for group in points], pa.int64()),
    }
    for axis in axes:
        columns[axis_column(axis, own_units)] = axis_values([group[0].axes.get(axis) for group in points])
    if any(record.codes for group in points for record in group):
        columns["code"] = pa.array([_codes(group) for group in points], pa.string())
    if own_units is not None:
        return _with_own(columns, points, own_units, objectives)
    # An objective that this version does not measure comes from a later version, whose values are kept.
    added = added_units_in(record for group in points for record in group)
    others = [*added, *probe_names(records), *(objective.name for objective in objectives)]
    for name in dict.fromkeys([*MEASUREMENTS, *others]):
        columns[name] = pa.array([_mean(group, name) for group in points], pa.float64())
    for objective in objectives:
        spread = [_standard_deviation(group, objective.name) for group in points]
        columns[f"{objective.name}_sd"] = pa.array(spread, pa.float64())
    for wall in WALLS:
        columns[wall] = pa.array([_touched(group, wall) for group in points], pa.bool_())
    channels = [group[0].details.get("channels_per_layer") for group in points]
    columns["channels_per_layer"] = pa.array(
        [None if c is None else [int(n) for n in c] for c in channels], pa.list_(pa.int64())
    )
    return with_added_units(pa.table(columns), added)


def _with_own(
    columns: Mapping[str, pa.Array],
    points: Sequence[Sequence[TrialRecord]],
    own_units: Mapping[str, str],
    objectives: Sequence[Objective],
) -> pa.Table:
    """Return points with the measurements of a user's own function, and the spread of the objectives."""
    fields = [pa.field(name, values.type) for name, values in columns.items()]
    fields += [own_field(name, unit) for name, unit in own_units.items()]
    arrays = [
        *columns.values(),
        *(pa.array([_mean(group, name) for group in points], pa.float64()) for name in own_units),
    ]
    for objective in objectives:
        fields.append(pa.field(f"{objective.name}_sd", pa.float64()))
        arrays.append(pa.array([_standard_deviation(group, objective.name) for group in points], pa.float64()))
    return pa.table(arrays, schema=pa.schema(fields))


def _codes(group: Sequence[TrialRecord]) -> str:
    """Return the versions of the user's code under which trials were trained, joined."""
    return own_code.JOIN.join(dict.fromkeys(version for record in group for version in record.codes))


def code_versions(table: pa.Table) -> list[str]:
    """Return the version or versions of the user's code of each row; empty if the table has none."""
    return [one or "" for one in table["code"].to_pylist()] if "code" in table.column_names else []


def probe_names(records: Iterable[TrialRecord]) -> list[str]:
    """Return the names of the trials' further measurements: under probes, with lesions, and of tasks; sorted."""
    found = {name for record in records for name in record.measurement if is_probe(name)}
    return sorted(found, key=probe_order)


def axis_values(values: Sequence[str | int | float | bool | None]) -> pa.Array:
    """Return an axis as a column of booleans, whole numbers, fractions, or else words."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    if kinds == {int}:
        return pa.array(values, pa.int64())
    if kinds and kinds <= {int, float}:
        return pa.array([None if v is None else float(v) for v in values], pa.float64())
    return pa.array([None if v is None else str(v) for v in values], pa.string())


def _values(group: Sequence[TrialRecord], name: str) -> list[float] | None:
    # A mean over some replicates is not comparable with means over all, so it is null.
    values = [float(record.measurement.get(name, math.nan)) for record in group]
    return values if all(math.isfinite(value) for value in values) else None


def _mean(group: Sequence[TrialRecord], name: str) -> float | None:
    values = _values(group, name)
    return None if values is None else math.fsum(values) / len(values)


def _standard_deviation(group: Sequence[TrialRecord], name: str) -> float | None:
    values = _values(group, name)
    return None if values is None or len(values) < 2 else statistics.stdev(values)


def _touched(group: Sequence[TrialRecord], wall: str) -> bool | None:
    values = [record.measurement[wall] for record in group if wall in record.measurement]
    return any(value > 0 for value in values) if values else None


def completed(table: pa.Table) -> pa.Table:
    """Return a stored table of points or trials with a column for each measurement that this version knows.

    Columns that were not measured when the table was stored are null. Columns of a later version stay in place. A table
    of a user's own function is complete as it is.
    """
    if own_units_of(table) is not None:
        return table
    kinds = {**dict.fromkeys(MEASUREMENTS, pa.float64()), **dict.fromkeys(WALLS, pa.bool_())}
    for names in (MEASUREMENTS, WALLS):
        known = [at for at, name in enumerate(table.column_names) if name in names]
        index = known[0] if known else table.num_columns
        for name in names:
            if name in table.column_names:
                index = table.column_names.index(name) + 1
            else:
                table = table.add_column(index, name, pa.nulls(table.num_rows, kinds[name]))
                index += 1
    return table


def concatenated(tables: Sequence[pa.Table]) -> pa.Table:
    """Return tables one below the other. A column that one table lacks is null in its rows.

    If a column holds words in one table and numbers in another, the numbers become words. Whole numbers become
    fractions if the column also holds fractions.
    """
    fields = [field for table in tables for field in table.schema]
    words = {field.name for field in fields if pa.types.is_string(field.type)}
    spoken = [_with_words(table, words) for table in tables]
    return pa.concat_tables(spoken, promote_options="permissive").combine_chunks()


def _with_words(table: pa.Table, words: set[str]) -> pa.Table:
    for index, field in enumerate(table.schema):
        if field.name in words and not pa.types.is_string(field.type):
            table = table.set_column(index, field.name, table[field.name].cast(pa.string()))
    return table
