"""Writes the generated parts of the documentation: `python -m docs.generate`, from the top of the repository.

A page is written by hand except for the parts between two marks, which this script owns:

    <!-- generated: columns POINT -->
    …
    <!-- end of generated -->

The first word names the generator, the others are its arguments. `--check` writes nothing: it names the files that this
script would rewrite, and exits with 1 if there are any.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from docs.generating import (
    columns,
    commands,
    faults,
    files,
    findings,
    hostile,
    imports,
    python_interface,
    rooms,
    schema,
    spec,
)

DOCS = Path(__file__).parent

#: First word of a mark -> the function that writes its part, given the other words.
PARTS: Mapping[str, Callable[..., str]] = {
    "chain": rooms.chain,
    "columns": columns.table,
    "commands": commands.reference,
    "conditions": findings.conditions,
    "controls": findings.controls,
    "correlations": findings.correlations,
    "damage": hostile.damage,
    "effects": findings.effects,
    "environment": commands.variables,
    "exit-codes": commands.exit_codes,
    "file": files.block,
    "hostile-input": hostile.hostile_input,
    "kills": faults.kills,
    "ladder": findings.ladder,
    "probes": findings.probes,
    "python": python_interface.reference,
    "rooms": rooms.table,
    "spaces": spec.shipped,
    "spec": spec.reference,
}

#: Files that are generated as a whole: path relative to `docs/` -> the function that writes them.
FILES: Mapping[str, Callable[[], str]] = {
    "images/imports.svg": imports.picture,
    f"../search_spaces/{schema.FILE}": schema.text,
}

_PART = re.compile(r"(<!-- generated: (.*?) -->\n).*?(<!-- end of generated -->)", re.DOTALL)


def filled(page: str) -> str:
    """Return a page with the parts between its marks regenerated.

    Raises:
        KeyError: If a mark names an unknown part.
    """

    def part(match: re.Match[str]) -> str:
        name, *about = match[2].split()
        return f"{match[1]}\n{PARTS[name](*about).strip()}\n\n{match[3]}"

    return _PART.sub(part, page)


def wanted() -> dict[Path, str]:
    """Return the expected content of each page, and of each file that is generated as a whole."""
    pages = {path: filled(path.read_text(encoding="utf-8")) for path in sorted(DOCS.rglob("*.md"))}
    return pages | {Path(os.path.normpath(DOCS / name)): make() for name, make in FILES.items()}


def stale() -> list[Path]:
    """Return the files whose content is outdated."""
    return [path for path, text in wanted().items() if not path.exists() or path.read_text(encoding="utf-8") != text]


def main() -> None:
    """Rewrite outdated files; with `--check` only name them, and exit with 1 if there are any."""
    found, is_check = wanted(), "--check" in sys.argv
    for path in (stale_files := stale()):
        print(f"{path.relative_to(DOCS.parent)} {'is stale' if is_check else 'is written anew'}")
        if not is_check:
            path.write_text(found[path], encoding="utf-8")
    sys.exit(1 if is_check and stale_files else 0)


if __name__ == "__main__":
    main()
