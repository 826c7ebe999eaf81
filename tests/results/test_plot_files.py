"""Pictures as files: sizes on paper, fonts, numbers as CSV, all pictures at once, and several sweeps in one picture."""

from __future__ import annotations

import csv
import io
import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sweeper.errors import QueryError
from sweeper.results.plots.catalogue import picture_of, pictures_of
from sweeper.results.plots.files import written
from sweeper.results.plots.fonts import checked_font, installed_fonts
from sweeper.results.plots.numbers import as_csv
from sweeper.results.plots.points import Points
from sweeper.results.plots.sizes import Length, PictureFormat, length_in
from sweeper.results.plots.style import sketch
from tests.cli.test_run import mistaken, place, sweeper  # noqa: F401  # fixtures
from tests.results.test_plots import loaded, plain, uri  # noqa: F401  # fixtures
from tests.support.browser import browser_path

FRONT = ["plot", "first", "front-breadth", "--task", "digits-10"]

needs_browser = pytest.mark.skipif(browser_path() is None, reason="there is no Chromium or Chrome: see `make browser`")


# --- sizes ----------------------------------------------------------------------------------------


@given(st.floats(20, 1000), st.sampled_from([("mm", 1.0), ("cm", 10.0), ("in", 25.4), ("pt", 25.4 / 72)]))
def test_length_is_the_same_in_every_unit(mm, unit):
    name, in_mm = unit
    length = length_in(f"{mm / in_mm:.9f} {name.upper()}", "--width")
    assert length.on_paper
    assert math.isclose(length.pixels, mm / 25.4 * 96, rel_tol=1e-6)


@pytest.mark.parametrize("text", ["", "mm", "85 m", "85mm wide", "1e9", "12.5", "inf", "nan", "-900", "0mm", "10000mm"])
def test_what_is_no_length_of_a_picture_is_refused_with_what_was_written(text):
    with pytest.raises(QueryError) as refused:
        length_in(text, "--width")
    assert text in str(refused.value)


@given(st.floats(75, 300), st.floats(75, 300), st.floats(5, 10))
def test_whatever_the_letters_the_picture_is_as_large_as_was_asked(width, height, points):
    sheet = PictureFormat("svg", width=Length(width, "mm"), height=Length(height, "mm"), font_size=points)
    across, up = sheet.room(sketch([]), "front")
    assert math.isclose(across * sheet.scale, width / 25.4 * 96)
    assert math.isclose(up * sheet.scale, height / 25.4 * 96)


def test_picture_that_does_not_fit_says_how_high_it_is():
    sheet = PictureFormat("svg", width=Length(85, "mm"), height=Length(50, "mm"))
    with pytest.raises(
        QueryError, match=r"networks with letters of 8 points is .*mm high at least, but got --height 50mm"
    ):
        sheet.room(sketch([], 1200), "networks")
    dense = PictureFormat("png", width=Length(1000, "mm"), dpi=2400)
    with pytest.raises(QueryError, match=r"dots long.*Choose a smaller --dpi"):
        dense.room(sketch([]), "front")


def test_font_is_found_by_any_spelling_and_a_missing_one_names_those_that_are_there():
    known = installed_fonts()
    assert known, "a machine that draws has a font"
    assert checked_font(known[0].upper()) == known[0]
    assert checked_font("Serif") == "serif"
    with pytest.raises(QueryError, match=f"Did you mean '{re.escape(known[0])}'"):
        checked_font(f"{known[0]}x")
    with pytest.raises(QueryError, match="'No Such Letters' is not installed here \\(there are serif"):
        checked_font("No Such Letters")


@needs_browser
@pytest.mark.slow
def test_files_are_as_large_as_was_asked_and_in_the_font(uri, sweeper, place):  # noqa: F811
    said = sweeper(
        *FRONT, "--tracking-uri", uri, "-o", "f.svg", "-o", "f.png", "-o", "f.pdf", "-o", "f.csv", "--width", "85mm",
        "--height", "2.5in", "--dpi", "600", "--font", "dejavu serif", "--font-size", "7", "--no-legend",
    )  # fmt: skip
    assert said.code == 0, said.err
    svg = (place / "f.svg").read_text()
    assert re.match(r'<svg [^>]*width="85mm" height="2.5in"', svg)
    across, up = (float(part) for part in re.search(r'viewBox="0 0 ([0-9.]+) ([0-9.]+)"', svg).groups())
    assert math.isclose(across / up, 85 / 63.5)
    assert "DejaVu Serif" in svg
    assert 'class="legend"' not in svg
    # Letters are sized in pixels of the drawing: on paper they must be 7 points high.
    letters = float(re.search(r'class="xtick".*?font-size: ([0-9.]+)px', svg)[1])
    assert math.isclose(letters * (85 / 25.4 * 72 / across), 7, rel_tol=1e-3)
    png = Image.open(place / "f.png")
    assert png.size == (round(85 / 25.4 * 600), 2.5 * 600)
    assert all(abs(dpi - 600) < 0.1 for dpi in png.info["dpi"])
    pdf = (place / "f.pdf").read_bytes()
    box = re.search(rb"/MediaBox *\[0 0 ([0-9.]+) ([0-9.]+)\]", pdf)
    assert abs(float(box[1]) - 85 / 25.4 * 72) < 0.5
    assert abs(float(box[2]) - 2.5 * 72) < 0.5
    assert b"DejaVuSerif" in pdf, "its letters are in it"
    assert (place / "f.csv").read_text().startswith("series,")


@needs_browser
@pytest.mark.slow
def test_picture_in_space_is_flat_on_paper_and_turns_on_a_page(uri):  # noqa: F811
    picture = picture_of(loaded(uri), "digits-10", "front-3d")
    svg = written(picture, PictureFormat("svg")).decode()
    assert "<image" not in svg, "drawn by lines, not by dots"
    assert all(f"xy{suffix}" in svg.replace("x2y", "xy").replace("x3y", "xy") for suffix in ("", "2", "3"))
    page = written(picture, PictureFormat("html")).decode()
    assert '"type":"scatter3d"' in page
    assert picture.caption in page
    assert json.dumps(picture.flat.caption) in page


# --- numbers --------------------------------------------------------------------------------------


def rows_of(picture):
    return list(csv.DictReader(io.StringIO(as_csv(picture).decode())))


@pytest.mark.parametrize(
    "name", ["front-breadth", "front-time", "trade-breadth-time", "growth-breadth", "hypervolume-time"]
)
def test_numbers_are_those_that_are_drawn(uri, name):  # noqa: F811
    picture = picture_of(loaded(uri), "digits-10", name)
    rows = rows_of(picture)
    drawn = [
        (trace.get("name", ""), x, y)
        for trace in plain(picture)["data"]
        if trace["mode"] != "text"
        for x, y in zip(trace["x"], trace["y"], strict=True)
        if x is not None
    ]
    across, up = list(rows[0])[3:5]
    assert [(row["series"], float(row[across]), float(row[up])) for row in rows] == drawn
    assert {"front": "accuracy", "trade": "time", "growth": "breadth", "hypervolume": "hypervolume"}[
        name.split("-")[0]
    ] == up


def test_numbers_of_all_pictures_name_the_settings_by_their_measurements(uri):  # noqa: F811
    sweep = loaded(uri)
    points = {row["key"]: row for row in sweep.points("digits-10").to_pylist()}
    for picture in pictures_of(sweep, "digits-10"):
        rows = rows_of(picture)
        assert rows, picture.name
        for row in rows:
            if row.get("key") in points and not picture.name.startswith("growth-"):
                for name in ("accuracy", "breadth", "depth", "time"):
                    if name in row:
                        assert float(row[name]) == points[row["key"]][name], picture.name
    for name in ("parallel", "front-3d"):
        assert {row["key"] for row in rows_of(picture_of(sweep, "digits-10", name))} == set(points)


# --- all pictures, and several sweeps -------------------------------------------------------------


def test_all_pictures_go_into_a_folder_with_one_command(uri, sweeper, place):  # noqa: F811
    said = sweeper("plot", "first", "--all", "-o", "figures", "--format", "csv", "--tracking-uri", uri)
    assert said.code == 0, said.err
    listed = json.loads(sweeper("plot", "first", "--tracking-uri", uri, "--json").out)
    wanted = {
        f"{one['name']}.csv" if one["name"].startswith("growth-") else f"{one['task']}/{one['name']}.csv"
        for one in listed
        if "--human" not in one["title"]
    }
    assert {str(path.relative_to(place / "figures")) for path in (place / "figures").rglob("*.*")} == wanted
    assert f"{len(wanted)} pictures of sweep first, each as .csv" in said.out


@needs_browser
@pytest.mark.slow
def test_pictures_that_do_not_fit_are_named_and_the_others_drawn(uri, sweeper, place):  # noqa: F811
    size = ("--width", "85mm", "--height", "60mm")
    said = sweeper("plot", "seeds", "--all", "-o", "figures", "--format", "svg", *size, "--tracking-uri", uri)
    assert said.code == 0, said.err
    listed = [one["name"] for one in json.loads(sweeper("plot", "seeds", "--tracking-uri", uri, "--json").out)]
    written_ones = {path.stem for path in (place / "figures").glob("*.svg")}
    assert {"front-time", "hypervolume-trials"} <= written_ones
    assert "front-3d" not in written_ones
    for name in set(listed) - written_ones:
        assert f"not drawn: {name} with letters of 8 points is" in said.err
    none = sweeper("plot", "seeds", "--all", "-o", "none", "--width", "20mm", "--height", "20mm", "--tracking-uri", uri)
    assert none.code == 2
    assert "no picture of sweep 'seeds' fits" in none.err
    assert not list(place.glob("none/*"))


@pytest.mark.slow
def test_report_compares_at_the_accuracies_that_are_asked_for(uri, sweeper, place):  # noqa: F811
    for asked, wanted in (((), None), (("--accuracies", "0.5,0.7"), {"0.5", "0.7"})):
        said = sweeper("report", "first", "--no-log", "--tracking-uri", uri, *asked)
        assert said.code == 0, said.err
        page = (place / "first.html").read_text().replace("\\u2265", "≥")
        found = set(re.findall(r'"name":"accuracy ≥ ([0-9.]+)"', page))
        chosen = {f"{level:g}" for level in Points(loaded(uri), "digits-3").accuracies}
        assert found == (wanted or chosen)


def test_file_in_the_place_of_the_folder_is_kept(uri, mistaken, place):  # noqa: F811
    (place / "figures").write_text("mine")
    assert "figures is a file" in mistaken("plot", "first", "--all", "-o", "figures", "--tracking-uri", uri)
    assert (place / "figures").read_text() == "mine"


def test_two_sweeps_stand_in_one_picture_each_with_a_look_of_its_own(uri, sweeper, place):  # noqa: F811
    said = sweeper(*FRONT, "--with", "seeds", "--tracking-uri", uri, "-o", "both.csv", "-o", "both.html")
    assert said.code == 0, said.err
    assert "first with" in said.out
    assert "seeds with" in said.out
    first, seeds = loaded(uri), loaded(uri, "seeds")
    picture = picture_of(first, "digits-10", "front-breadth", beside=[seeds])
    looks = {}
    for trace in plain(picture)["data"]:
        if trace["mode"] == "markers":
            looks.setdefault(trace["legendgroup"], set()).add((trace["marker"]["color"], trace["marker"]["symbol"]))
    assert {name: len(some) for name, some in looks.items()} == {"first": 1, "seeds": 1}
    assert looks["first"] != looks["seeds"]
    drawn = {row["key"] for row in csv.DictReader((place / "both.csv").open()) if row["key"]}
    assert drawn == {key for sweep in (first, seeds) for key in sweep.points("digits-10")["key"].to_pylist()}


def test_hypervolumes_of_two_sweeps_are_inside_one_reference_point(uri):  # noqa: F811
    first, seeds = loaded(uri), loaded(uri, "seeds")
    traces = plain(picture_of(first, "digits-10", "hypervolume-trials", beside=[seeds]))["data"]
    last = {trace["name"]: trace["y"][-1] for trace in traces if trace["mode"] == "lines"}
    for name, sweep in (("first", first), ("seeds", seeds)):
        table = sweep.hypervolume_history("digits-10", reference_point=first.reference_point)
        assert last[name] == table["hypervolume"].to_pylist()[-1]
