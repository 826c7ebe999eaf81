"""Writes a first spec, as text with comments, from a few answers: it runs, and users are meant to change it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweeper.measurements import MEASUREMENTS, Goal
from sweeper.spec.setting import DIGITS

#: Pressures of a first sweep; see `docs/how-to/write-a-sweep.md` for their effect on ten digits.
BREADTH_PRESSURES, TIME_PRESSURES = (2e-3, 1e-2, 4e-2), (0.05, 0.2)

#: Objective that counts a resource -> the window's limit of that resource.
_BOUNDS = {"breadth": "channels", "depth": "layers", "time": "steps"}

#: Words that YAML reads as yes, no or nothing.
_NO_TEXTS = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null"))


@dataclass(frozen=True)
class Aim:
    """An objective of a first spec.

    Attributes:
        worst: A value worse than every useful network's, for the reference point; None if the window determines it.
    """

    name: str
    goal: Goal
    worst: float | None = None
    unit: str = ""


@dataclass(frozen=True)
class Draft:
    """The content of a first spec.

    Attributes:
        data: Location of the images.
        classes: Numbers of classes, each a task of its own; empty for all classes.
        window: `channels`, `layers` and `steps`.
        train: A user's own training function, in place of images and a window.
        arguments: Arguments of that function with their defaults; None for no default.
        search: Number of settings that a sampler tries in each cell; 0 for a grid.
    """

    name: str
    aims: Sequence[Aim]
    data: str = DIGITS
    classes: Sequence[int] = ()
    window: Mapping[str, int] = field(default_factory=dict)
    train: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    search: int = 0
    replicates: int = 1
    updates: int = 1200

    def text(self, schema: str = "") -> str:
        """Return the spec as YAML.

        Args:
            schema: Location where editors find the schema of specs.
        """
        head = [f"# yaml-language-server: $schema={schema}"] if schema else []
        seeds = [_line(f"replicates: {self.replicates}", "seeds of each setting, which is one point of the front")]
        parts = [
            [f"name: {_word(self.name)}"],
            *(self._function() if self.train else self._lattice()),
            self._search(),
            [] if self.train else self._budget(),
            seeds,
            self._aims(),
        ]
        return "\n".join([*head, "\n\n".join("\n".join(part) for part in parts if part)]) + "\n"

    def _lattice(self) -> list[list[str]]:
        window = ", ".join(f"{name}: {size}" for name, size in self.window.items())
        place = "or a Parquet file, a folder of images, …: docs/how-to/own-data.md"
        each = "each number of classes is a task with a front of its own"
        classes = [_line(f"  classes: {{values: {_list(self.classes)}}}", each)] if self.classes else []
        return [
            ["task:", _line(f"  data: {_word(self.data)}", place)],
            [_line(f"lattice: {{{window}}}", "the window that every network begins in")],
            [
                "parameters:",
                *classes,
                "  # Prices in nats of the training loss: of a channel, times its rank in its layer, and of a step.",
                f"  breadth_pressure: {self._varied(BREADTH_PRESSURES)}",
                f"  time_pressure: {self._varied(TIME_PRESSURES)}",
            ],
        ]

    def _varied(self, values: Sequence[float]) -> str:
        return _range("log_uniform_values", values[0], values[-1]) if self.search else f"{{values: {_list(values)}}}"

    def _function(self) -> list[list[str]]:
        module, _, function = self.train.partition(":")
        units = ", ".join(f"{_word(aim.name)}: {_word(aim.unit)}" for aim in self.aims)
        where = f"the function {function} in {module}.py beside this file, or in a package"
        return [
            [_line(f"train: {self.train}", where)],
            [
                "# Its arguments: {value: 1} fixes one, {values: [1, 2]} makes an axis, {min: 1, max: 9} is searched.",
                "parameters:" if self.arguments else "parameters: {}",
                *(self._argument(name, default) for name, default in self.arguments.items()),
            ],
            [_line(f"measures: {{{units}}}", "what it returns, with units")],
        ]

    def _argument(self, name: str, default: object) -> str:
        if default is None:
            return _line(f"  {name}: {{value: 1}}", "without a default that is a number or a word: give a value")
        if self.search and isinstance(default, int) and not isinstance(default, bool) and default > 0:
            return f"  {name}: {_range('int_uniform', max(1, default // 2), default * 2)}"
        if self.search and isinstance(default, float) and default > 0:
            return f"  {name}: {_range('log_uniform_values', default / 3, default * 3)}"
        return f"  {name}: {{value: {_quoted(default)}}}"

    def _search(self) -> list[str]:
        each = "settings that are tried in each task, each for every seed"
        return ["search:", _line(f"  trials: {self.search}", each)] if self.search else []

    def _budget(self) -> list[str]:
        return ["training:", _line(f"  updates: {self.updates}", "steps of the optimizer, the same for all tasks")]

    def _aims(self) -> list[str]:
        point = ", ".join(f"{_word(aim.name)}: {_number(self._worst(aim))}" for aim in self.aims)
        return [
            "objectives:",
            *(f"  - {{name: {_word(aim.name)}, goal: {aim.goal}}}" for aim in self.aims),
            "",
            "# Bounds the hypervolume: values that no useful result reaches.",
            f"reference_point: {{{point}}}",
        ]

    def _worst(self, aim: Aim) -> float:
        if aim.worst is not None:
            return aim.worst
        return self.window[_BOUNDS[aim.name]] + 1 if aim.name in _BOUNDS else 0


def needs_worst(name: str, goal: Goal, *, is_own: bool) -> bool:
    """Return whether the user must give an objective's reference value, because the window does not determine it."""
    if is_own:
        return True
    is_share = name in MEASUREMENTS and MEASUREMENTS[name].unit == "share"
    return name not in _BOUNDS and not (is_share and goal is Goal.MAXIMIZE)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else f"{value:.3g}"


def _list(values: Sequence[float]) -> str:
    return f"[{', '.join(map(_number, values))}]"


def _range(distribution: str, low: float, high: float) -> str:
    return f"{{distribution: {distribution}, min: {_number(low)}, max: {_number(high)}}}"


def _word(text: str) -> str:
    """Return a text so that YAML reads it as a text."""
    return text if re.fullmatch(r"[A-Za-z_][\w./-]*", text) and text.lower() not in _NO_TEXTS else _quoted(text)


def _quoted(value: object) -> str:
    """Return a value so that YAML reads it; unlike JSON, YAML escapes a character beyond 16 bits as a single one."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(letter if letter.isprintable() else f"\\U{ord(letter):08x}" for letter in text)


def _line(text: str, comment: str) -> str:
    return f"{text:<46}  # {comment}"
