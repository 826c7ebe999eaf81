"""The command that draws pictures of a stored sweep, from MLflow alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeper.cli.groups import command
from sweeper.cli.options import JsonOption, Name, ReadHomeOption, TrackingOption, print_json, tracking_of, write_aside
from sweeper.cli.output import say_beside, say_earlier
from sweeper.errors import QueryError

if TYPE_CHECKING:  # heavy rooms are imported where they are used: --help must not load them
    from sweeper.results.loaded_sweep import LoadedSweep


def register(app: typer.Typer) -> None:
    """Add the command of this file, with its example."""
    command(app, "sweeper plot quickstart front-breadth --task digits-10 -o front.svg")(plot)


def plot(
    name: Name,
    picture: Annotated[
        str | None, typer.Argument(help="What to draw, such as front-breadth; without it, list what can be drawn.")
    ] = None,
    task: Annotated[str | None, typer.Option("--task", help="Label of one task; for one of several.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="The .html, .svg, .png or .pdf file to draw; all but .html by Chrome."),
    ] = None,
    width: Annotated[
        int | None, typer.Option("--width", metavar="PIXELS", help="Of a .svg, .png or .pdf; default: 900.")
    ] = None,
    dark: Annotated[bool, typer.Option("--dark", help="On dark paper. A .html follows its reader's system.")] = False,
    key: Annotated[
        str | None, typer.Option("--key", help="With steps: of which trial; default: of the front's best.")
    ] = None,
    human: Annotated[
        list[Path] | None,
        typer.Option(
            "--human",
            metavar="FILE",
            help="With finding-reaction-time: what people did, as Parquet or CSV; repeatable.",
        ),
    ] = None,
    home: ReadHomeOption = Path("sweeps"),
    tracking_uri: TrackingOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw fronts, growth, networks and findings of a sweep, for papers and pages; or list what can be drawn."""
    from sweeper.results.loaded_sweep import load

    if picture is None:
        for option, value in (("-o", output), ("--width", width), ("--key", key), ("--human", _first(human))):
            if value is not None:
                raise QueryError(
                    f"{option} {value} needs a picture: sweeper plot {name} PICTURE. "
                    f"`sweeper plot {name}` lists what can be drawn."
                )
        _list(load(name, tracking_of(name, home, tracking_uri)), task, as_json)
        return
    if as_json:
        raise QueryError("--json lists what can be drawn, without a picture. Leave out the one or the other.")
    if output is None:
        raise QueryError(f"{picture} is drawn into a file. Name one with -o, such as -o {picture}.svg.")

    from sweeper.results.plots import files

    kind = files.kind_of(output)  # what cannot be is refused before anything is read
    sheet = files.PictureFormat(kind, _checked_width(width, kind), dark)
    if key is not None and picture != "steps":
        raise QueryError(f"--key names the network of the picture steps, but got the picture {picture}. Leave it out.")
    if human and picture != "finding-reaction-time":
        raise QueryError(
            f"--human names data for the picture finding-reaction-time, but got the picture {picture}. Leave it out."
        )
    sweep = load(name, tracking_of(name, home, tracking_uri))
    drawn = sweep.picture(picture, task, key=key, human=human or ())
    write_aside(output, files.written(drawn, sheet))
    say_earlier(sweep.earlier)
    print(f"{output} shows {drawn.title[0].lower()}{drawn.title[1:]}. {drawn.caption}")


def _first(files: list[Path] | None) -> Path | None:
    return next(iter(files or ()), None)


def _list(sweep: LoadedSweep, task: str | None, as_json: bool) -> None:
    """Print what can be drawn, by task."""
    from sweeper.results.plots import catalogue
    from sweeper.results.sweep_tables import known_task

    known_task(sweep, task)
    damaged: list[str] = []
    found = [
        {"task": one, "name": name, "title": title}
        for one in ([task] if task is not None else sweep.tasks)
        for name, title in catalogue.titles_of(sweep, one, damaged).items()
    ]
    for said in damaged:
        say_beside(f"not all that there is can be drawn: {said}")
    if as_json:
        print_json(found)
        return
    if not found:
        raise QueryError(f"nothing of sweep {sweep.name!r} can be drawn yet: no trial is complete.")
    widest = max(len(one["name"]) for one in found)
    for label in dict.fromkeys(one["task"] for one in found):
        print(f"{label}:")
        for one in found:
            if one["task"] == label:
                print(f"  {one['name']:<{widest}}  {one['title']}")
    print(f"Draw one: sweeper plot {sweep.name} {found[0]['name']} --task {found[0]['task']} -o FILE.html|svg|png|pdf")


def _checked_width(width: int | None, kind: str) -> int:
    from sweeper.results.plots.files import LEAST_WIDTH, MOST_WIDTH, WIDTH

    if width is None:
        return WIDTH
    if kind == "html":
        raise QueryError(
            f"a page is as wide as its window, but got --width {width}. Leave it out, or write another file."
        )
    if not LEAST_WIDTH <= width <= MOST_WIDTH:
        raise QueryError(f"a picture is {LEAST_WIDTH} to {MOST_WIDTH} pixels wide, but got --width {width}.")
    return width
