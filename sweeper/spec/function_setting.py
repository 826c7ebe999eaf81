"""One full setting of a user's own function: everything that determines what a trial does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Self

from pydantic import Field, ValidationError

from sweeper.spec.problems import problems_of, spec_error
from sweeper.spec.setting import FUNCTION, TASK_AXES, Scalar, Setting

#: Prefix of a function's arguments in flat settings.
ARGUMENT = "argument."

#: An upper bound of epochs, above every rung: only a running function knows how many epochs it has.
_MANY_ROUNDS = 2**31 - 1


class FunctionSetting(Setting):
    """A user's own function, and the arguments to call it with.

    Attributes:
        train: Name of the function, such as `exits:train`.
        version: Part of the key: another version makes other trials.
        arguments: Every argument that a spec may give, including those at their default.
        task_axes: Names of the arguments whose values make tasks, each with its own front. No part of the key.
    """

    train: str
    version: str = ""
    arguments: Mapping[str, Scalar] = Field(default_factory=dict)
    task_axes: tuple[str, ...] = ()

    @property
    def task_label(self) -> str:
        """The values of the arguments that make tasks, or the function's name if none do."""
        if not self.task_axes:
            return self.train.partition(":")[2]
        values = "-".join(str(self.arguments[name]) for name in self.task_axes)
        return re.sub(r"[^A-Za-z0-9._-]", "_", values)

    @property
    def rounds(self) -> int:
        """More rounds than any function has: only a running function knows its number of epochs."""
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
