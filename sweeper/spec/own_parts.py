"""A user's own code in a sweep of lattices: costs that networks pay, and measures of trained networks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from sweeper.measurements import MEASUREMENTS, TAKEN, WALLS
from sweeper.own_code import SOURCE
from sweeper.spec.parameters import OWNER_OF
from sweeper.spec.problems import Problem, broken_rule, problem
from sweeper.spec.setting import Frozen, pressure_of

_NAME = re.compile(r"[a-z][a-z0-9_]{0,49}")

#: Unit of a measured cost, the same as that of the built-in costs.
COST_UNIT = "cost"


def _check_source(source: str) -> str:
    if not SOURCE.fullmatch(source):
        raise broken_rule(
            "a function must be named as module:function", "Write it as in my_costs:wiring, for wiring in my_costs.py."
        )
    return source


#: Name of a function: `my_costs:wiring` is the function `wiring` in my_costs.py beside the file, or in a package.
Source = Annotated[str, AfterValidator(_check_source), Field(description="`module:function`")]


class OwnMeasure(Frozen):
    """A user's own measure of every network.

    Attributes:
        unit: Unit of its values, such as `share`.
        of: The function: `my_measures:robustness` is `robustness` in my_measures.py beside this file, or in an
            installed package. It is called with a trained network and its task.
    """

    unit: Annotated[str, Field(min_length=1, max_length=60)]
    of: Source


def cost_names(document: Mapping[str, Any]) -> list[str]:
    """Return the valid names of a document's own costs; a rule elsewhere refuses the invalid ones."""
    costs = document.get("costs")
    return [name for name in costs if _is_name(name)] if isinstance(costs, Mapping) else []


def added_names(document: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of the columns that a document's own costs and measures add."""
    measures = document.get("measures")
    own = [name for name in measures if isinstance(name, str)] if isinstance(measures, Mapping) else []
    return frozenset([*(cost_column(name) for name in cost_names(document)), *own])


def cost_column(cost: str) -> str:
    """Return the name of a cost's column."""
    return f"cost_{cost}"


def name_problems(names: Iterable[str], *, of_costs: bool) -> list[Problem]:
    """Return the problems of names of costs or measures, at their places."""
    found = []
    for name in names:
        measured = cost_column(name) if of_costs else name
        taken = {*MEASUREMENTS, *WALLS, *OWNER_OF, *TAKEN}
        if not _is_name(name):
            rule, fix = f"{name!r} cannot be a name here", "Use small letters, digits and _, a letter first."
        elif measured in taken or (of_costs and pressure_of(name) in taken):
            rule, fix = f"{name!r} must not be the name of something that there is already", "Choose another name."
        elif not of_costs and (name.endswith(("_sd", "_se", "_pressure")) or name.startswith("cost_")):
            rule = f"{name!r} must not read like a spread, a pressure or a cost"
            fix = "Choose a name that does not begin with cost_, or end with _sd, _se or _pressure."
        else:
            continue
        found.append(problem((name,), rule, name, fix))
    return found


def _is_name(name: object) -> bool:
    return isinstance(name, str) and _NAME.fullmatch(name) is not None
