"""A population as it is handed to a worker, and what the worker says of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Lease:
    """Proof that somebody is the one who may go on.

    Attributes:
        path: Location of the file that names the current holder.
        session: The holder whose lease this is: a driver, or a population as it was handed out by one.
    """

    path: str
    session: str


@dataclass(frozen=True)
class Job:
    """A population handed to a worker: plain values, so that it travels anywhere.

    Attributes:
        key: Key of the population; its checkpoint is found by it.
        task: Label of the task cell.
        keys: Trial keys of all members.
        settings: Whole settings of all members, flat.
        wanted: Which members still need an outcome.
        checkpoint: Path of the population's checkpoint file; empty for none.
        networks: Paths of the files that the members' trained networks are written to; empty for none.
        probes: Degradations of the test images and their levels, which complete networks are shown.
        probe_files: Paths of the files that what they do then is written to, by image; empty for none.
        probe_images: How many of the test images each of these is shown on; None for all.
        lesions: Parts that are taken out of complete networks, joined by commas.
        complexity: Whether it is measured how hard their task is.
        lease: None where nobody else can be working on it.
        stopped: Which members are not to be trained any further, though others are; empty for none.
        until: Epochs after which to pause, with every member measured; None trains to the end.
        time_limit_s: Seconds after which members that are still training end as timed out; None for no limit.
        device: What to train on, in torch's words; its worker knows what it was given.
        own_folder: Where the user's own code is looked for; empty where it is installed, or there is none.
        measures: Units of what that function may report, by name.
        cpus: What the job was given of them.
        code: What that function's code must be, see `own_code`; empty for anything.
        own_probes: Where the user's own degradations are that `probes` name, by name.
        own_measures: Where the functions are that trained networks are measured by, beside what we measure, by name.
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
    """What a worker says of a population after each epoch.

    Attributes:
        epoch: Rounds done: epochs, or parts of a training that is given by its updates.
        epochs: Rounds in all.
        values: By wanted member: the values measured after this epoch; empty where not finite, or with a last note.
        notes: What the user should know, such as a checkpoint that could not be read.
    """

    epoch: int
    epochs: int
    values: Sequence[Mapping[str, float]]
    notes: Sequence[str] = ()
