"""Examines trained networks: shows them a user's own images, and measures them without some of their parts."""

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

#: A network that can be shown images, named here for other rooms, which do not know the model.
Network = model.Network


@dataclass(frozen=True)
class Shown:
    """Responses of a network to the images of a file.

    Attributes:
        table: An Arrow table; columns as `model.stimuli.shown` returns them.
        carried: Columns of the table that come from the file.
        renamed: New names of those that were renamed, by their names in the file.
        left_out: Columns of the file that the table does not have.
        labels: Labels of the network's classes in its data.
        lesion: Parts that were removed, joined by commas; empty for none.
        names: Names of these classes; empty if the data have none.
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
        images: Description of the images that it was measured on.
        count: Number of images.
        values: Mean `accuracy`, `time` (steps) and `confidence`, by removed parts; the whole network is first, under an
            empty name.
    """

    images: str
    count: int
    values: dict[str, dict[str, float]]


def opened(data: bytes, name: str) -> Network:
    """Return a network from the content of its file.

    Args:
        data: Whole content of the file.
        name: Name of the file in errors.

    Raises:
        QueryError: If the content holds no network.
    """
    try:
        return model.decode(data, name)
    except model.ModelError as error:
        raise QueryError(f"no network can be shown images: {error}") from error


def shown(network: Network, name: str, images: Path, lesion: str | None = None, *, by_step: bool = False) -> Shown:
    """Show a network the images of a file.

    Args:
        network: Network, as its file has it.
        name: Name of the network in errors.
        images: A Parquet file with an image column.
        lesion: Parts to remove first, joined by commas.
        by_step: Whether to return every step of each image.

    Raises:
        QueryError: If the images cannot be shown to the network, or it has no such part.
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
        network: Network, as its file has it.
        name: Name of the network in errors.
        lesions: Lesions to measure, each given as the parts that it removes together, joined by commas.
        images: A Parquet file with an image column and labels; None for the test images.

    Raises:
        QueryError: If the network has no such part, or the images cannot be loaded.
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
    """Refuse to run functions or fetch URIs that a network's file names, because it may come from a stranger."""
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
    """Return a description of the test images of a network's task, and the images, loaded as for its training."""
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
    if (task.image, task.classes) != (window.image, window.classes):  # a stranger's file may contradict itself
        raise QueryError(
            f"{name} names the task {setting.task.label}, but takes images of {window.image} (channels, height, "
            f"width) and tells {window.classes} classes apart, and the task has {task.image} and {task.classes}. "
            f"{way_out}"
        )
    return f"the test images of {setting.task.label}", task.test
