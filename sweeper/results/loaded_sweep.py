"""A stored sweep in Python: its tables, pictures, findings and report, read from its tracker alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper import storage
from sweeper.errors import QueryError, UnknownSweepError
from sweeper.results.objectives import listed
from sweeper.results.sweep_tables import SweepTables, known_task
from sweeper.tracking.trackers import reader_of

if TYPE_CHECKING:  # plotly and scipy load only when a picture or a finding is asked for
    from sweeper.results.findings import Findings
    from sweeper.results.plots.style import Picture


class LoadedSweep(SweepTables):
    """One sweep as its tracker held it when it was first asked; load the sweep again to see newer trials.

    Example:
        >>> from sweeper import load_sweep
        >>> load_sweep("first").plot("front-time", task="digits-10").show()  # doctest: +SKIP
    """

    def picture(
        self,
        name: str,
        task: str | None = None,
        *,
        key: str | None = None,
        human: Sequence[str | Path] = (),
        accuracies: Sequence[float] = (),
        beside: Sequence[SweepTables] = (),
    ) -> Picture:
        """Return a picture with its title and caption; see `plot`."""
        from sweeper.results.plots import catalogue

        one, files = _task_of(self, name, task), _files(human)
        if key is not None:
            return catalogue.steps_of(self, one, key)
        return catalogue.picture_of(self, one, name, files, accuracies=accuracies, beside=beside)

    def plot(
        self,
        picture: str,
        task: str | None = None,
        *,
        key: str | None = None,
        human: Sequence[str | Path] = (),
        accuracies: Sequence[float] = (),
        beside: Sequence[SweepTables] = (),
    ) -> Any:
        """Return a picture as a plotly figure, which a notebook shows and `write_image` writes to a file.

        Args:
            picture: Name of a picture; `sweeper plot NAME` lists those that can be drawn.
            task: Label of its task; None if the sweep has one task, or the picture is about all tasks.
            key: For the picture `steps`: key of the trial to draw; None for the best of the front.
            human: For the picture `finding-reaction-time`: Parquet or CSV files of human data.
            accuracies: For trade-offs and growth: up to four accuracies at which they compare; by default one rule
                chooses them from all tasks of the sweep.
            beside: For fronts in two objectives and hypervolumes: up to three other sweeps of the same task and
                objectives, drawn into the same picture.

        Raises:
            QueryError: If there is no such picture, its task is not clear, or the trials do not suffice to draw it.
            UnknownSweepError: If there is no such sweep, or no finished trial of that task.
            TrackingError: If the tracker cannot be reached.
        """
        if key is not None and picture != "steps":
            raise QueryError(
                f"a key names the network of the picture steps, but got the picture {picture}. Leave it out."
            )
        return self.picture(picture, task, key=key, human=human, accuracies=accuracies, beside=beside).figure

    def findings(self, claims: Sequence[str] = (), *, human: Sequence[str | Path] = ()) -> Findings:
        """Decide what the sweep says about the claims F1 to F5, by the rules of docs/findings-method.md.

        Args:
            claims: Which of them; none for all.
            human: Parquet or CSV files of human data; columns as in docs/reference/human-data.md.

        Returns:
            A finding for each claim: its effects, with intervals, controls and a verdict; or what the sweep lacks.

        Raises:
            QueryError: If there is no such claim, or human data cannot be read or are about other images.
            TrackingError: If the tracker cannot be reached.
        """
        from sweeper.results.findings import findings_of

        listed("claims", claims)
        return findings_of(self, claims, _files(human))

    def report(
        self,
        path: str | Path | None = None,
        *,
        human: Sequence[str | Path] = (),
        compare: Sequence[SweepTables] = (),
        accuracies: Sequence[float] = (),
    ) -> Path:
        """Write one HTML file with fronts, pictures, findings, all trials and how to repeat the sweep.

        Args:
            path: The file; None for the sweep's name, `.html`, in the current folder.
            human: Parquet or CSV files of human data, for the claim F4.
            compare: Other loaded sweeps to compare with this one.
            accuracies: Accuracies at which trade-offs and growth compare, as for `plot`.

        Returns:
            The file.

        Raises:
            QueryError: If no trial has finished, the path does not end in `.html`, human data cannot be read or are
                about other images, or another sweep cannot be compared with this one.
            TrackingError: If the tracker cannot be reached.
        """
        from sweeper.results.report.page import report

        file = Path(path) if path is not None else Path(f"{self.name}.html")
        if file.suffix.lower() not in (".html", ".htm"):
            raise QueryError(f"a report is written to a file that ends in .html, but got {file}. Rename it.")
        page = report(self, _files(human), compare, accuracies=accuracies)
        storage.write_bytes(str(file.absolute()), page.encode())
        return file


def _files(human: Sequence[str | Path]) -> Sequence[str | Path]:
    """Return the files; refuse a single path in place of a list."""
    if isinstance(human, str | Path):
        raise QueryError(f"human must be a list of files, but got {str(human)!r}. Write human=[{str(human)!r}].")
    return human


def is_of_all_tasks(picture: str) -> bool:
    """Return whether the picture of this name is about all tasks of a sweep at once."""
    return picture.startswith(("growth-", "finding-growth"))


def _task_of(sweep: SweepTables, picture: str, task: str | None) -> str:
    """Return the label of the task to draw; pictures of growth are about all tasks.

    Raises:
        QueryError: If the sweep has several tasks and the user named none.
        UnknownSweepError: If the sweep has no finished trial, or none of the named task.
    """
    known_task(sweep, task)
    if task is not None:
        return task
    if not sweep.tasks:
        raise UnknownSweepError(
            f"sweep {sweep.name!r} has no finished trial yet. Watch it with `sweeper status {sweep.name}`."
        )
    if len(sweep.tasks) > 1 and not is_of_all_tasks(picture):
        raise QueryError(
            f"sweep {sweep.name!r} has {len(sweep.tasks)} tasks: {', '.join(sweep.tasks)}. "
            "Choose one with --task, in Python with task=."
        )
    return sweep.tasks[0]


def load(name: str, address: str) -> LoadedSweep:
    """Return a stored sweep by its name and its tracker's address; the tracker is not asked yet."""
    return LoadedSweep(reader_of(address, name))
