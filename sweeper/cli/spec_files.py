"""The commands that write and check a spec, and train nothing: `init` and `validate`."""

from __future__ import annotations

import importlib.resources
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from sweeper.cli.groups import command
from sweeper.cli.options import JsonOption, Space, print_commands, print_json, write_aside
from sweeper.errors import SpecError

if TYPE_CHECKING:  # functions import heavy packages themselves, so that --help stays fast
    from sweeper.spec import SweepSpec
    from sweeper.spec.draft import Aim

_Answer = TypeVar("_Answer")


def register(app: typer.Typer) -> None:
    """Add the commands of this file, each with its example."""
    command(
        app,
        "sweeper init",
        "sweeper init my.yaml --data images.parquet --classes 10,3 --minimize breadth,time",
        "sweeper init my.yaml --train exits:train --maximize accuracy=0 --minimize macs=4e5 --search 40",
    )(init)
    command(app, "sweeper validate my.yaml")(validate)


def validate(space: Space, as_json: JsonOption = False) -> None:
    """Check a spec to the end and say what it would sweep. Starts nothing, trains nothing, looks at no image."""
    from sweeper.spec import load_spec

    spec = load_spec(space).spec
    told = _told(spec)
    if as_json:
        print_json(told)
        return
    print(f"{space} is a sweep: {told['name']}, {told['trials']} trials")
    for label, names in (("tasks", told["tasks"]), ("varied", told["varied"]), ("searched", told["searched"])):
        if names:
            print(f"  {label}: {', '.join(names)}")
    print(f"  front of: {', '.join(told['objectives'])}")
    print_commands("Next:", [f"sweeper plan {space}", f"sweeper run {space}"])


def _told(spec: SweepSpec) -> dict[str, Any]:
    from sweeper.analysis.sheet import counted

    return {
        "name": spec.name,
        "tasks": list(spec.tasks),
        "varied": [
            f"{name} ({counted(len(values), 'value')})"
            for name, values in spec.axes.items()
            if name not in spec.searched
        ],
        "searched": list(spec.searched),
        "replicates": spec.replicates,
        "objectives": [f"{one.name} {one.goal.arrow}" for one in spec.objectives],
        "trials": spec.planned,
    }


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The .yaml file to write.")] = Path("my-sweep.yaml"),
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="DATA",
            help="Images: digits, a Parquet file, a folder, or another place. Default: digits.",
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option("--classes", metavar="N,N", help="Numbers of classes, each a task. Default: all classes."),
    ] = None,
    channels: Annotated[int, typer.Option("--channels", metavar="N", min=1, help="Of the window.")] = 8,
    layers: Annotated[int, typer.Option("--layers", metavar="N", min=1, help="Of the window.")] = 3,
    steps: Annotated[int, typer.Option("--steps", metavar="N", min=1, help="Of the window.")] = 6,
    train: Annotated[
        str | None,
        typer.Option(
            "--train",
            metavar="MODULE:FUNCTION",
            help="A training function of your own, in place of lattices on images.",
        ),
    ] = None,
    maximize: Annotated[
        str | None,
        typer.Option(
            "--maximize",
            metavar="NAME,NAME",
            help="What should be most; NAME=WORST where the window does not say the worst value. Default: accuracy.",
        ),
    ] = None,
    minimize: Annotated[
        str | None,
        typer.Option("--minimize", metavar="NAME,NAME", help="What should be least. Default: breadth,depth,time."),
    ] = None,
    unit: Annotated[
        list[str] | None,
        typer.Option("--unit", metavar="NAME=UNIT", help="With --train: the unit of what it returns; repeatable."),
    ] = None,
    search: Annotated[
        int | None,
        typer.Option("--search", metavar="N", min=0, help="Search, trying N settings in each task. Default: a grid."),
    ] = None,
    replicates: Annotated[int, typer.Option("--replicates", metavar="N", min=1, help="Seeds of each setting.")] = 1,
    updates: Annotated[int, typer.Option("--updates", metavar="N", min=1, help="Training steps of a network.")] = 1200,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: take defaults for what is not given.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Take the place of a file that is there.")] = False,
) -> None:
    """Write a first spec with comments, from a few questions or from options. In a terminal it asks what is not given.

    What it writes has been checked as `sweeper validate` does.
    """
    from sweeper.spec.draft import Draft
    from sweeper.spec.load import function_arguments, load_spec
    from sweeper.spec.sweep_spec import check_name
    from sweeper.spec.yaml_source import parse_yaml

    if file.suffix not in (".yaml", ".yml"):
        raise SpecError(f"a spec is a file that ends in .yaml, but got {file}. Rename it.")
    check_name(file.stem)
    if file.exists() and not force:
        raise SpecError(f"{file} is there already. Name another file, or take its place with --force.")
    is_asking = not yes and sys.stdin.isatty() and sys.stdout.isatty()
    ask = _Questions() if is_asking else None
    if train is None and data is None and ask:
        train = ask("A training function of your own, MODULE:FUNCTION; empty for lattices on images", "") or None
    if train is None:
        data = data or (ask("Images: digits, a Parquet file, a folder, …", "digits") if ask else "digits")
        if classes is None and ask:
            classes = ask("Numbers of classes, each a task, such as 10,3; empty for all classes", "")
        maximize, minimize = (
            maximize or "accuracy",
            minimize
            or (
                ask("What should be least beside the most accuracy", "breadth,depth,time")
                if ask
                else "breadth,depth,time"
            ),
        )
    elif maximize is None and minimize is None and ask:
        maximize = ask("What should be most, NAME=WORST with commas; empty for nothing", "accuracy=0")
        minimize = ask("What should be least, NAME=WORST with commas; empty for nothing", "")
    if search is None:
        search = int(ask("Settings that a search tries in each task; 0 for a grid", "0", int)) if ask else 0
    aims = _aims(
        maximize or "", minimize or "", dict(_pair("--unit", one) for one in unit or ()), is_own=train is not None
    )
    draft = Draft(
        name=file.stem,
        aims=aims,
        data=data or "digits",
        classes=_counts(classes or ""),
        window={"channels": channels, "layers": layers, "steps": steps},
        train=train or "",
        arguments=function_arguments(train, file.absolute().parent) if train else {},
        search=search,
        replicates=replicates,
        updates=updates,
    )
    text = draft.text(_schema())
    # A wrong answer is reported before anything is written.
    try:
        load_spec(parse_yaml(text, str(file)).data, folder=file.absolute().parent)
    except SpecError as error:
        raise SpecError(f"{str(error).replace('in the given mapping', f'in what would be {file}')}") from error
    write_aside(file, text.encode())
    print(f"{file} is written")
    print_commands(
        "Look at it, change it, and then:", [f"sweeper {word} {file}" for word in ("validate", "plan", "run")]
    )


class _Questions:
    """Asks on the terminal; an empty answer is the default."""

    def __call__(self, question: str, default: str, read: Callable[[str], object] = str) -> str:
        while True:
            try:
                answer = typer.prompt(question, default=default, show_default=bool(default))
            except typer.Abort:  # the input ended
                raise SpecError(
                    "not all was answered, so nothing is written. Options answer too: see `sweeper init --help`."
                ) from None
            try:
                read(answer)
            except ValueError:
                print(f"{answer!r} is no whole number.")
            else:
                return str(answer).strip()


def _schema() -> str:
    """Return the path of the schema for editors."""
    return str(importlib.resources.files("sweeper.search_spaces") / "spec.schema.json")


def _counts(text: str) -> list[int]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    for word in words:
        if not word.isdecimal():
            raise SpecError(f"--classes takes whole numbers with commas between them, but got {word!r}: 10,3")
    return [int(word) for word in words]


def _pair(option: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name.strip() and equals and value.strip()):
        raise SpecError(f"{option} takes NAME=VALUE, but got {text!r}.")
    return name.strip(), value.strip()


def _aims(maximize: str, minimize: str, units: dict[str, str], *, is_own: bool) -> Sequence[Aim]:
    """Return the objectives that two options name."""
    from sweeper.measurements import DECIDING, Goal
    from sweeper.spec.draft import Aim, needs_worst
    from sweeper.spelling import did_you_mean

    found = []
    for text, goal in ((maximize, Goal.MAXIMIZE), (minimize, Goal.MINIMIZE)):
        for entry in filter(None, (part.strip() for part in text.split(","))):
            name, equals, value = (part.strip() for part in entry.partition("="))
            if not is_own and name not in DECIDING:
                raise SpecError(
                    f"--{goal} takes names of measurements, but got {name!r}. "
                    + did_you_mean(name, DECIDING, f"Known: {', '.join(DECIDING)}.")
                )
            if not equals and needs_worst(name, goal, is_own=is_own):
                raise SpecError(
                    f"--{goal} {name} needs a value that no useful result reaches, for the reference point: "
                    f"--{goal} {name}=WORST"
                )
            try:
                worst = float(value) if equals else None
            except ValueError:
                raise SpecError(f"--{goal} {name} takes a number after =, but got {value!r}.") from None
            unit = units.get(name) or ("share" if name == "accuracy" else "number")
            found.append(Aim(name, goal, worst, unit))
    if not found:
        raise SpecError("a sweep needs something to be best in. Name it with --maximize NAME=WORST or --minimize.")
    return found
