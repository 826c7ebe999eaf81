"""The program's help, with commands in groups and each command's whole first sentence, and its option --version."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

from sweeper import exit_codes

#: Commands by purpose, in the order in which users need them.
GROUPS = {
    "Write a sweep": ("init", "validate"),
    "Run a sweep": ("plan", "run", "resume", "mirror"),
    "Run it on a cluster": ("submit", "stop", "logs"),
    "See how it goes": ("list", "status", "watch", "ui"),
    "Ask what came out": ("pareto", "trials", "findings", "plot", "report"),
    "Take a network": ("show", "steps", "export"),
    "Check": ("doctor", "audit"),
    "Keep house": ("rename", "archive", "unarchive", "clean", "delete"),
}


_Function = TypeVar("_Function", bound=Callable[..., Any])


def command(app: typer.Typer, *examples: str, name: str | None = None) -> Callable[[_Function], _Function]:
    """Return a decorator that makes a function a command, with usage examples at the end of its help."""
    title = "Example" if len(examples) == 1 else "Examples"
    # Click does not rewrap a paragraph that begins with \b.
    return app.command(
        name, cls=Command, epilog="\n".join(["\b", f"{title}:", *(f"  {example}" for example in examples)])
    )


def examples_of(epilog: str | None) -> list[str]:
    """Return the examples of a command from its epilog; see `command`."""
    return [line.strip() for line in (epilog or "").splitlines()[2:]]


class Command(TyperCommand):
    """A command whose help shows placeholders without Python's types and without braces."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words that follow the command's name in its usage line."""
        return [piece[1:-1] if piece.startswith("{") else piece for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write a section of arguments and one of options."""
        for title, rows in self.records(ctx).items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def records(self, ctx: Any) -> dict[str, list[tuple[str, str]]]:
        """Return names and meanings of arguments, and of options."""
        found: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for one in self.get_params(ctx):
            if record := one.get_help_record(ctx):  # None for a hidden parameter
                is_argument = isinstance(one, TyperArgument)
                name = re.sub(r" <[^>]+>$", "", record[0]) if is_argument else record[0]
                found["Arguments" if is_argument else "Options"].append((name, record[1]))
        return found


class Groups(TyperGroup):
    """Lists commands by purpose."""

    # Any stands for types of click, which some versions of typer bundle under another name.
    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write a section for each group, then one for commands without a group, then the exit codes."""
        left = [name for name in self.list_commands(ctx) if not any(name in names for names in GROUPS.values())]
        for title, names in {**GROUPS, "More": tuple(left)}.items():
            rows = [(name, _first_sentence(self.commands[name])) for name in names if name in self.commands]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)
        with formatter.section("Exit codes"):
            formatter.write_dl(exit_codes.rows())


def _first_sentence(command: Any) -> str:
    """Return the first sentence of a command's help, which click would cut short."""
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
