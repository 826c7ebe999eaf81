"""One full choice of everything that decides what a user's own function does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Self

from pydantic import Field, ValidationError

from sweeper.spec.problems import problems_of, spec_error
from sweeper.spec.setting import FUNCTION, TASK_AXES, Scalar, Setting

#: What the names of a function's arguments begin with where a setting is flat.
ARGUMENT = "argument."

#: Rungs are never beyond this: a function says itself how many epochs it has, and only once it is called.
_MANY_ROUNDS = 2**31 - 1


class FunctionSetting(Setting):
    """A user's own function, with what it is called with.

    Attributes:
        train: Where it is, such as `exits:train`.
        version: Part of the key: another one makes other trials.
        arguments: Every argument that a spec may give, those with their default included.
        task_axes: Names of the arguments whose values have a front of their own. No part of the key.
    """

    train: str
    version: str = ""
    arguments: Mapping[str, Scalar] = Field(default_factory=dict)
    task_axes: tuple[str, ...] = ()

    @property
    def task_label(self) -> str:
        """Its values of the arguments that make tasks; the function's name where none does."""
        if not self.task_axes:
            return self.train.partition(":")[2]
        values = "-".join(str(self.arguments[name]) for name in self.task_axes)
        return re.sub(r"[^A-Za-z0-9._-]", "_", values)

    @property
    def rounds(self) -> int:
        """More than any function has: how many it has, it says itself, and only once it is called."""
        return _MANY_ROUNDS

    def flat(self) -> dict[str, Scalar]:
        """Return the setting as dotted names and plain values."""
        flat: dict[str, Scalar] = {FUNCTION: self.train}
        if self.version:
            flat["version"] = self.version
        if self.task_axes:
            flat[TASK_AXES] = ",".join(self.task_axes)
        return {**flat, **{f"{ARGUMENT}{name}": value for name, value in self.arguments.items()}, "seed": self.seed}

    @classmethod
    def from_flat(cls, flat: Mapping[str, Scalar]) -> Self:
        """Return the setting that `flat` was made from.

        Raises:
            SpecError: If a name is unknown or a value breaks a rule.
        """
        own = {name: value for name, value in flat.items() if not name.startswith(ARGUMENT) and name != TASK_AXES}
        arguments = {name.removeprefix(ARGUMENT): v for name, v in flat.items() if name.startswith(ARGUMENT)}
        axes = tuple(name for name in str(flat.get(TASK_AXES, "")).split(",") if name)
        try:
            return cls.model_validate({**own, "arguments": arguments, "task_axes": axes})
        except ValidationError as error:
            raise spec_error(problems_of(error, cls), "the stored setting", None) from error
