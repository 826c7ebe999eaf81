"""Writes pictures as files: pages that work offline, CSV, and SVG, PNG or PDF, which a headless browser draws."""

from __future__ import annotations

import asyncio
import contextlib
import html
import json
import logging
import os
import re
import signal
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import kaleido
import plotly.graph_objects as go
from kaleido.errors import BrowserClosedError, BrowserFailedError, ChromeNotFoundError, JavascriptError, KaleidoError
from plotly.offline import get_plotlyjs

from sweeper.errors import PictureError
from sweeper.results.plots.numbers import as_csv
from sweeper.results.plots.scripts import brushing_script
from sweeper.results.plots.sizes import PictureFormat
from sweeper.results.plots.style import Picture, template, themed

#: Longest time for a browser to start and draw one picture, in seconds; the first start from a slow disk is slow.
TIME_LIMIT_S = 120.0

#: Longest time to clean up after a browser was killed, in seconds.
_CLOSING_S = 10.0

_PAPERS = {False: "#ffffff", True: "#14181d"}

_WAYS_OUT = "Install Chrome or Chromium, set BROWSER_PATH to the program of one, or write a page instead: -o FILE.html."


def written(picture: Picture, sheet: PictureFormat, time_limit_s: float = TIME_LIMIT_S) -> bytes:
    """Return a picture as the content of a file.

    Raises:
        PictureError: If the format needs a browser and none is found, or the browser fails or exceeds the limit.
        QueryError: If the picture does not fit into the requested size.
    """
    (content,) = all_written([picture], sheet, time_limit_s)
    return content


def all_written(pictures: Sequence[Picture], sheet: PictureFormat, time_limit_s: float = TIME_LIMIT_S) -> list[bytes]:
    """Return pictures as contents of files, all drawn by one browser.

    Args:
        pictures: The pictures, in the order of the result.
        sheet: Format and size.
        time_limit_s: Seconds for each picture.

    Raises:
        PictureError: If the format needs a browser and none is found, or the browser fails or exceeds the limit.
        QueryError: If a picture does not fit into the requested size.
    """
    if not pictures or sheet.kind == "csv":
        return [as_csv(picture) for picture in pictures]
    if sheet.kind == "html":
        return [_page(picture, sheet) for picture in pictures]
    return _exported([picture.flat or picture for picture in pictures], sheet, time_limit_s)


def room_of(picture: Picture, sheet: PictureFormat) -> tuple[float, float]:
    """Return width and height of a picture in pixels, before scaling.

    Raises:
        QueryError: If the picture does not fit into the requested size.
    """
    return sheet.room((picture.flat or picture).sketch, picture.name)


def _letters(figure: go.Figure, sheet: PictureFormat) -> None:
    """Set the requested font, and hide the legend if requested."""
    if sheet.font is not None:
        figure.update_layout(font_family=sheet.font)
    if not sheet.has_legend:
        figure.update_layout(showlegend=False)


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
<p id="caption">{caption}</p>
<script>
{script}
const whole = {figure};
const flat = {flat};
const hasWebGL = () => Boolean(document.createElement("canvas").getContext("webgl"));
const isFlat = flat !== null && !hasWebGL();
const figure = isFlat ? flat : whole;
if (isFlat) document.getElementById("caption").textContent = {flat_caption};
const inks = {inks};
const dark = matchMedia("(prefers-color-scheme: dark)");
const ink = () => inks[dark.matches ? 1 : 0];
figure.layout.template = ink();
const plot = document.getElementById("picture");
Plotly.newPlot(plot, figure.data, figure.layout, {{
  responsive: true,
  displaylogo: false,
  // Plotly offers to upload a chart to its makers: what is on a page stays on it.
  showSendToCloud: false,
  plotlyServerURL: "",
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
}}).then(() => {{
  if ((figure.layout.meta || {{}}).parallel) chooseAlong(plot, () => undefined);
}});
dark.addEventListener("change", () => Plotly.relayout("picture", {{template: ink()}}));
</script>
</body>
</html>
"""


def _page(picture: Picture, sheet: PictureFormat) -> bytes:
    inks = json.dumps([template(dark=dark).to_plotly_json() for dark in (False, True)])
    figure, flat = go.Figure(picture.figure), go.Figure(picture.flat.figure) if picture.flat else None
    for one in (figure, flat):
        if one is not None:
            _letters(one, sheet)
    return _PAGE.format(
        title=html.escape(picture.title),
        caption=html.escape(picture.caption),
        library=get_plotlyjs(),
        script=brushing_script(),
        figure=_in_script(figure.to_json()),
        flat="null" if flat is None else _in_script(flat.to_json()),
        flat_caption=_in_script(json.dumps(picture.flat.caption if picture.flat else "")),
        inks=_in_script(inks),
        light=_PAPERS[False],
        dark=_PAPERS[True],
    ).encode()


def _in_script(text: str) -> str:
    """Escape JSON so that nothing in it ends the script element around it."""
    return text.replace("<", "\\u003c")


# --- drawn by a browser ---------------------------------------------------------------------------


def _exported(pictures: Sequence[Picture], sheet: PictureFormat, time_limit_s: float) -> list[bytes]:
    figures = []
    scale = sheet.scale * (sheet.dots if sheet.kind == "png" else 1)
    for picture in pictures:
        figure = themed(picture.figure, dark=sheet.is_dark)
        width, height = room_of(picture, sheet)
        if sheet.kind == "png":  # round to whole dots, because the browser truncates
            width, height = (round(side * scale) + 0.01 for side in (width, height))
            width, height = width / scale, height / scale
        figure.update_layout(paper_bgcolor=_PAPERS[sheet.is_dark], width=width, height=height)
        _letters(figure, sheet)
        for index, trace in enumerate(figure.data):
            trace.uid = f"{index:06d}"  # else plotly takes random ids, and the SVG differs each time
        figures.append(figure)
    try:
        drawn = asyncio.run(_drawn(figures, {"format": sheet.kind, "scale": scale}, time_limit_s))
    except ChromeNotFoundError as error:
        raise PictureError(f"a .{sheet.kind} takes a browser to draw, and none was found here. {_WAYS_OUT}") from error
    except (BrowserFailedError, BrowserClosedError, TimeoutError) as error:
        raise PictureError(
            f"a .{sheet.kind} takes a browser to draw, and the one here did not start, or not answer within "
            f"{time_limit_s:g} s. {_WAYS_OUT}"
        ) from error
    except (KaleidoError, JavascriptError, OSError) as error:
        said = " ".join(str(error).split())[:300]
        names = pictures[0].name if len(pictures) == 1 else f"one of {len(pictures)} pictures"
        raise PictureError(
            f"the browser could not draw {names} as .{sheet.kind}: {said}. Write a page instead: -o FILE.html."
        ) from error
    finish = {"svg": _finished_svg, "png": _finished_png}.get(sheet.kind)
    return [finish(one, sheet) for one in drawn] if finish else drawn


async def _drawn(figures: Sequence[go.Figure], how: Mapping[str, Any], time_limit_s: float) -> list[bytes]:
    # The error says all that a user needs about a broken browser; the libraries' logs would only add noise.
    for name in ("choreographer", "kaleido"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    browser = kaleido.Kaleido(
        page_generator=kaleido.PageGenerator(mathjax=False),  # mathjax would be fetched from the internet
        timeout=time_limit_s,
    )
    try:
        drawing = _drawn_by(browser, figures, how)
        return await asyncio.wait_for(drawing, time_limit_s * len(figures))
    finally:
        await _end(browser)


async def _drawn_by(browser: kaleido.Kaleido, figures: Sequence[go.Figure], how: Mapping[str, Any]) -> list[bytes]:
    async with browser:
        return [
            bytes(
                await browser.calc_fig(
                    figure, opts={**how, "width": figure.layout.width, "height": figure.layout.height}
                )
            )
            for figure in figures
        ]


async def _end(browser: kaleido.Kaleido) -> None:
    """Kill a browser that has not ended, with all its processes.

    The library does not kill a browser that hangs while it starts, and one of the library's threads waits for its
    answers for ever. The program would report the error but never exit.
    """
    process = getattr(browser, "subprocess", None)  # None before the start
    if process is None or process.poll() is not None:
        return
    with contextlib.suppress(ProcessLookupError):  # it ended in between
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)  # the browser leads a process group of its own
        else:
            process.kill()
    process.wait()
    await asyncio.wait_for(browser.close(), _CLOSING_S)


def _finished_svg(svg: bytes, sheet: PictureFormat) -> bytes:
    """Replace the random part of an SVG's ids, and write its size in the requested unit.

    So the same picture gives the same bytes, and a document includes it at its real size.
    """
    found = re.search(rb'id="defs-([0-9a-f]{6})"', svg)
    svg = svg.replace(found[1], b"000000") if found else svg
    sides = [("width", sheet.width)] if sheet.width.on_paper else []
    sides += [("height", sheet.height)] if sheet.height is not None and sheet.height.on_paper else []
    if not sides:
        return svg
    root, rest = svg.split(b">", 1)
    for side, length in sides:
        root = re.sub(rf' {side}="[^"]*"'.encode(), f' {side}="{length}"'.encode(), root, count=1)
    if len(sides) == 1:  # the drawing determines the other side
        (other,) = {"width", "height"} - {sides[0][0]}
        pixels = re.search(rf' {other}="([^"]*)"'.encode(), root)
        assert pixels is not None
        mm = float(pixels[1]) / 96 * 25.4
        root = root.replace(pixels[0], f' {other}="{mm:.6g}mm"'.encode())
    return root + b">" + rest


def _finished_png(png: bytes, sheet: PictureFormat) -> bytes:
    """Write the resolution into a PNG that has a size on paper."""
    if not sheet.is_measured:
        return png
    a_metre = round(sheet.dots * 96 / 0.0254)
    chunk = b"pHYs" + struct.pack(">IIB", a_metre, a_metre, 1)
    said = struct.pack(">I", 9) + chunk + struct.pack(">I", zlib.crc32(chunk))
    after_head = 8 + 12 + 13  # signature, and the first chunk, whose content is 13 bytes long
    return png[:after_head] + said + png[after_head:]
