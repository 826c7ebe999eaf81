"""Lists the pictures of a stored sweep and draws them as plotly figures, by the other modules of this package."""

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
    """Return the pictures of one task of a sweep, without those that its trials do not suffice for.

    Pictures of findings are left out, because drawing one takes a decision on its claim.

    Args:
        sweep, task: The sweep, and the label of the task.
        damaged: Collects the errors about damaged files that prevent a picture; None raises such an error.
        accuracies: Accuracies at which pictures compare; none to have them chosen.
        has_importance: Whether to draw the importance of parameters too, which takes seconds.
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
        except QueryError:  # too little to draw, or the network's file lacks what the picture shows
            continue
    return found


def titles_of(sweep: SweepTables, task: str, damaged: list[str] | None = None) -> dict[str, str]:
    """Return name and title of each picture of a task that can be drawn, without deciding a claim.

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
        has_people: Whether there are human data.
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
        sweep: The sweep.
        task: Label of the task.
        name: Name of the picture.
        human: Files of human data, for the one picture that shows them.
        accuracies: Accuracies at which pictures compare; none to have them chosen from all tasks.
        beside: Other sweeps, drawn into the same picture.

    Raises:
        QueryError: If there is no picture of that name, the trials do not suffice for it, or the sweeps cannot be
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
    """Return the drawing functions of the pictures that can show several sweeps.

    Raises:
        QueryError: If the picture of this name shows one sweep only, or the sweeps cannot be compared.
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
    """Return the picture of how many steps a network takes, for a trial that is or was on the front.

    Raises:
        QueryError: If MLflow has no such network, or the network's file does not hold its steps.
    """
    return steps(Points(sweep, task), key)


def _drawn(points: Points) -> Mapping[str, Callable[[], Picture]]:
    """Return the drawing function of each picture, in the order of display."""
    pairs = {f"front-{one.name}": partial(front_against, points, one) for one in points.objectives[1:]}
    volumes = {f"hypervolume-{over}": partial(hypervolume_over, points, over) for over in ("trials", "time")}
    if own_units_in(points.sweep.records) is not None:  # a user's own function trains no lattice
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
