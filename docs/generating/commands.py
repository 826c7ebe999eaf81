"""The reference of commands, and of the environment variables that replace their options, from typer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer
from typer.core import TyperGroup

from docs.generating.markdown import table
from sweeper.cli.groups import examples_of
from sweeper.cli.run import app
from sweeper.exit_codes import MEANINGS, STOPPED


def all_commands() -> Mapping[str, Any]:
    """Return the commands by name, in the order of `sweeper --help`."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    return group.commands


def reference() -> str:
    """Return a section for each command: its usage, its purpose, its arguments and options, and an example."""
    return "\n\n".join(_section(name, command) for name, command in all_commands().items())


def variables() -> str:
    """Return the environment variables that replace options, and the commands that read them."""
    found: dict[str, dict[str, list[str]]] = {}
    for name, command in all_commands().items():
        for option in command.params:
            if isinstance(option.envvar, str):
                found.setdefault(option.envvar, {}).setdefault(option.opts[0], []).append(name)
    rows = [
        [f"`{variable}`", f"`{option}`", ", ".join(f"[`{name}`](commands.md#sweeper-{name})" for name in names)]
        for variable, options in sorted(found.items())
        for option, names in options.items()
    ]
    return table(["variable", "the same as", "of the commands"], rows)


def exit_codes() -> str:
    """Return the exit codes of commands."""
    stopped = ", ".join(f"{number} ({name})" for name, number in STOPPED.items())
    rows = [[str(code.value), text] for code, text in MEANINGS.items()]
    return table(
        ["exit code", "meaning"], [*rows, [stopped, "stopped by a signal; `run` and `resume` say how to go on"]]
    )


def _section(name: str, command: Any) -> str:
    context = typer.Context(command, info_name=name)
    parts = [
        f"## sweeper {name}",
        f"```text\nsweeper {name} {' '.join(command.collect_usage_pieces(context))}\n```",
        *_paragraphs(command.help or ""),
    ]
    for title, records in command.records(context).items():
        rows = [[f"`{name}`", meaning] for name, meaning in records if name != "--help"]
        parts += [table([title.lower().removesuffix("s"), "meaning"], rows)] if rows else []
    parts.append("\n".join(["```sh", *examples_of(command.epilog), "```"]))
    return "\n\n".join(parts)


def _paragraphs(text: str) -> list[str]:
    return [" ".join(part.split()) for part in text.split("\n\n") if part.strip()]
