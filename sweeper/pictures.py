"""Pictures of a stored sweep, as plotly figures."""

from __future__ import annotations

from dataclasses import dataclass

import plotly.graph_objects as go

from sweeper.loaded import LoadedSweep


@dataclass(frozen=True)
class Picture:
    """A picture and its words.

    Attributes:
        name: What it is called on the command line, such as `front`.
        title: Headline.
        caption: What it shows and how it is read, in one or two sentences.
        figure: Points of trials carry the trial's key as first entry of `customdata`.
    """

    name: str
    title: str
    caption: str
    figure: go.Figure


def pictures_of(sweep: LoadedSweep, task: str) -> list[Picture]:
    """Return the pictures of one task of a sweep; those that its trials do not allow are left out."""
    (front,) = sweep.fronts(task)
    x, y = front.objectives[-1].name, front.objectives[0].name
    rows = front.table.to_pylist()
    figure = go.Figure(
        go.Scatter(
            x=[row[x] for row in rows],
            y=[row[y] for row in rows],
            mode="markers",
            customdata=[[r["key"]] for r in rows],
        )
    )
    return [Picture("front", f"{y} against {x}", "Networks that no other one beats in every respect.", figure)]
