"""Measures the processor time of commands, in this checkout and in others for comparison: the least of several calls.

The commands read an existing sweep with its MLflow in its home. The checkouts take turns, so that other load on the
machine affects all alike.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sweeper.ledger.home import Home
from sweeper.tracking.trackers import reader_of

ROOT = Path(__file__).parents[1]

#: The measured commands; KEY stands for the key of a network of the front.
COMMANDS = (
    "status SWEEP",
    "pareto SWEEP",
    "trials SWEEP",
    "watch SWEEP --once",
    "plot SWEEP",
    "show KEY",
    "export KEY -o network.safetensors",
)

#: Commands that are also measured with an MLflow server.
OF_MLFLOW = ("pareto SWEEP", "trials SWEEP", "watch SWEEP --once", "plot SWEEP")


def seconds(checkout: Path, words: Sequence[str]) -> float:
    """Return the processor seconds, user and system, of one call of a command.

    Raises:
        CalledProcessError: If the command fails.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    before = _used()
    with tempfile.TemporaryDirectory() as place:
        program = [sys.executable, "-P", "-m", "sweeper", *words]
        subprocess.run(program, env=environment, cwd=place, check=True, stdout=subprocess.DEVNULL)
    return _used() - before


def _used() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def rows(
    commands: Sequence[str], meant: Mapping[str, str], more: Sequence[str], checkouts: Sequence[Path], calls: int
) -> Iterator[tuple[str, list[float]]]:
    """Yield each command with its least seconds in every checkout."""
    for command in commands:
        words = [*(meant.get(word, word) for word in command.split()), *more]
        taken = [[seconds(checkout, words) for checkout in checkouts] for _ in range(calls + 1)]
        yield command, [min(of_one) for of_one in zip(*taken[1:], strict=True)]  # the first call compiles Python files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path, help="a home with a sweep that has run")
    parser.add_argument("sweep", help="the sweep's name")
    parser.add_argument("--server", metavar="URL", help="an MLflow server that has the sweep too")
    parser.add_argument("--beside", type=Path, action="append", default=[], help="another checkout, such as of before")
    parser.add_argument("--calls", type=int, default=3)
    given = parser.parse_args()
    key = reader_of(Home(given.home).tracking_uri_of(given.sweep), given.sweep).networks().keys[0]
    meant = {"SWEEP": given.sweep, "KEY": key}
    checkouts = [*(path.absolute() for path in given.beside), ROOT]
    print(f"| command | {' | '.join(f'{path.name}, s' for path in checkouts)} | share |")
    print(f"|---|{'---:|' * (len(checkouts) + 1)}")
    asked = [(COMMANDS, ["--home", str(given.home.absolute())], "")]
    asked += [(OF_MLFLOW, ["--tracking-uri", given.server], ", of a server")] if given.server else []
    for commands, more, where in asked:
        for command, taken in rows(commands, meant, more, checkouts, given.calls):
            told = " | ".join(f"{one:.2f}" for one in taken)
            print(f"| `{command}`{where} | {told} | {taken[-1] / taken[0]:.2f} |", flush=True)


if __name__ == "__main__":
    main()
