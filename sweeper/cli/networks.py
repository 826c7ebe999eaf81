"""Commands about the network that a trial left: drawn, and written to a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sweeper.cli.options import (
    HomeOption,
    LedgerOption,
    NetworkTrackingOption,
    StorageOption,
    checked,
    write_aside,
)
from sweeper.cli.output import say_earlier
from sweeper.errors import QueryError


def register(app: typer.Typer) -> None:
    """Add the commands of this file, each with its example."""
    app.command(epilog="Example: sweeper show 4f04f71b19e55eef -o network.svg")(show)
    app.command(epilog="Example: sweeper export 4f04f71b19e55eef -o network.safetensors")(export)


def show(
    network: Annotated[
        str,
        typer.Argument(
            metavar="KEY|FILE",
            help="Key of a complete trial, or at least six characters of its beginning; or a .safetensors file.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Draw it into this .svg or .png file. Default: say it in words."),
    ] = None,
    home: HomeOption = Path("sweeps"),
    sweep: Annotated[
        str | None, typer.Option("--sweep", help="Name of the trial's sweep; default: look in all.")
    ] = None,
    storage: StorageOption = None,
    ledger: LedgerOption = None,
    tracking_uri: NetworkTrackingOption = None,
) -> None:
    """Show the network that is left of a trial: layers, channels, steps and counts, in words or drawn."""
    from sweeper.cli.network_table import network_summary
    from sweeper.ledger.home import Home
    from sweeper.results.find_network import network_content
    from sweeper.training.network_file import describe, describe_bytes

    if output is not None:  # a name that cannot be is refused before anything is looked for
        from sweeper.results.plots.drawing import draw, picture_format

        kind = picture_format(output)
    if network.endswith(".safetensors"):
        shown = describe(Path(network))
    else:
        found = network_content(Home(home, storage, ledger), network, sweep and checked(sweep), tracking_uri)
        shown = describe_bytes(found.data, found.name)
    if output is None:
        Console().print(network_summary(shown.graph, shown.title, shown.measurement, shown.steps))
    else:
        write_aside(output, draw(shown.graph, kind, title=shown.title, measurement=shown.measurement))
        print(f"{output} shows {shown.title}")
    say_earlier(shown.earlier)


def export(
    key: Annotated[str, typer.Argument(help="Key of a complete trial, or at least six characters of its beginning.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .safetensors file to write.")],
    home: HomeOption = Path("sweeps"),
    sweep: Annotated[
        str | None, typer.Option("--sweep", help="Name of the trial's sweep; default: look in all.")
    ] = None,
    storage: StorageOption = None,
    ledger: LedgerOption = None,
    tracking_uri: NetworkTrackingOption = None,
) -> None:
    """Write the network that is left of a trial to a file, which `sweeper.load_network` reads."""
    from sweeper.ledger.home import Home
    from sweeper.results.find_network import network_content

    if output.suffix != ".safetensors":
        raise QueryError(f"a network is written to a file that ends in .safetensors, but got -o {output}. Rename it.")
    found = network_content(Home(home, storage, ledger), key, sweep and checked(sweep), tracking_uri)
    write_aside(output, found.data)
    print(f"{output} holds the network of trial {found.key} of sweep {found.sweep}")
