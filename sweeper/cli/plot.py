"""The command `plot`, which draws pictures of a stored sweep from MLflow alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeper.cli.groups import command
from sweeper.cli.options import (
    AccuraciesOption,
    JsonOption,
    Name,
    ReadHomeOption,
    TrackingOption,
    accuracies_in,
    print_json,
    tracking_of,
    write_aside,
)
from sweeper.cli.output import say_beside, say_earlier
from sweeper.errors import QueryError
from sweeper.trial import State

if TYPE_CHECKING:  # functions import heavy packages themselves, so that --help stays fast
    from sweeper.results.loaded_sweep import LoadedSweep
    from sweeper.results.plots.sizes import PictureFormat
    from sweeper.results.plots.style import Picture


def register(app: typer.Typer) -> None:
    """Add the command of this file, with its example."""
    command(
        app,
        "sweeper plot quickstart",
        "sweeper plot quickstart front-breadth --task digits-10 -o front.svg",
        "sweeper plot quickstart --all -o figures --format pdf,csv --width 85mm",
    )(plot)


def plot(
    name: Name,
    picture: Annotated[
        str | None,
        typer.Argument(
            metavar="PICTURE", help="What to draw, such as front-breadth; without it, list what can be drawn."
        ),
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", metavar="TASK", help="Label of one task; for one of several.")
    ] = None,
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="The .html, .svg, .png or .pdf file to draw, or a .csv file for its numbers; repeatable. Chrome draws "
            ".svg, .png and .pdf. With --all a folder.",
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Draw all that can be drawn into the folder -o.")] = False,
    formats: Annotated[
        str | None,
        typer.Option("--format", metavar="KINDS", help="With --all: such as pdf,csv. Default: svg."),
    ] = None,
    beside: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="NAME",
            help="Draw another sweep into the same picture: front-breadth and the like, hypervolume-…; repeatable.",
        ),
    ] = None,
    accuracies: AccuraciesOption = None,
    width: Annotated[
        str | None,
        typer.Option(
            "--width", metavar="LENGTH", help="Of a .svg, .png or .pdf: pixels, or a length as 85mm. Default: 900."
        ),
    ] = None,
    height: Annotated[
        str | None, typer.Option("--height", metavar="LENGTH", help="The same upwards. Default: the picture's own.")
    ] = None,
    dpi: Annotated[
        float | None,
        typer.Option("--dpi", metavar="NUMBER", help="Dots an inch of a .png. Default: 300 for lengths."),
    ] = None,
    font: Annotated[
        str | None, typer.Option("--font", metavar="NAME", help="Font of all letters; one that is installed here.")
    ] = None,
    font_size: Annotated[
        float | None,
        typer.Option(
            "--font-size",
            metavar="POINTS",
            help="Of letters in a .svg, .png or .pdf; marks and lines go with it. Default: 8 for lengths.",
        ),
    ] = None,
    legend: Annotated[bool, typer.Option("--legend/--no-legend", help="Whether there is a legend.")] = True,
    dark: Annotated[bool, typer.Option("--dark", help="On dark paper. A .html follows its reader's system.")] = False,
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="KEY", help="With steps: of which trial; default: of the front's best."),
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

    asked = {
        "--format": formats,
        "--with": _first(beside),
        "--accuracies": accuracies,
        "--width": width,
        "--height": height,
        "--dpi": dpi,
        "--font": font,
        "--font-size": font_size,
        "--key": key,
    }
    if picture is None and not every:
        for option, value in {"-o": _first(output), **asked, "--human": _first(human)}.items():
            if value is not None:
                raise QueryError(
                    f"{option} {value} needs a picture: sweeper plot {name} PICTURE. "
                    f"`sweeper plot {name}` lists what can be drawn."
                )
        _list(load(name, tracking_of(name, home, tracking_uri)), task, as_json)
        return
    if as_json:
        raise QueryError("--json lists what can be drawn, without a picture. Leave out the one or the other.")
    look = _Look(width, height, dpi, font, font_size, legend, dark)
    levels = accuracies_in(accuracies)
    if picture is None or every:
        folder, kinds = _folder(name, picture, output, formats, asked)
        sheets = look.sheets(kinds)
        _draw_all(load(name, tracking_of(name, home, tracking_uri)), task, folder, sheets, human or (), levels)
        return
    if formats is not None:
        raise QueryError("--format names the files of --all; the end of -o names that of one picture. Leave it out.")
    if not output:
        raise QueryError(f"{picture} is drawn into a file. Name one with -o, such as -o {picture}.svg.")
    # Impossible options are refused before anything is read.
    sheets = look.sheets([_kind_of(path) for path in output])
    _require_fitting(picture, key, human, accuracies)
    sweep, *others = (load(one, tracking_of(one, home, tracking_uri)) for one in (name, *(beside or ())))
    drawn = sweep.picture(picture, task, key=key, human=human or (), accuracies=levels, beside=others)
    _write(drawn, output, sheets)
    for one in (sweep, *others):
        say_earlier(one.earlier)


def _write(drawn: Picture, output: Sequence[Path], sheets: Sequence[PictureFormat]) -> None:
    """Write one picture to each of some files, and print what they show."""
    from sweeper.cli.live import waiting
    from sweeper.results.plots import files

    with waiting("drawing"):
        contents = [files.written(drawn, sheet) for sheet in sheets]
    for path, sheet, content in zip(output, sheets, contents, strict=True):
        write_aside(path, content)
        if sheet.kind == "csv":
            print(f"{path} holds the numbers of {drawn.name}")
        else:
            caption = (drawn.flat or drawn).caption if sheet.is_drawn else drawn.caption
            print(f"{path} shows {drawn.title[0].lower()}{drawn.title[1:]}. {caption}")


# --- requests -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Look:
    """The requested look of pictures, as the options give it."""

    width: str | None
    height: str | None
    dpi: float | None
    font: str | None
    font_size: float | None
    has_legend: bool
    is_dark: bool

    def sheets(self, kinds: Sequence[str]) -> list[PictureFormat]:
        """Return the format of each of some files.

        Raises:
            QueryError: If an option fits none of the formats, or its value is impossible.
        """
        from sweeper.results.plots.sizes import DRAWN, WIDTH, Length, PictureFormat, length_in

        sized = {"--width": self.width, "--height": self.height, "--font-size": self.font_size}
        for option, value in sized.items():
            if value is not None and not set(kinds) & set(DRAWN):
                what = "a page is as wide as its window" if "html" in kinds else "numbers have no size"
                raise QueryError(f"{what}, but got {option} {value}. Leave it out, or write another file.")
        if self.dpi is not None and "png" not in kinds:
            raise QueryError(
                f"--dpi is of a .png, but got --dpi {self.dpi:g} for .{' and .'.join(kinds)}. Leave it out."
            )
        sheet = PictureFormat(
            kind=kinds[0],
            is_dark=self.is_dark,
            dpi=self.dpi,
            font_size=self.font_size,
            has_legend=self.has_legend,
            width=Length(WIDTH) if self.width is None else length_in(self.width, "--width"),
            height=None if self.height is None else length_in(self.height, "--height"),
        )
        if self.font is not None:
            from sweeper.results.plots.fonts import checked_font

            sheet = replace(sheet, font=checked_font(self.font))
        return [replace(sheet, kind=kind) for kind in kinds]


def _kind_of(path: Path) -> str:
    """Return the format of a file by the ending of its name."""
    from sweeper.results.plots.sizes import FORMATS

    kind = path.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise QueryError(
            f"a picture's name must end in .html, .svg, .png or .pdf, its numbers' in .csv, but got {path}. "
            "Name another file with -o."
        )
    return kind


def _require_fitting(picture: str, key: str | None, human: Sequence[Path] | None, accuracies: str | None) -> None:
    """Refuse an option that does not apply to a picture."""
    if key is not None and picture != "steps":
        raise QueryError(f"--key names the network of the picture steps, but got the picture {picture}. Leave it out.")
    if human and picture != "finding-reaction-time":
        raise QueryError(
            f"--human names data for the picture finding-reaction-time, but got the picture {picture}. Leave it out."
        )
    if accuracies is not None and not picture.startswith(("trade-", "growth-")):
        raise QueryError(
            f"--accuracies are those of trade-… and growth-…, but got the picture {picture}. Leave them out."
        )


def _folder(
    name: str,
    picture: str | None,
    output: Sequence[Path] | None,
    formats: str | None,
    asked: Mapping[str, object],
) -> tuple[Path, list[str]]:
    """Return the folder and the formats for all pictures."""
    from sweeper.results.plots.sizes import FORMATS

    if picture is not None:
        raise QueryError(f"--all draws all pictures, but got {picture} too. Leave out the one or the other.")
    for option in ("--with", "--key"):
        if asked[option] is not None:
            raise QueryError(f"{option} is of one picture, but got --all. Leave out the one or the other.")
    if not output or len(output) > 1:
        raise QueryError(f"--all draws into one folder. Name it with -o, such as -o {name}-figures.")
    if output[0].exists() and not output[0].is_dir():
        raise QueryError(f"--all draws into a folder, but {output[0]} is a file. Name another one with -o.")
    kinds = list(dict.fromkeys(one.strip().lower().removeprefix(".") for one in (formats or "svg").split(",")))
    for kind in kinds:
        if kind not in FORMATS:
            raise QueryError(f"--format takes some of {', '.join(FORMATS)}, but got {kind!r}. Write --format pdf,csv.")
    return output[0], kinds


# --- all pictures ---------------------------------------------------------------------------------


def _draw_all(
    sweep: LoadedSweep,
    task: str | None,
    folder: Path,
    sheets: Sequence[PictureFormat],
    human: Sequence[Path],
    accuracies: Sequence[float],
) -> None:
    """Draw all pictures of a sweep; if it has several tasks, each task's pictures go into a folder of their own."""
    from sweeper.cli.live import waiting
    from sweeper.results.plots import files

    with waiting("deciding what can be drawn"):
        found = _all_pictures(sweep, task, human, accuracies)
    if not found:
        raise _nothing_of(sweep)
    drawn = set()
    for sheet in sheets:
        fitting = [one for one in found if not sheet.is_drawn or _fits(one[1], sheet)]
        with waiting(f"drawing {len(fitting)} pictures as .{sheet.kind}"):
            contents = files.all_written([picture for _, picture in fitting], sheet)
        drawn |= {(place, picture.name) for place, picture in fitting}
        for (place, picture), content in zip(fitting, contents, strict=True):
            path = folder / place / f"{picture.name}.{sheet.kind}"
            _make_folder(path.parent)
            write_aside(path, content)
    if not drawn:
        raise QueryError(f"no picture of sweep {sweep.name!r} fits. Choose another --width or --height.")
    say_earlier(sweep.earlier)
    kinds = " and ".join(f".{sheet.kind}" for sheet in sheets)
    print(f"{folder} holds {len(drawn)} pictures of sweep {sweep.name}, each as {kinds}")


def _fits(picture: Picture, sheet: PictureFormat) -> bool:
    """Return whether a picture fits into the requested size; print a note if it does not."""
    from sweeper.results.plots.files import room_of

    try:
        room_of(picture, sheet)
    except QueryError as error:
        say_beside(f"not drawn: {error}")
        return False
    return True


def _nothing_of(sweep: LoadedSweep) -> QueryError:
    """Return an error that says why no picture of a sweep can be drawn."""
    is_empty = not any(record.state is State.COMPLETE for record in sweep.records)
    why = "no trial is complete" if is_empty else "its complete trials are too few, or all alike"
    return QueryError(f"nothing of sweep {sweep.name!r} can be drawn yet: {why}.")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise QueryError(f"cannot make the folder {folder}: {error.strerror}. Name another one with -o.") from error


def _all_pictures(
    sweep: LoadedSweep, task: str | None, human: Sequence[Path], accuracies: Sequence[float]
) -> list[tuple[str, Picture]]:
    """Return all pictures that can be drawn, each with its folder, and print notes about the others.

    A picture about all tasks comes once.
    """
    from sweeper.results.loaded_sweep import is_of_all_tasks
    from sweeper.results.plots import catalogue
    from sweeper.results.plots.findings import WITH_PEOPLE
    from sweeper.results.sweep_tables import known_task

    known_task(sweep, task)
    damaged: list[str] = []
    found: dict[tuple[str, str], Picture] = {}
    for one in [task] if task is not None else sweep.tasks:
        own = re.sub(r"[^\w.-]+", "-", one) if len(sweep.tasks) > 1 else ""
        drawn = catalogue.pictures_of(sweep, one, damaged, accuracies, has_importance=True)
        for name in catalogue.findings_of_task(sweep, one, has_people=bool(human)):
            if is_of_all_tasks(name) and ("", name) in found:
                continue
            try:
                drawn.append(sweep.picture(name, one, human=human if name == WITH_PEOPLE else ()))
            except QueryError as error:
                say_beside(str(error))
        for picture in drawn:
            found.setdefault(("" if is_of_all_tasks(picture.name) else own, picture.name), picture)
    for said in damaged:
        say_beside(f"not all that there is can be drawn: {said}")
    return [(place, picture) for (place, _), picture in found.items()]


def _first(values: Sequence[object] | None) -> object:
    return next(iter(values or ()), None)


def _list(sweep: LoadedSweep, task: str | None, as_json: bool) -> None:
    """Print the pictures that can be drawn, by task."""
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
        raise _nothing_of(sweep)
    widest = max(len(one["name"]) for one in found)
    for label in dict.fromkeys(one["task"] for one in found):
        print(f"{label}:")
        for one in found:
            if one["task"] == label:
                print(f"  {one['name']:<{widest}}  {one['title']}")
    print(
        f"Draw one: sweeper plot {sweep.name} {found[0]['name']} --task {found[0]['task']} -o FILE.html|svg|png|pdf|csv"
    )
    print(f"Draw all: sweeper plot {sweep.name} --all -o FOLDER")
