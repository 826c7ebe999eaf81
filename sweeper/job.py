"""A population as it is handed to a worker, and the worker's reports on it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Lease:
    """Proof that its holder may continue.

    Attributes:
        path: Location of the file that names the current holder.
        session: Holder of this lease: a driver, or one handing out of a population.
    """

    path: str
    session: str


@dataclass(frozen=True)
class Job:
    """A population handed to a worker, as plain values, so that it can be sent anywhere.

    Attributes:
        key: Key of the population, which also names its checkpoint.
        task: Label of the task cell.
        keys: Trial keys of all members.
        settings: Whole settings of all members, flat.
        wanted: Which members still need an outcome.
        checkpoint: Location of the population's first checkpoint file; empty for none.
        networks: Locations that the members' trained networks are written to; empty for none.
        probes: Degradations of the test images and their levels, which complete networks are shown.
        probe_files: Locations that the responses to probes are written to, image by image; empty for none.
        probe_images: Number of test images that each probe is applied to; None for all.
        lesions: Lesions of complete networks, each given as the removed parts joined by commas.
        complexity: Whether to measure how hard the task is.
        lease: Lease of the population; None if nobody else can be working on it.
        stopped: Which members are not trained any further, although others are; empty for none.
        until: Epochs after which to pause, with every member measured; None trains to the end.
        time_limit_s: Seconds after which members that are still training end as timed out; None for no limit.
        device: Torch's name of the device to train on; the worker sets it by the resources that it was given.
        own_folder: Folder that is searched for the user's own code; empty if the code is installed, or there is none.
        measures: Units of the measures that the user's function may report, by name.
        cpus: Number of CPUs that the job was given.
        code: Expected hashes of the files of the user's code, see `own_code`; empty accepts any code.
        own_probes: Sources of the user's own degradations that `probes` name, by name.
        own_measures: Sources of the user's functions that measure trained networks in addition to ours, by name.
    """

    key: str
    task: str
    keys: tuple[str, ...]
    settings: tuple[Mapping[str, str | int | float | bool], ...]
    wanted: tuple[bool, ...]
    checkpoint: str = ""
    networks: tuple[str, ...] = ()
    probes: tuple[tuple[str, float], ...] = ()
    probe_files: tuple[str, ...] = ()
    probe_images: int | None = None
    lesions: tuple[str, ...] = ()
    complexity: bool = False
    lease: Lease | None = None
    stopped: tuple[bool, ...] = ()
    until: int | None = None
    time_limit_s: float | None = None
    device: str = "cpu"
    own_folder: str = ""
    measures: Mapping[str, str] = field(default_factory=dict)
    cpus: float = 1.0
    code: Mapping[str, str] = field(default_factory=dict)
    own_probes: Mapping[str, str] = field(default_factory=dict)
    own_measures: Mapping[str, str] = field(default_factory=dict)

    @property
    def wanted_keys(self) -> tuple[str, ...]:
        """Trial keys of the members that still need an outcome, in order."""
        return tuple(key for key, is_wanted in zip(self.keys, self.wanted, strict=True) if is_wanted)


def job_from_json(text: str) -> Job:
    """Return a job from its fields as JSON."""
    values = json.loads(text)
    names = ("keys", "settings", "wanted", "networks", "probe_files", "lesions", "stopped")
    tuples = {name: tuple(values[name]) for name in names} | {"probes": tuple(map(tuple, values["probes"]))}
    lease = values["lease"] and Lease(**values["lease"])
    return Job(**{**values, **tuples, "lease": lease})


@dataclass(frozen=True)
class Progress:
    """A worker's report on a population after each epoch.

    Attributes:
        epoch: Number of finished rounds: epochs, or parts of a training that is given by its updates.
        epochs: Number of all rounds.
        values: For each wanted member, the values measured after this epoch; empty if not finite, or with a last note.
        notes: Notes for the user, such as a checkpoint that could not be read.
    """

    epoch: int
    epochs: int
    values: Sequence[Mapping[str, float]]
    notes: Sequence[str] = ()
