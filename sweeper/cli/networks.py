"""Commands on the network of a trial: draw it, measure it with lesions, show it images, write it to a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from sweeper.cli.groups import command
from sweeper.cli.options import (
    LedgerOption,
    NetworkTrackingOption,
    ReadHomeOption,
    StorageOption,
    checked,
    write_aside,
)
from sweeper.cli.output import say_earlier
from sweeper.errors import QueryError
from sweeper.lesion import RULE, parts_of

if TYPE_CHECKING:  # functions import heavy packages themselves, so that --help stays fast
    from sweeper.ledger.home import Home
    from sweeper.results.find_network import NetworkContent


def register(app: typer.Typer) -> None:
    """Add the commands of this file, each with its example."""
    command(app, "sweeper show 4f04f71b19e55eef -o network.svg", "sweeper show 4f04f71b --lesion lateral")(show)
    command(app, "sweeper steps 4f04f71b19e55eef stimuli.parquet -o answers.parquet")(steps)
    command(app, "sweeper export 4f04f71b19e55eef -o network.safetensors")(export)


NetworkArgument = Annotated[
    str,
    typer.Argument(
        metavar="KEY|FILE",
        help="Key of a complete trial, or at least six characters of its beginning; or a .safetensors file.",
    ),
]
SweepOption = Annotated[
    str | None, typer.Option("--sweep", metavar="NAME", help="Name of the trial's sweep; default: look in all.")
]


def show(
    network: NetworkArgument,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="Draw it into this .svg or .png file. Default: say it in words."
        ),
    ] = None,
    lesion: Annotated[
        list[str] | None,
        typer.Option(
            "--lesion",
            metavar="PARTS",
            help="Measure it without lateral, top-down, deepest or layer:N beside the whole network, on the test "
            "images of its task; parts joined by commas are taken out at once. May be given several times.",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images",
            metavar="FILE",
            help="With --lesion: a Parquet file of labelled images to measure on, in place of its task's.",
        ),
    ] = None,
    home: ReadHomeOption = Path("sweeps"),
    sweep: SweepOption = None,
    storage: StorageOption = None,
    ledger: LedgerOption = None,
    tracking_uri: NetworkTrackingOption = None,
) -> None:
    """Show the network of a trial: layers, channels, steps and counts, in words or drawn."""
    from sweeper.cli.network_table import network_summary
    from sweeper.training.network_file import describe, describe_bytes

    # Impossible options are refused before the network is looked for.
    lesions = [_parts(one) for one in lesion or ()]
    if images is not None and not lesions:
        raise QueryError(f"--images {images} says what lesions are measured on. Name parts with --lesion.")
    if output is not None:
        from sweeper.results.plots.drawing import draw, picture_format

        if lesions:
            raise QueryError(f"--lesion measures a network, and -o {output} draws it whole. Leave one of them out.")
        kind = picture_format(output)
    if network.endswith(".safetensors") and not lesions:
        shown = describe(Path(network))
    else:
        found = found_network(network, _home(home, storage, ledger), sweep, tracking_uri)
        shown = describe_bytes(found.data, found.name)
    if output is not None:
        write_aside(output, draw(shown.graph, kind, title=shown.title, measurement=shown.measurement))
        print(f"{output} shows {shown.title}")
    elif not lesions:
        Console().print(network_summary(shown.graph, shown.title, shown.measurement, shown.steps, shown.setting))
    else:
        from sweeper.cli.live import waiting
        from sweeper.cli.network_table import lesion_table
        from sweeper.training.showing import measured_without, opened

        with waiting("measuring"):
            measured = measured_without(opened(found.data, found.name), found.name, lesions, images)
        Console().print(network_summary(shown.graph, shown.title, shown.measurement, shown.steps, shown.setting))
        Console().print(lesion_table(measured.values, measured.images, measured.count))
    say_earlier(shown.earlier)


def steps(
    network: NetworkArgument,
    images: Annotated[
        Path,
        typer.Argument(
            metavar="IMAGES",
            help="A Parquet file of images of the size that the network takes: encoded in a column image or img, "
            "labels in a column label where there are any. Its other columns are carried through.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="Write to this .parquet or .csv file. Default: print a summary."
        ),
    ] = None,
    all_steps: Annotated[
        bool,
        typer.Option(
            "--all-steps", help="Write a row for each image and step, with the probability of each class. Takes -o."
        ),
    ] = False,
    lesion: Annotated[
        list[str] | None,
        typer.Option(
            "--lesion",
            metavar="PARTS",
            help="Take out lateral, top-down, deepest or layer:N before; parts joined by commas are taken out at once.",
        ),
    ] = None,
    home: ReadHomeOption = Path("sweeps"),
    sweep: SweepOption = None,
    storage: StorageOption = None,
    ledger: LedgerOption = None,
    tracking_uri: NetworkTrackingOption = None,
) -> None:
    """Show images of your own to a stored network: its answer, confidence and steps for each of them."""
    lesions = [_parts(one) for one in lesion or ()]
    if len(lesions) > 1:
        raise QueryError(
            f"one network is shown the images, but got --lesion {len(lesions)} times. "
            f"Join parts that are taken out at once by commas, as in --lesion {','.join(lesions)}."
        )
    kind = _table_format(output, images, all_steps)
    found = found_network(network, _home(home, storage, ledger), sweep, tracking_uri)

    from sweeper.cli.live import waiting
    from sweeper.results.answers import answers_of

    with waiting("showing images"):
        answers = answers_of(found, images, *lesions, by_step=all_steps)
    if output is None:
        from sweeper.cli.network_table import answers_summary

        Console().print(answers_summary(answers.table, f"{_called(found)}, shown {images}"))
    else:
        from sweeper.analysis.formats import encode, parquet_bytes

        # Not `encode` for Parquet: the fields have units already, and a user's column may have the name of one of ours.
        is_csv = kind == "csv"
        write_aside(output, encode(answers.table, "csv") if is_csv else parquet_bytes(answers.table))
        print(f"{output} says what {_called(found)} does with {images}, in {answers.table.num_rows} rows")
    for note in answers.notes:
        print(f"note: {note}", file=sys.stderr)


def export(
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="Key of a complete trial, or at least six characters of its beginning.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The .safetensors file to write.")],
    home: ReadHomeOption = Path("sweeps"),
    sweep: SweepOption = None,
    storage: StorageOption = None,
    ledger: LedgerOption = None,
    tracking_uri: NetworkTrackingOption = None,
) -> None:
    """Write the network of a trial to a file that `sweeper.load_network` reads."""
    if output.suffix != ".safetensors":
        raise QueryError(f"a network is written to a file that ends in .safetensors, but got -o {output}. Rename it.")
    from sweeper.results.find_network import network_content

    found = network_content(_home(home, storage, ledger), key, sweep and checked(sweep), tracking_uri)
    write_aside(output, found.data)
    print(f"{output} holds the network of trial {found.key} of sweep {found.sweep}")


def found_network(network: str, home: Home, sweep: str | None, tracking_uri: str | None) -> NetworkContent:
    """Return a network by its trial's key, or by its file."""
    if network.endswith(".safetensors"):
        from sweeper.results.answers import network_in_file

        return network_in_file(Path(network))
    from sweeper.results.find_network import network_content

    return network_content(home, network, sweep and checked(sweep), tracking_uri)


def _home(home: Path, storage: str | None, ledger: str | None) -> Home:
    from sweeper.ledger.home import Home

    return Home(home, storage, ledger)


def _called(found: NetworkContent) -> str:
    """Return the name of a network in messages: its trial, or the file that the user named."""
    return f"trial {found.key} of sweep {found.sweep}" if found.sweep else found.name


def _parts(text: str) -> str:
    """Return the parts that an option names, joined by commas; refuse unknown ones."""
    parts = parts_of(text)
    if parts is None:
        raise QueryError(f"--lesion must be {RULE}, but got {text!r}. Write it as in --lesion lateral,layer:2.")
    return ",".join(parts)


def _table_format(output: Path | None, images: Path, all_steps: bool) -> str | None:
    """Return the format of the output table, None for a summary; refuse an impossible output file."""
    if output is None:
        if all_steps:
            raise QueryError("--all-steps is for a file: every image has several rows. Name it with -o FILE.")
        return None
    kind = output.suffix.lower().removeprefix(".")
    if kind not in ("parquet", "csv"):
        raise QueryError(f"answers are written to a .parquet or .csv file, but got -o {output}. Rename it.")
    if output.exists() and images.exists() and output.samefile(images):
        raise QueryError(f"-o {output} would take the place of the images themselves. Name another file.")
    return kind
