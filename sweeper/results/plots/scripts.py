"""The scripts that pages with pictures share."""

from __future__ import annotations

from importlib.resources import files


def brushing_script() -> str:
    """Return the script that lets the reader of a page choose lines along parallel axes."""
    return files("sweeper.results.plots").joinpath("page_files", "parallel.js").read_text("utf-8")
