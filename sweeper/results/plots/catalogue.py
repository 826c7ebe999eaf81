"""Pictures of a stored sweep, as plotly figures: which there are, and the door to the rooms that draw them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from sweeper.analysis.points import own_units_in
from sweeper.errors import DamagedError, QueryError
from sweeper.results.plots.accuracies import RESOURCES, checked_accuracies
from sweeper.results.plots.beside import comparable
from sweeper.results.plots.findings import FINDINGS, WITH_PEOPLE, drawable, finding_picture
from sweeper.results.plots.fronts import front_against
from sweeper.results.plots.growth import complexities, growth, hypervolume_over
from sweeper.results.plots.networks import networks, steps
from sweeper.results.plots.parallel import parallel
from sweeper.results.plots.parameters import IMPORTANCE, has_importance, importance, slices
from sweeper.results.plots.points import Points
from sweeper.results.plots.space import front_in_space
from sweeper.results.plots.style import NotDrawnError, Picture
from sweeper.results.plots.trades import TRADES, trade_off
from sweeper.results.sweep_tables import SweepTables
from sweeper.spelling import did_you_mean


def pictures_of(
    sweep: SweepTables,
    task: str,
    damaged: list[str] | None = None,
    accuracies: Sequence[float] = (),
    *,
    has_importance: bool = False,
) -> list[Picture]:
    """Return the pictures of one task of a sweep; those that its trials do not allow are left out.

    Pictures of findings are not among them: to draw one, its claim is decided.

    Args:
        sweep, task: What to draw.
        damaged: Takes what keeps others from being drawn, though the trials allow it; None has it raised.
        accuracies: At which pictures compare; none to have them chosen.
        has_importance: Whether the importance of parameters is among them, which takes seconds.
    """
    found = []
    for name, draw in _drawn(Points(sweep, task, checked_accuracies(accuracies))).items():
        if name == "importance" and not has_importance:
            continue
        try:
            found.append(draw())
        except DamagedError as error:
            if damaged is None:
                raise
            damaged += [str(error)] if str(error) not in damaged else []
        except QueryError:  # too little to draw, or a file of a network that says nothing of what is drawn
            continue
    return found


def titles_of(sweep: SweepTables, task: str, damaged: list[str] | None = None) -> dict[str, str]:
    """Return name and title of each picture of a task that can be drawn; no claim is decided to know it.

    Args:
        sweep, task, damaged: As for `pictures_of`.
    """
    drawn = {one.name: one.title for one in pictures_of(sweep, task, damaged)}
    drawn |= {"importance": IMPORTANCE} if has_importance(Points(sweep, task)) else {}
    found = {name: drawn[name] for name in _drawn(Points(sweep, task)) if name in drawn}
    for name in drawable(sweep, task):
        _, title = FINDINGS[name]
        found[name] = f"{title} (with --human FILE)" if name == WITH_PEOPLE else title
    return found


def findings_of_task(sweep: SweepTables, task: str, *, has_people: bool) -> list[str]:
    """Return the names of the pictures of findings that a task can have.

    Args:
        sweep, task: As for `pictures_of`.
        has_people: Whether there are data of what people did.
    """
    return [name for name in drawable(sweep, task) if has_people or name != WITH_PEOPLE]


def picture_of(
    sweep: SweepTables,
    task: str,
    name: str,
    human: Sequence[str | Path] = (),
    *,
    accuracies: Sequence[float] = (),
    beside: Sequence[SweepTables] = (),
) -> Picture:
    """Return one picture of a task.

    Args:
        sweep: Read from its tracker alone.
        task: Label of the task.
        name: Of the picture.
        human: Files with what people did, for the picture that shows these.
        accuracies: At which pictures compare; none to have them chosen from all tasks.
        beside: Other sweeps, drawn into the same picture.

    Raises:
        QueryError: If there is none of that name, or the trials do not allow it, and why; or the sweeps cannot be
            compared.
    """
    if human and name != WITH_PEOPLE:
        raise QueryError(
            f"human data are drawn by the picture {WITH_PEOPLE}, but got the picture {name}. Leave them out."
        )
    points = Points(sweep, task, checked_accuracies(accuracies))
    drawn: dict[str, Callable[[], Picture]] = {
        **_drawn(points),
        **{one: partial(finding_picture, sweep, one, task, human) for one in FINDINGS},
    }
    if name not in drawn:
        hint = did_you_mean(name, drawn, "Name one of these.")
        raise QueryError(f"there is no picture {name!r} (there are: {', '.join(drawn)}). {hint}")
    if beside:
        drawn = _beside(points, beside, name)
    try:
        return drawn[name]()
    except NotDrawnError as error:
        raise NotDrawnError(
            f"{name} cannot be drawn: {error}. `sweeper plot {sweep.name}` lists what can be drawn."
        ) from error


def _beside(points: Points, beside: Sequence[SweepTables], name: str) -> dict[str, Callable[[], Picture]]:
    """Return what draws the pictures that hold several sweeps.

    Raises:
        QueryError: If a picture holds one alone, or the sweeps cannot be compared.
    """
    others = [Points(one, points.task) for one in comparable(points.sweep, points.task, beside)]
    found: dict[str, Callable[[], Picture]] = {
        f"front-{one.name}": partial(front_against, points, one, others) for one in points.objectives[1:]
    }
    found |= {f"hypervolume-{over}": partial(hypervolume_over, points, over, others) for over in ("trials", "time")}
    if name not in found:
        raise QueryError(f"{name} shows one sweep; several are shown by {', '.join(found)}. Name one of these.")
    return found


def steps_of(sweep: SweepTables, task: str, key: str) -> Picture:
    """Return the picture of how long one network thinks, of a trial that is or was on the front.

    Raises:
        QueryError: If MLflow has no such network, or its file does not tell.
    """
    return steps(Points(sweep, task), key)


def _drawn(points: Points) -> Mapping[str, Callable[[], Picture]]:
    """Return what draws each picture, in the order in which they are shown."""
    pairs = {f"front-{one.name}": partial(front_against, points, one) for one in points.objectives[1:]}
    volumes = {f"hypervolume-{over}": partial(hypervolume_over, points, over) for over in ("trials", "time")}
    if own_units_in(points.sweep.records) is not None:  # what a user's own function leaves is no lattice
        space = {"front-3d": partial(front_in_space, points)}
        return {**pairs, **space, **_of_parameters(points), **volumes}
    trades = {f"trade-{x}-{y}": partial(trade_off, points, x, y) for x, y in TRADES}
    grown = {
        f"growth-{resource}{f'-{axis}' if index else ''}": partial(growth, points, resource, axis)
        for index, axis in enumerate(complexities(points.sweep) or [None])
        for resource in RESOURCES
    }
    return {
        **pairs,
        "front-3d": partial(front_in_space, points),
        **trades,
        **_of_parameters(points),
        **grown,
        **volumes,
        "steps": partial(steps, points),
        "networks": partial(networks, points),
    }


def _of_parameters(points: Points) -> Mapping[str, Callable[[], Picture]]:
    drawn = {"importance": importance, "slices": slices, "parallel": parallel}
    return {name: partial(draw, points) for name, draw in drawn.items()}
