"""The `sweeper` command, which is the same as `python -m sweeper`; a failed import becomes one sentence.

Python puts the current folder first on the path of `python -m`. A file there could hide a package of the same name, so
the folder is removed again, unless sweeper itself is in it.
"""

from __future__ import annotations

import os
import sys

from sweeper.cli.streams import kept_streams
from sweeper.imports import import_problem, way_out


def main() -> None:
    """Run the command line; a missing, broken or hidden package becomes one message and exit code 2."""
    with kept_streams(sys.argv[1:]):
        try:
            from sweeper.cli.run import main as run

            run()
        except (Exception, SystemExit) as error:  # a file that hides a package may even end the program
            if not (problem := import_problem(error)):
                raise
            print(f"sweeper: {problem}. {way_out(problem)}.", file=sys.stderr)
            sys.exit(2)


def _leave_current_folder() -> None:
    own = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    if not sys.flags.safe_path and sys.path and os.path.realpath(sys.path[0]) == os.getcwd() != own:
        del sys.path[0]


if __name__ == "__main__":
    _leave_current_folder()
    main()
