"""Compares two specs, and tells whether the second only extends the first."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from sweeper.spec.sweep_spec import SweepSpec

#: Integers of a spec that may be raised: a sweep with the higher number contains the planned one.
_MAY_RISE = ("replicates", "search.trials")


def differences(planned: SweepSpec, given: SweepSpec) -> list[str]:
    """Return all differences, sorted, each as `dotted.key: planned -> given`."""
    return [_line(key, *values) for key, values in _changes(planned, given).items()]


def placement_changes(planned: SweepSpec, given: SweepSpec) -> list[str]:
    """Return the differences in placement, which may change at any time, in the format of `differences`."""
    old, new = (dict(_leaves(spec.placement.model_dump(mode="json"), "placement")) for spec in (planned, given))
    return [_line(key, old[key], new[key]) for key in sorted(old) if old[key] != new[key]]


def refused_differences(planned: SweepSpec, given: SweepSpec) -> list[str]:
    """Return the differences that do not extend the planned sweep: those that remove or change anything planned.

    More values of an axis, more choices, a wider range, more replicates, more trials of a search and more fronts extend
    a sweep.
    """
    changes = _changes(planned, given)
    return [_line(key, old, new) for key, (old, new) in changes.items() if not _is_growth(key, old, new)]


def _changes(planned: SweepSpec, given: SweepSpec) -> dict[str, tuple[object, object]]:
    old, new = (dict(_leaves(spec.identity())) for spec in (planned, given))
    return {
        key: (old.get(key), new.get(key)) for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)
    }


def _is_growth(key: str, old: object, new: object) -> bool:
    if key == "fronts" and isinstance(old, list) and isinstance(new, list):
        return all(names in new for names in old)
    if isinstance(old, list) and isinstance(new, list) and key.startswith("parameters."):
        return key.endswith(".values") and all(value in new for value in old)
    if isinstance(old, int | float) and isinstance(new, int | float):
        is_lower_end = key.startswith("parameters.") and key.endswith(".min")
        is_upper_end = key.startswith("parameters.") and key.endswith(".max")
        return (is_lower_end and new < old) or ((is_upper_end or key in _MAY_RISE) and new > old)
    return False


def _leaves(value: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for key, below in value.items():
            yield from _leaves(below, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value


def _line(key: str, old: object, new: object) -> str:
    return f"{key}: {_written(old)} -> {_written(new)}"


def _written(value: object) -> str:
    return "absent" if value is None else json.dumps(value)
