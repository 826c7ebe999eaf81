"""Networks that are trained, looked at again: shown images of anybody's own, and measured without parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeper import model
from sweeper.errors import QueryError, SpecError
from sweeper.model import probing, stimuli
from sweeper.model.lesions import named_parts
from sweeper.model.places import is_uri
from sweeper.model.sources import is_function
from sweeper.spec import LatticeSetting
from sweeper.training.inputs import load_task
from sweeper.training.network_file import labels_of, names_of

#: A network that can be shown images; what other rooms call it, which do not know the model.
Network = model.Network


@dataclass(frozen=True)
class Shown:
    """What a network does with the images of a file.

    Attributes:
        table: An Arrow table; columns as `model.stimuli.shown` returns them.
        carried: Those of its columns that are the file's own.
        renamed: By their own names, those of them that are called otherwise.
        left_out: Columns of the file that are not among them.
        labels: What the data call the network's classes.
        lesion: What was taken out of it, joined by commas; empty for nothing.
        names: What people call these classes; empty where the data have no names.
    """

    table: Any
    carried: tuple[str, ...]
    renamed: dict[str, str]
    left_out: tuple[str, ...]
    labels: tuple[int, ...]
    lesion: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lesioned:
    """A network measured whole and without parts.

    Attributes:
        images: What it was measured on, in words.
        count: How many images.
        values: Mean `accuracy`, `time` (steps) and `confidence`, by what was taken out; the whole network is first,
            under an empty name.
    """

    images: str
    count: int
    values: dict[str, dict[str, float]]


def opened(data: bytes, name: str) -> Network:
    """Return a network from the content of its file.

    Args:
        data: All of it.
        name: What to call it where something is wrong.

    Raises:
        QueryError: If it holds no network.
    """
    try:
        return model.decode(data, name)
    except model.ModelError as error:
        raise QueryError(f"no network can be shown images: {error}") from error


def shown(network: Network, name: str, images: Path, lesion: str | None = None, *, by_step: bool = False) -> Shown:
    """Show a network the images of a file.

    Args:
        network: As its file has it.
        name: What to call it where something is wrong.
        images: A Parquet file with an image column.
        lesion: Parts to take out before, joined by commas.
        by_step: Whether to return every step of each image.

    Raises:
        QueryError: If the images cannot be shown to it, or it has no such part.
    """
    labels = labels_of(network, Path(name))
    try:
        if lesion is not None:
            network = network.without(lesion)
        names = names_of(network, Path(name))
        file = stimuli.stimuli(images, labels, names)
        table = stimuli.shown(network.lattice, labels, file, by_step=by_step)
    except model.ModelError as error:
        raise QueryError(str(error)) from error
    taken_out = str(network.description.get("lesion", ""))
    return Shown(table, tuple(file.carried.values()), file.renamed, file.left_out, labels, taken_out, names)


def measured_without(network: Network, name: str, lesions: Sequence[str], images: Path | None = None) -> Lesioned:
    """Measure a network whole and without parts, on the test images of its task or on those of a file.

    Args:
        network: As its file has it.
        name: What to call it where something is wrong.
        lesions: Parts joined by commas, which are taken out at once; each of these is a lesion by itself.
        images: A Parquet file with an image column and labels; None for the test images.

    Raises:
        QueryError: If it has no such part, or the images cannot be had.
    """
    try:
        parts = [named_parts(lesion, network.window.layers) for lesion in lesions]
        if images is None:
            where, shown_images = _test_images(network, name)
        else:
            labels = labels_of(network, Path(name))
            file = stimuli.stimuli(images, labels, names_of(network, Path(name)))
            where, shown_images = str(images), stimuli.labelled(file, labels, network.window.image)
    except model.ModelError as error:
        raise QueryError(str(error)) from error
    found = {
        ",".join(taken_out): probing.without(network.lattice, shown_images, taken_out) for taken_out in [(), *parts]
    }
    return Lesioned(where, len(shown_images), found)


def _refuse_what_is_not_a_file(setting: LatticeSetting, name: str, way_out: str) -> None:
    """Refuse to run or to fetch what a network's file names: it may come from a stranger."""
    if setting.task.own_degradation is not None:
        raise QueryError(
            f"the test images of {name} are degraded by a function, which is not run for a network's file: "
            f"{setting.task.own_degradation}. {way_out}"
        )
    for place in setting.task.files:
        if is_function(place) or is_uri(place):
            what = (
                "are made by a function, which is not run" if is_function(place) else "are at a URI, which is not read"
            )
            raise QueryError(f"the test images of {name} {what} for a network's file: {place}. {way_out}")


def _test_images(network: Network, name: str) -> tuple[str, model.Images]:
    """Return the test images of a network's task, in words and as they are, loaded as its training did."""
    way_out = "Name other labelled images with --images FILE."
    try:
        setting = LatticeSetting.from_flat(network.description["setting"])
        _refuse_what_is_not_a_file(setting, name, way_out)
        task = load_task(setting.task)
    except (SpecError, KeyError, AttributeError) as error:
        raise QueryError(
            f"{name} does not say what task it was trained on in words of this version of sweeper. {way_out}"
        ) from error
    except model.TaskError as error:
        raise QueryError(f"the test images of {name} cannot be had: {error} {way_out}") from error
    known = network.description.get("data", "not written down")
    if known != task.fingerprint:
        raise QueryError(
            f"the images of task {setting.task.label} are not those that {name} was trained on: their hash is "
            f"{task.fingerprint}, and was {known}. Its files have changed, or another version of sweeper has divided "
            f"them otherwise. {way_out}"
        )
    window = network.window
    if (task.image, task.classes) != (window.image, window.classes):  # files may come from strangers
        raise QueryError(
            f"{name} names the task {setting.task.label}, but takes images of {window.image} (channels, height, "
            f"width) and tells {window.classes} classes apart, and the task has {task.image} and {task.classes}. "
            f"{way_out}"
        )
    return f"the test images of {setting.task.label}", task.test
