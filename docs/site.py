"""A hook of mkdocs that lets pages of the site link to files outside `docs/`, as they do in the repository.

A link such as `../../cluster/README.md` works in the repository, but leads out of the site. Every file that a page
links to in this way becomes part of the site, inside `repository/`: Markdown as a page, other files unchanged. Links
between all of these files are adapted.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the code below is also tested without mkdocs
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parent.parent

_LINK = re.compile(r"(\]\()((?!https?:|mailto:|#)[^)#\s]+)([^)]*\))")
_FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def links_of(text: str) -> list[str]:
    """Return the links of a Markdown page within the repository, except those in its blocks of code."""
    return [match[2] for part in _FENCED.split(text)[::2] for match in _LINK.finditer(part)]


def place_of(path: str) -> str:
    """Return the place of a repository's file in the site."""
    return path.removeprefix("docs/") if path.startswith("docs/") else f"repository/{path}"


def path_of(place: str) -> str:
    """Return the repository's file at a place of the site."""
    return place.removeprefix("repository/") if place.startswith("repository/") else f"docs/{place}"


def target_of(path: str, link: str) -> str:
    """Return the target of a link in the file at `path`, as a path from the top of the repository."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), link))


def linked_files(pages: list[str]) -> list[str]:
    """Return the files outside `docs/` that pages link to, directly or through other linked pages."""
    found: dict[str, None] = {}
    while pages:
        path = pages.pop()
        for link in links_of((ROOT / path).read_text(encoding="utf-8")):
            target = target_of(path, link)
            if target.startswith(("docs/", "../")) or target in found or not (ROOT / target).is_file():
                continue
            found[target] = None
            pages += [target] if target.endswith(".md") else []
    return sorted(found)


def on_files(files: Files, config: Any) -> Files:
    """Add the files that pages link to."""
    from mkdocs.structure.files import File

    for path in linked_files([path_of(page.src_uri) for page in files.documentation_pages()]):
        files.append(File.generated(config, place_of(path), abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Turn links between files of the repository into links between places of the site."""
    own = page.file.src_uri

    def moved(match: re.Match[str]) -> str:
        place = place_of(target_of(path_of(own), match[2]))
        return f"{match[1]}{os.path.relpath(place, posixpath.dirname(own) or '.')}{match[3]}"

    parts = _FENCED.split(markdown)
    return "".join(part if at % 2 else _LINK.sub(moved, part) for at, part in enumerate(parts))
