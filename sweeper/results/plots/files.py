"""Pictures as files: a page that works offline, and SVG, PNG or PDF, which a browser without a window draws."""

from __future__ import annotations

import asyncio
import contextlib
import html
import json
import logging
import os
import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kaleido
import plotly.graph_objects as go
from kaleido.errors import BrowserClosedError, BrowserFailedError, ChromeNotFoundError, JavascriptError, KaleidoError
from plotly.offline import get_plotlyjs

from sweeper.errors import PictureError, QueryError
from sweeper.results.plots.style import Picture, template, themed

FORMATS = ("html", "svg", "png", "pdf")

#: Pixels, where nothing else is asked for, and what is sensible.
WIDTH = 900
LEAST_WIDTH, MOST_WIDTH = 300, 4000

#: Seconds that a browser may take to start and to draw one picture; the first start on a slow disk takes many.
TIME_LIMIT_S = 120.0

#: Seconds to tidy up after a browser that was ended.
_CLOSING_S = 10.0

#: PNGs have two dots a pixel, so that they are sharp in print and on screens.
_DOTS = 2

_PAPERS = {False: "#ffffff", True: "#14181d"}

_WAYS_OUT = "Install Chrome or Chromium, set BROWSER_PATH to the program of one, or write a page instead: -o FILE.html."


@dataclass(frozen=True)
class PictureFormat:
    """How a picture is written.

    Attributes:
        kind: One of `FORMATS`.
        width: In pixels; pages are as wide as their window.
        is_dark: Light ink on dark paper; pages follow the reader's system.
    """

    kind: str
    width: int = WIDTH
    is_dark: bool = False


def kind_of(path: Path) -> str:
    """Return the format that a file's name asks for.

    Raises:
        QueryError: If it asks for another one.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise QueryError(
            f"a picture's name must end in .html, .svg, .png or .pdf, but got {path}. Name another file with -o."
        )
    return kind


def written(picture: Picture, sheet: PictureFormat, time_limit_s: float = TIME_LIMIT_S) -> bytes:
    """Return a picture as the content of a file.

    Raises:
        PictureError: If it takes a browser and there is none, or it fails or takes longer than the limit.
    """
    return _page(picture) if sheet.kind == "html" else _exported(picture, sheet, time_limit_s)


# --- pages ----------------------------------------------------------------------------------------

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ margin: 1rem auto; max-width: 75rem; padding: 0 1rem; background: {light}; color: #1f2933;
  font: 15px/1.45 Helvetica, Arial, 'DejaVu Sans', sans-serif; }}
h1 {{ font-size: 1.25rem; }}
@media (prefers-color-scheme: dark) {{ body {{ background: {dark}; color: #e6eaee; }} }}
</style>
<script>{library}</script>
</head>
<body>
<h1>{title}</h1>
<div id="picture"></div>
<p>{caption}</p>
<script>
const figure = {figure};
const inks = {inks};
const dark = matchMedia("(prefers-color-scheme: dark)");
const ink = () => inks[dark.matches ? 1 : 0];
figure.layout.template = ink();
Plotly.newPlot("picture", figure.data, figure.layout, {{responsive: true, displaylogo: false}});
dark.addEventListener("change", () => Plotly.relayout("picture", {{template: ink()}}));
</script>
</body>
</html>
"""


def _page(picture: Picture) -> bytes:
    inks = json.dumps([template(dark=dark).to_plotly_json() for dark in (False, True)])
    return _PAGE.format(
        title=html.escape(picture.title),
        caption=html.escape(picture.caption),
        library=get_plotlyjs(),
        figure=_in_script(picture.figure.to_json()),
        inks=_in_script(inks),
        light=_PAPERS[False],
        dark=_PAPERS[True],
    ).encode()


def _in_script(text: str) -> str:
    """Return JSON so that nothing in it ends the script it stands in."""
    return text.replace("<", "\\u003c")


# --- what a browser draws -------------------------------------------------------------------------


def _exported(picture: Picture, sheet: PictureFormat, time_limit_s: float) -> bytes:
    figure = themed(picture.figure, dark=sheet.is_dark)
    figure.update_layout(paper_bgcolor=_PAPERS[sheet.is_dark])
    for index, trace in enumerate(figure.data):
        trace.uid = f"{index:06d}"  # else plotly draws lots, and no SVG would be as the one before
    try:
        data = asyncio.run(_drawn(figure, sheet, time_limit_s))
    except ChromeNotFoundError as error:
        raise PictureError(f"a .{sheet.kind} takes a browser to draw, and none was found here. {_WAYS_OUT}") from error
    except (BrowserFailedError, BrowserClosedError, TimeoutError) as error:
        raise PictureError(
            f"a .{sheet.kind} takes a browser to draw, and the one here did not start, or not answer within "
            f"{time_limit_s:g} s. {_WAYS_OUT}"
        ) from error
    except (KaleidoError, JavascriptError, OSError) as error:
        said = " ".join(str(error).split())[:300]
        raise PictureError(
            f"the browser could not draw {picture.name} as .{sheet.kind}: {said}. Write a page instead: -o FILE.html."
        ) from error
    return _always_alike(data) if sheet.kind == "svg" else data


async def _drawn(figure: go.Figure, sheet: PictureFormat, time_limit_s: float) -> bytes:
    # What a broken browser is worth saying is in the error; the rest is about the library's own doings.
    for name in ("choreographer", "kaleido"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    size = {"format": sheet.kind, "width": sheet.width, "height": figure.layout.height}
    browser = kaleido.Kaleido(
        page_generator=kaleido.PageGenerator(mathjax=False),  # formulas would be fetched from elsewhere
        timeout=time_limit_s,
    )
    try:
        drawing = _drawn_by(browser, figure, {**size, "scale": _DOTS if sheet.kind == "png" else 1})
        return await asyncio.wait_for(drawing, time_limit_s)
    finally:
        await _end(browser)


async def _drawn_by(browser: kaleido.Kaleido, figure: go.Figure, how: Mapping[str, Any]) -> bytes:
    async with browser:
        return bytes(await browser.calc_fig(figure, opts=how))


async def _end(browser: kaleido.Kaleido) -> None:
    """End a browser that did not end by itself, with all its processes.

    The library leaves one alone that hangs while it starts, and a thread of its own waits for its answers for ever: the
    program would not end, though it had said what is wrong.
    """
    process = getattr(browser, "subprocess", None)  # none before it is started
    if process is None or process.poll() is not None:
        return
    with contextlib.suppress(ProcessLookupError):  # it ended in between
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)  # it leads a group of its own
        else:
            process.kill()
    process.wait()
    await asyncio.wait_for(browser.close(), _CLOSING_S)


def _always_alike(svg: bytes) -> bytes:
    """Replace the random part in the names of an SVG's parts: the same picture is the same file."""
    found = re.search(rb'id="defs-([0-9a-f]{6})"', svg)
    return svg.replace(found[1], b"000000") if found else svg
