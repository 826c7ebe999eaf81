"""One full setting of task, lattice, training, pressures and seed, and the keys that name it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
)

from sweeper.measurements import DECIDES_NOTHING, DECIDING, MEASUREMENTS, deciding_twin
from sweeper.own_code import SOURCE
from sweeper.rules import RULES
from sweeper.spec.choices import (
    FORMER_TIME_SELECTIONS,
    BottomUp,
    Connections,
    DegradationKind,
    Solver,
    Standardize,
    TimeSelection,
    Until,
    WindowKind,
    called,
    most_of,
)
from sweeper.spec.images import images_at, name_of, read_background, read_sides
from sweeper.spec.problems import broken_rule, nearest, problems_of, spec_error

Scalar = str | int | float | bool

#: Part of every key: a trial that is trained or measured by other rules is another trial.
SCHEMA = RULES

#: Updates of a round, for trainings given by their updates; a checkpoint follows each round.
ROUND_UPDATES = 100

LARGEST_SEED = 2**31 - 1

#: The image data that comes with scikit-learn and needs no file, and its number of classes.
DIGITS = "digits"
_DIGITS_CLASSES = 10


class Frozen(BaseModel):
    """Base of every part of a spec: immutable, no unknown keys, no guessing of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


#: Key in the context of a spec. Its value is True if the spec declares and checks its own measures, and otherwise the
#: set of columns that its own costs and measures add to those of lattices.
OWN_MEASURES = "own_measures"


def is_stored(info: ValidationInfo) -> bool:
    """Whether a stored spec is being read, which may name measurements of other versions."""
    return bool((info.context or {}).get("is_stored"))


def _without_minus_zero(number: float) -> float:
    # -0.0 equals 0.0 but is written differently, and keys are made of what is written.
    return number + 0.0


def _check_kernel(kernel: int) -> int:
    if kernel % 2 == 0:
        raise broken_rule("kernel must be odd", f"Use {kernel - 1} or {kernel + 1}.")
    return kernel


def measured(name: str, rule: str, info: ValidationInfo) -> str:
    """Return the name of a measurement that may decide something, or refuse it.

    Args:
        name: The name in the file.
        rule: Beginning of the error message.
        info: Context of the spec; a stored spec may name measurements of other versions.
    """
    own = (info.context or {}).get(OWN_MEASURES, ())
    if is_stored(info) or own is True or name in own:
        return name
    if name not in MEASUREMENTS:
        raise broken_rule(rule, nearest(name, (*DECIDING, *own)))
    if not MEASUREMENTS[name].decides:
        raise broken_rule(f"{rule} that may decide: {DECIDES_NOTHING}", f"Use {deciding_twin(name)}.")
    return name


def _read_classes(raw: object) -> object:
    """Return a list of labels as one sorted text, the form in flat settings, axes and tables."""
    if isinstance(raw, str):
        raw = [int(part) if part.isdecimal() and part.isascii() else part for part in raw.split(",")]
    if isinstance(raw, int) and not isinstance(raw, bool) and raw < 2:
        raise broken_rule("classes must be at least 2", "Use 2 or more.")
    if raw is None or (isinstance(raw, int) and not isinstance(raw, bool)):
        return raw
    if not isinstance(raw, list | tuple):
        raise broken_rule(_CLASSES_RULE, "Write it as in 3, or in [3, 5, 8].")
    if not all(_is_label(label) for label in raw):
        raise broken_rule(_CLASSES_RULE, "Write it as in [3, 5, 8], or as in [cat, dog].")
    if len(raw) < 2 or len(set(raw)) < len(raw):
        raise broken_rule(_CLASSES_RULE, "Name each label once, and at least two.")
    return ",".join(map(str, sorted(raw, key=lambda label: (isinstance(label, str), label))))


def _is_label(label: object) -> bool:
    """Whether a value can be a label or the name of a class; a name with a comma would read as two."""
    if isinstance(label, str):
        return bool(label.strip()) and "," not in label and not label.isdecimal()
    return isinstance(label, int) and not isinstance(label, bool) and label >= 0


def labels_of(classes: str) -> tuple[int | str, ...]:
    """Return the labels or class names listed in a text of `TaskSpec.classes`."""
    return tuple(int(one) if one.isdecimal() else one for one in classes.split(","))


_CLASSES_RULE = "classes must be a number of at least 2, or a list of two or more labels"


#: A number of classes, or the wanted labels, ascending, with commas between them.
Classes = Annotated[int | str, Field(description="a whole number, at least 2, or a list of labels or of names")]

#: One side in pixels, or height and width with a comma between them.
Sides = Annotated[int | str, Field(description="a side in pixels, or `[height, width]`")]

#: A colour.
Colour = Annotated[str, Field(description="`black`, `grey`, `white`, or `[red, green, blue]`, each 0 to 255")]

Number = Annotated[float, AfterValidator(_without_minus_zero)]
NotNegative = Annotated[Number, Field(ge=0)]
Positive = Annotated[Number, Field(gt=0)]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]


#: The name of a table's column.
ColumnName = Annotated[str, Field(min_length=1, max_length=200)]


def _read_degradation(raw: object) -> object:
    """Return a built-in degradation, or the function of a user's own."""
    if isinstance(raw, DegradationKind) or (isinstance(raw, str) and raw in set(DegradationKind)):
        return DegradationKind(raw)
    if not isinstance(raw, str) or not SOURCE.fullmatch(raw):
        known = ", ".join(DegradationKind)
        rule = f"a degradation must be one of {known}, or a function of your own, as module:function"
        raise broken_rule(rule, nearest(raw, map(str, DegradationKind)) if isinstance(raw, str) else "Write a name.")
    if called(raw) in {*DegradationKind, "whole"}:
        raise broken_rule("a function of your own must not have the name of a built-in degradation", "Rename it.")
    return raw


#: A built-in degradation, or a user's own function.
AnyDegradation = Annotated[
    DegradationKind | str,
    PlainValidator(_read_degradation),
    Field(description=f"{' or '.join(f'`{kind}`' for kind in DegradationKind)}, or `module:function`"),
]


class TaskSpec(Frozen):
    """What a network learns: a data set, a number of classes and how hard the images are.

    Attributes:
        data: `digits`, or the location of the images: a Parquet file, a folder or a pattern of shards, a folder with
            one folder of images for each class, a `.npz` file, MNIST's or CIFAR's own files, any of these at a URI
            such as `s3://…`, or `my_module:function`.
        validation: Location of the images that decisions are based on. Left out, the validation set of `data` is used,
            or a fifth of the training images is held out.
        test: Location of the images that are reported and decide nothing. Left out, the test set of `data` is used, or
            a quarter of its images is held out.
        image_column, label_column: Columns of a table, needed if their names are unusual.
        resize: New length of each image's shorter side in pixels; or `[height, width]`, whatever its aspect ratio.
        crop: Size of the central part of each image that is kept after `resize`: a square's side, or
            `[height, width]`.
        background: Colour behind transparent images; left out, black.
        classes: Number of classes to use, drawn by `class_seed`, or a list of them such as `[3, 5, 8]` or
            `[cat, dog]`; left out, all of them.
        class_seed: Seed that draws the classes; another seed or another number draws them anew.
        occlusion: Share of each image that a grey square hides.
        noise: Standard deviation of the Gaussian noise on each pixel.
        degradation: A further degradation of the images; on training images it is drawn anew in each epoch.
            `my_fog:fog` is the function `fog` in my_fog.py beside this file, or in an installed package.
        level: Level of the degradation; 0 changes nothing.
        standardize: `images`, by mean and standard deviation of the training images; `each`, every image by its own,
            which removes differences in contrast; or `none`.
        train_images, validation_images, test_images: Most images to use of each set; left out, all of them.
    """

    data: str = DIGITS
    validation: str | None = None
    test: str | None = None
    image_column: ColumnName | None = None
    label_column: ColumnName | None = None
    resize: Annotated[Sides | None, BeforeValidator(read_sides)] = None
    crop: Annotated[Sides | None, BeforeValidator(read_sides)] = None
    background: Annotated[Colour | None, BeforeValidator(read_background)] = None
    classes: Annotated[Classes | None, BeforeValidator(_read_classes)] = None
    class_seed: Seed = 0
    occlusion: Annotated[NotNegative, Field(lt=1)] = 0.0
    noise: NotNegative = 0.0
    degradation: AnyDegradation | None = None
    level: NotNegative = 0.0
    standardize: Annotated[Standardize, Field(strict=False)] = Standardize.IMAGES
    train_images: Count | None = None
    validation_images: Count | None = None
    test_images: Count | None = None

    @field_validator("data")
    @classmethod
    def _find_data(cls, data: str, info: ValidationInfo) -> str:
        return data if data == DIGITS else images_at(data, info, "data must be 'digits' or name images")

    @field_validator("validation", "test")
    @classmethod
    def _find_held_out(cls, file: str | None, info: ValidationInfo) -> str | None:
        name = info.field_name
        if file is None:
            return None
        if info.data.get("data") == DIGITS:
            raise broken_rule(
                f"{name} must go with images of your own in task.data ('digits' holds out its own share)",
                f"Remove `{name}`.",
            )
        found = images_at(file, info, f"{name} must name images")
        for other in ("data", "validation"):
            if other != name and info.data.get(other) == found:
                raise broken_rule(
                    f"{name} must be another file than {other}, since what is learned from or decides is no test",
                    f"Name another file, or remove `{name}`: a share of `data` is held out.",
                )
        return found

    @field_validator("image_column", "label_column", "resize", "crop", "background")
    @classmethod
    def _check_of_own(cls, value: int | str | None, info: ValidationInfo) -> int | str | None:
        if value is not None and info.data.get("data") == DIGITS:
            raise broken_rule(
                f"{info.field_name} must go with images of your own in task.data, and 'digits' are not", "Leave it out."
            )
        return value

    @field_validator("classes")
    @classmethod
    def _check_classes(cls, classes: int | str | None, info: ValidationInfo) -> int | str | None:
        if info.data.get("data") == DIGITS:
            if isinstance(classes, int) and classes > _DIGITS_CLASSES:
                raise broken_rule("classes must be at most 10 for the data 'digits'", "Use 2 to 10.")
            if isinstance(classes, str) and not set(labels_of(classes)) <= set(range(_DIGITS_CLASSES)):
                raise broken_rule("classes must name labels from 0 to 9 for the data 'digits'", "Leave others out.")
        return classes

    @field_validator("class_seed")
    @classmethod
    def _check_class_seed(cls, seed: int, info: ValidationInfo) -> int:
        if seed and "classes" in info.data and not isinstance(info.data["classes"], int):
            raise broken_rule(
                "class_seed must go with a number of classes, which are drawn by it", "Give `classes` a number."
            )
        return seed

    @field_validator("level")
    @classmethod
    def _check_level(cls, level: float, info: ValidationInfo) -> float:
        if "degradation" not in info.data:
            return level
        kind = info.data["degradation"]
        if kind is None and level:
            raise broken_rule("level must go with a degradation", "Add `degradation`, or leave `level` out.")
        most = None if kind is None else most_of(kind)
        if most is not None and level > most:
            raise broken_rule(f"level must be a share from 0 to {most:g} for {kind}", "Lower it.")
        return level

    @property
    def own_degradation(self) -> str | None:
        """The function of the user's own degradation; None if there is none, or it changes nothing."""
        own = self.degradation
        return own if own is not None and self.level and not isinstance(own, DegradationKind) else None

    @property
    def files(self) -> tuple[str, ...]:
        """Locations of the images, without the data that come with scikit-learn."""
        named = (self.data, self.validation, self.test)
        return tuple(file for file in named if file is not None and file != DIGITS)

    @property
    def label(self) -> str:
        """The task's name in tables and on the command line, such as `digits-10-occluded0.25`."""
        parts = [re.sub(r"[^A-Za-z0-9._-]", "_", name_of(self.data))]
        if self.resize is not None:
            parts.append(f"resized{str(self.resize).replace(',', 'x')}")
        if self.crop is not None:
            parts.append(f"cropped{str(self.crop).replace(',', 'x')}")
        if self.background is not None:
            parts.append(f"on.{self.background.replace(',', '.')}")
        if self.label_column is not None:
            parts.append(re.sub(r"[^A-Za-z0-9._-]", "_", self.label_column))
        if self.classes is not None:
            parts.append(re.sub(r"[^A-Za-z0-9._-]", "_", str(self.classes).replace(",", ".")))
        if self.class_seed:
            parts.append(f"set{self.class_seed}")
        if self.occlusion:
            parts.append(f"occluded{self.occlusion!r}")
        if self.noise:
            parts.append(f"noise{self.noise!r}")
        if self.degradation is not None:
            parts.append(f"{called(self.degradation)}{self.level!r}")
        if self.standardize is not Standardize.IMAGES:
            parts.append(f"standardize.{self.standardize}")
        if self.train_images is not None:
            parts.append(f"train{self.train_images}")
        if self.validation_images is not None:
            parts.append(f"validation{self.validation_images}")
        if self.test_images is not None:
            parts.append(f"test{self.test_images}")
        return "-".join(parts)


class LatticeSpec(Frozen):
    """The window of the lattice that a network may use.

    Attributes:
        window: `fixed`, with the size given by the next three fields; or `auto`: it grows and shrinks with the network.
        channels, layers, steps: Extent of a fixed window in breadth, depth and time.
        memory_mib: Limit of a growing window: the most memory that training one network may take, in MiB.
        kernel: Side of the convolutions' kernels, in pixels.
        halve: Numbers of the layers, from 2, whose image side is half of that of the layer below.
        time_selection: How the network decides after which step to answer: `fixed`, after the same step for all images;
            `confidence`, as soon as its readout is sure; `state`, by the activations of its channels.
        bottom_up: When a layer takes the output of the layer below: `within` the same step, so that every step is a
            whole sweep through all layers, or at the `next` one, so that layer l sees the image from step l on.
        connections: `all`; or `feed_forward`, without lateral and top-down weights: with `bottom_up: next` this gives a
            feed-forward network with early exits, in which an image that halts at step l has used l layers.
    """

    window: Annotated[WindowKind, Field(strict=False)] = WindowKind.FIXED
    channels: Annotated[int, Field(ge=1, le=1024)] = 8
    layers: Annotated[int, Field(ge=1, le=64)] = 3
    steps: Annotated[int, Field(ge=1, le=256)] = 6
    memory_mib: Annotated[int, Field(ge=1, le=2**20)] = 64
    kernel: Annotated[Count, AfterValidator(_check_kernel)] = 3
    halve: Annotated[tuple[Annotated[int, Field(strict=True)], ...], Field(strict=False)] = ()
    time_selection: Annotated[TimeSelection, Field(strict=False)] = TimeSelection.CONFIDENCE
    bottom_up: Annotated[BottomUp, Field(strict=False)] = BottomUp.WITHIN
    connections: Annotated[Connections, Field(strict=False)] = Connections.ALL

    @field_validator("time_selection", mode="before")
    @classmethod
    def _check_former_name(cls, value: object) -> object:
        """Refuse a former name; `present_names` translates it in stored documents."""
        if isinstance(value, str) and value in FORMER_TIME_SELECTIONS:
            now = FORMER_TIME_SELECTIONS[value].value
            raise broken_rule("time_selection must be fixed, confidence or state", f"{value} is called {now} now.")
        return value

    @field_validator("channels", "layers", "steps", "memory_mib")
    @classmethod
    def _check_of_use(cls, value: int, info: ValidationInfo) -> int:
        """Refuse a field that the window's kind does not use, since it would seem to have an effect."""
        window = info.data.get("window")
        if window is WindowKind.AUTO and info.field_name != "memory_mib":
            raise broken_rule(
                f"{info.field_name} must be left out where the window is auto", "It is found in training."
            )
        if window is WindowKind.FIXED and info.field_name == "memory_mib":
            raise broken_rule("memory_mib must go with a window that grows", "Add `window: auto` to `lattice`.")
        return value

    @model_serializer(mode="wrap")
    def _write(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        unused = ("channels", "layers", "steps") if self.window is WindowKind.AUTO else ("memory_mib",)
        return {
            name: value
            for name, value in handler(self).items()
            if name not in unused and value != LEFT_OUT.get(f"lattice.{name}")
        }

    @field_validator("connections")  # runs after `window` and `bottom_up`, which it needs
    @classmethod
    def _check_connections(cls, connections: Connections, info: ValidationInfo) -> Connections:
        if connections is Connections.FEED_FORWARD and info.data.get("window") is WindowKind.AUTO:
            raise broken_rule(
                "connections must be all where the window is auto: a feed-forward window does not grow",
                "Give `lattice` channels, layers and steps in place of `window: auto`.",
            )
        if connections is Connections.FEED_FORWARD and info.data.get("bottom_up") is BottomUp.WITHIN:
            raise broken_rule(
                "connections must be all where bottom_up is within, which it is where it is left out: "
                "all steps of a feed-forward network would be equal",
                "Add `bottom_up: next` to `lattice`; a sweep over both values of bottom_up becomes two sweeps.",
            )
        return connections

    @field_validator("halve")
    @classmethod
    def _check_halve(cls, halve: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        layers = 64 if info.data.get("window") is WindowKind.AUTO else info.data.get("layers")
        if len(set(halve)) < len(halve):
            raise broken_rule("halve must name each layer once", "Remove the repeated number.")
        if layers is not None and any(not 2 <= layer <= layers for layer in halve):
            raise broken_rule(
                f"halve must name layers from 2 to the number of layers (layers={layers})",
                "Take the other numbers out, or raise `layers`.",
            )
        # The order has no meaning, so it must not change the key.
        return tuple(sorted(halve))


class TrainingSpec(Frozen):
    """How a network is trained.

    Attributes:
        updates: Steps of the optimizer, in place of `epochs`; makes tasks with different numbers of images comparable.
        epochs: Passes over the training images.
        until: When a network's training ends: `budget`, at the end of the budget; or `settled`, once the network has
            settled, at the latest at the end of the budget.
        batch_size: Images per update.
        learning_rate: Step size of the optimizer.
        solver: How breadth and depth pressures act on a network.
        step_loss: Weight of the loss on every single step's answer.
        epoch_images: Most validation images that networks are measured on after each epoch, always the same ones; left
            out, all of them. Complete and paused networks are measured on all.
    """

    updates: Count | None = None
    epochs: Count = 30
    until: Annotated[Until, Field(strict=False)] = Until.BUDGET
    batch_size: Count = 64
    learning_rate: Positive = 3e-3
    solver: Annotated[Solver, Field(strict=False)] = Solver.ELIMINATION
    step_loss: NotNegative = 0.2
    epoch_images: Count | None = None

    @field_validator("epochs")  # runs only if `epochs` was given, not for its default
    @classmethod
    def _check_one_budget(cls, epochs: int, info: ValidationInfo) -> int:
        if (updates := info.data.get("updates")) is not None:
            raise broken_rule(f"epochs must be left out where updates are given ({updates})", "Keep one of the two.")
        return epochs

    @model_serializer(mode="wrap")
    def _write(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        unused = "updates" if self.updates is None else "epochs"
        return {name: value for name, value in handler(self).items() if name != unused}

    @property
    def rounds(self) -> int:
        """Number of rounds of the training; a checkpoint and a point of the curve follow each round.

        A round is a pass over the images, or `ROUND_UPDATES` updates; the last round may have fewer.
        """
        return self.epochs if self.updates is None else -(-self.updates // ROUND_UPDATES)


class PressuresSpec(Frozen):
    """The price of each resource in the loss."""

    breadth_pressure: NotNegative = 0.0
    depth_pressure: NotNegative = 0.0
    time_pressure: NotNegative = 0.0


#: Name in a flat setting -> value at which it is left out. All settings had this value before there was a choice, so
#: their keys stay the same. Code that reads one of these names must read the setting `in_full`.
LEFT_OUT: Mapping[str, Scalar] = {"lattice.connections": str(Connections.ALL)}

#: Names in a flat setting of a user's own function: of the function, and of the arguments that make tasks.
FUNCTION, TASK_AXES = "train", "tasks"

#: The sections of a setting, in the order in which a sweep's product is formed.
SECTIONS: Mapping[str, type[Frozen]] = {"task": TaskSpec, "lattice": LatticeSpec, "training": TrainingSpec}


class Setting(Frozen):
    """Everything that determines a trial's result, of a lattice or of a user's own function."""

    seed: Seed = 0

    @property
    def key(self) -> str:
        """The trial's identity everywhere: 16 hexadecimal digits."""
        return keys_of(self.flat()).key

    @property
    def setting_key(self) -> str:
        """The key without the seed, which replicates share."""
        return keys_of(self.flat()).setting_key

    @property
    def group_key(self) -> str:
        """Key that members of a population share: of task, window and training; for a function the trial key."""
        return keys_of(self.flat()).group_key

    @property
    def task_label(self) -> str:
        """The label of its task, which has a front of its own."""
        raise NotImplementedError

    @property
    def rounds(self) -> int:
        """Most rounds of the training; a checkpoint and a point of the curve follow each round."""
        raise NotImplementedError

    def flat(self) -> dict[str, Scalar]:
        """Return the setting as dotted names and plain values; unset fields are left out."""
        raise NotImplementedError


#: Prefix of a user's own costs in flat settings.
_COST = "costs"


def pressure_of(cost: str) -> str:
    """Return the name of the pressure of a user's own cost."""
    return f"{cost}_pressure"


class LatticeSetting(Setting, PressuresSpec):
    """Everything that determines the result of a lattice's training.

    Attributes:
        costs: A user's own costs: name -> function, such as `my_costs:wiring`.
        own_pressures: Price of each own cost in the loss, by the cost's name.
    """

    task: TaskSpec = TaskSpec()
    lattice: LatticeSpec = LatticeSpec()
    training: TrainingSpec = TrainingSpec()
    costs: Mapping[str, str] = Field(default_factory=dict)
    own_pressures: Mapping[str, NotNegative] = Field(default_factory=dict)

    @property
    def task_label(self) -> str:
        """The label of its task, which has a front of its own."""
        return self.task.label

    @property
    def rounds(self) -> int:
        """Number of rounds of the training; see `TrainingSpec.rounds`."""
        return self.training.rounds

    def flat(self) -> dict[str, Scalar]:
        """Return the setting as dotted names and plain values; unset fields are left out."""
        flat: dict[str, Scalar] = {}
        for section in SECTIONS:
            for name, value in getattr(self, section).model_dump(mode="json", exclude_none=True).items():
                joined = ",".join(map(str, value)) if isinstance(value, list) else value
                flat[f"{section}.{name}"] = joined
        for name, source in self.costs.items():
            flat[f"{_COST}.{name}"] = source
        for name in PressuresSpec.model_fields:
            flat[name] = getattr(self, name)
        for name in self.costs:
            flat[pressure_of(name)] = self.own_pressures.get(name, 0.0)
        flat["seed"] = self.seed
        return flat

    @classmethod
    def from_flat(cls, flat: Mapping[str, Scalar]) -> Self:
        """Return the setting that `flat` was made from.

        Raises:
            SpecError: If a name is unknown or a value breaks a rule.
        """
        nested: dict[str, object] = {}
        sections: dict[str, dict[str, object]] = {}
        for name, value in flat.items():
            section, dot, field = name.partition(".")
            if dot:
                sections.setdefault(section, {})[field] = value
            else:
                nested[name] = value
        sections = present_names(sections)
        costs = sections.get(_COST, {})
        if costs:
            nested["own_pressures"] = {name: nested.pop(pressure_of(name), 0.0) for name in costs}
        halve = sections.get("lattice", {}).get("halve")
        if isinstance(halve, str):
            # Parts that are no numbers stay text, so that the field's own rule refuses them.
            numbers = [int(part) if part.isdecimal() else part for part in halve.split(",") if part]
            sections["lattice"]["halve"] = numbers
        try:
            return cls.model_validate({**nested, **sections})
        except ValidationError as error:
            raise spec_error(problems_of(error, cls), "the stored setting", None) from error


def in_full(flat: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Return a flat setting with the values that are left out of it, see `LEFT_OUT`; unset fields stay absent."""
    return {**LEFT_OUT, **flat}


def present_names(stored: Any) -> Any:
    """Return a document that an earlier version stored, with former names replaced by current ones."""

    def renamed(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: renamed(one, name if name == "time_selection" else key) for name, one in value.items()}
        if isinstance(value, list):
            return [renamed(one, key) for one in value]
        is_former = key == "time_selection" and isinstance(value, str) and value in FORMER_TIME_SELECTIONS
        return FORMER_TIME_SELECTIONS[value].value if is_former else value

    return renamed(stored)


@dataclass(frozen=True)
class Keys:
    """The keys of a setting; see the properties of `Setting` of these names."""

    key: str
    setting_key: str
    group_key: str


def keys_of(flat: Mapping[str, Scalar], schema: int = SCHEMA) -> Keys:
    """Return the keys of a setting in its stored form, with the names of its time.

    Args:
        flat: What `Setting.flat` returned.
        schema: The schema of its time.
    """
    if FUNCTION in flat:
        flat = {name: value for name, value in flat.items() if name != TASK_AXES}
    key = digest(flat, schema)
    return Keys(
        key,
        digest({name: value for name, value in flat.items() if name != "seed"}, schema),
        key if FUNCTION in flat else digest({name: value for name, value in flat.items() if "." in name}, schema),
    )


def digest(flat: Mapping[str, Scalar], schema: int = SCHEMA) -> str:
    """Return 16 hexadecimal digits that stand for these names and values under a schema."""
    canonical = json.dumps({"schema": schema, **flat}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
