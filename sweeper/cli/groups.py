"""The help of the whole program: commands in groups, each with its whole first sentence; version and completion."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from sweeper import exit_codes

#: What commands are for, in the order in which they are needed.
GROUPS = {
    "Run a sweep": ("plan", "run", "resume", "mirror"),
    "Run it on a cluster": ("submit", "stop", "logs"),
    "See how it goes": ("status", "watch", "ui"),
    "Ask what came out": ("pareto", "trials", "findings", "plot", "report"),
    "Take a network": ("show", "steps", "export"),
    "Check": ("doctor", "audit"),
}


class Groups(TyperGroup):
    """Lists commands by what they are for."""

    # The types are click's, which some versions of typer have under a name of their own.
    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write one section for each group; a command that is in none comes last."""
        left = [name for name in self.list_commands(ctx) if not any(name in names for names in GROUPS.values())]
        for title, names in {**GROUPS, "More": tuple(left)}.items():
            rows = [(name, _first_sentence(self.commands[name])) for name in names if name in self.commands]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)
        with formatter.section("Exit codes"):
            formatter.write_dl(exit_codes.rows())


def _first_sentence(command: Any) -> str:
    """Return what a command does; click itself would cut it."""
    text = " ".join((command.help or "").split("\n\n")[0].split())
    return text.partition(". ")[0].rstrip(".")


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        from sweeper.provenance import own_version, revision_of_code

        revision = revision_of_code()
        print(f"sweeper {own_version()}" + (f" ({revision[:12]})" if revision else ""))
        raise typer.Exit


def options_of_the_program(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Map how a neural network trades breadth, depth and time against each other."""
