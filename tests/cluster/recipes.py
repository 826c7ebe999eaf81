"""Helpers for tests of several recipes: files, the commands in them, and placeholders."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import typer

from sweeper.cli.run import app

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
COMMANDS = typer.main.get_command(app).commands

#: Placeholders that a recipe's user replaces; the recipe's README must name each of them.
PLACEHOLDER = re.compile(r"CHANGE-ME(?:-[A-Z]+)*")


def with_options(text):
    """Return a recipe with its optional lines, which begin with `#+`, switched on."""
    return re.sub(r"#\+ ?", "", text)


def commands_in(text):
    """Return the words of every sweeper command in a script or in the indented lines of a document."""
    joined = re.sub(r"\\\n", " ", text)
    lines = [re.split(r"(?:^| )#", line)[0] for line in joined.splitlines()]
    found = [re.search(r"^ *(?:exec )?sweeper (\w+ .*?) *(?:&|\|\|.*|>.*)?$", line) for line in lines]
    return [shlex.split(match[1]) for match in found if match]


def assert_understood(words):
    """Parse a command as the command line does, up to where it would run."""
    command, *rest = words
    assert command in COMMANDS, f"sweeper has no command {command}"
    assert COMMANDS[command].make_context(command, rest).params
