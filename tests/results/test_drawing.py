"""A picture of a network holds its living nodes, lines and counts; the same network gives the same bytes."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import matplotlib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from sweeper.errors import QueryError
from sweeper.model import Graph, Lattice, Window
from sweeper.results.plots import scene
from sweeper.results.plots.drawing import _STYLE, _figure, draw, picture_format
from tests.model.populations import graph_of, lattice_of, windows

SVG = "{http://www.w3.org/2000/svg}"
KINDS = ("bottom-up", "lateral", "top-down")
HUGE = 64, 8, 16  # channels, layers, steps

few = settings(max_examples=15, deadline=None)


def a_graph(channels=(3, 2), steps=3, step_dist=None, image=(1, 4, 4)) -> Graph:
    window = Window(tuple(channels), steps, image, 4)
    return graph_of(lattice_of(window), step_dist or [1 / steps] * steps)


class Picture:
    """A parsed SVG."""

    def __init__(self, graph, **how):
        self.root = ElementTree.fromstring(draw(graph, "svg", **how))
        self.words = ["".join(text.itertext()).strip() for text in self.root.iter(f"{SVG}text")]

    def group(self, gid):
        return [g for g in self.root.iter(f"{SVG}g") if g.get("id") == gid]

    def marks(self, gid):
        """Return a group's marks: references to one shape, or shapes if these are shorter."""
        uses = [use for g in self.group(gid) for use in g.iter(f"{SVG}use")]
        return uses or [path for g in self.group(gid) for path in g.iter(f"{SVG}path")]

    def lines(self, kind):
        return [path for g in self.group(kind) for path in g.iter(f"{SVG}path")]


def connections(graph, kind):
    by_layer = {"bottom-up": graph.bottom_up, "lateral": graph.lateral, "top-down": graph.top_down}[kind]
    return sum(len(row) for strengths in by_layer for row in strengths)


@few
@given(windows())
def test_picture_holds_every_living_node_and_connection_in_every_step(window):
    graph = graph_of(lattice_of(window), [1 / window.steps] * window.steps)
    picture = Picture(graph)
    assert len(picture.marks("nodes")) == window.steps * sum(window.channels)
    assert len(picture.marks("image")) == window.steps * window.image[0]
    for kind in KINDS:
        every_step = 0 if kind != "bottom-up" else connections(graph, kind)
        if window.bottom_up == "next":  # every layer up takes a step, but the image is present at every step
            every_step = min(every_step, window.image[0] * window.channels[0])
        later = connections(graph, kind) - every_step
        assert len(picture.lines(kind)) == window.steps * every_step + (window.steps - 1) * later


@pytest.mark.parametrize(("bottom_up", "said"), [("within", "bottom-up"), ("next", "bottom-up, to the next step")])
def test_bottom_up_lines_lead_where_the_network_takes_them(bottom_up, said):
    graph = graph_of(lattice_of(Window((1, 1), 3, (1, 4, 4), 4, bottom_up=bottom_up)), [1 / 3] * 3)
    edges = [edge for edge in scene.strongest(graph, scene.scene_of(graph)) if edge.kind == "bottom-up"]
    assert {edge.source[0]: edge.back for edge in edges} == {0: 0, 1: int(bottom_up == "next")}
    assert said in Picture(graph).words


def test_picture_says_what_was_counted():
    measured = {"accuracy": 0.92749, "breadth": 2.5, "depth": 2, "time": 2.004, "parameters": 12345, "macs": 1.234e9}
    words = Picture(a_graph(), title="digits-10 · trial 2de2a05edfa7e4c5", measurement=measured).words
    for said in (
        "digits-10 · trial 2de2a05edfa7e4c5",
        "2 layers of 3 + 2 channels, from the image upwards · 4 classes",
        *("0.927", "2.5", "2", "2.00", "12,345", "1.23 G"),  # with breadth as earlier versions measured it
        *("3 × 4×4", "2 × 4×4", "1 × 4×4", "layer 1", "layer 2", "image"),
    ):
        assert said in words


def test_picture_without_measurement_counts_on_the_graph_and_claims_no_accuracy():
    graph = a_graph(step_dist=[0.25, 0.5, 0.25])
    words = Picture(graph).words
    assert {"3", "2", "2.00", str(graph.parameters)} <= set(words)
    assert "accuracy" not in words


def test_probability_of_each_step_is_a_bar_and_a_number():
    picture = Picture(a_graph(step_dist=[0.125, 0.625, 0.25]))
    assert {"12 %", "62 %", "25 %"} <= set(picture.words)
    heights = []
    for step in (1, 2, 3):
        (bar,) = picture.group(f"p-{step}")
        numbers = re.findall(r"-?[\d.]+", bar.find(f"{SVG}path").get("d"))
        y = [float(n) for n in numbers[1::2]]
        heights.append(max(y) - min(y))
    assert [h / heights[0] for h in heights] == pytest.approx([1, 5, 2], rel=1e-3)


def test_stronger_connections_are_wider_and_less_transparent():
    graph = replace(a_graph((1,), 1, image=(2, 4, 4)), bottom_up=(((1.0, 4.0),),))
    weak, strong = Picture(graph).lines("bottom-up")
    assert width(weak) < width(strong)
    assert opacity(weak) < opacity(strong)


def width(line):
    return float(re.search(r"stroke-width: ([\d.]+)", line.get("style"))[1])


def opacity(line):
    return float((re.search(r"stroke-opacity: ([\d.]+)", line.get("style")) or [0, 1])[1])


def test_step_that_is_seldom_reached_is_pale_and_one_on_the_way_is_not():
    def opacities(step_dist):
        return [opacity(line) for line in Picture(a_graph((1,), 3, step_dist)).lines("bottom-up")]

    first, second, third = opacities([0.5, 0.4, 0.1])
    assert first > second > third
    assert len(set(opacities([0.0, 0.0, 1.0]))) == 1  # the last step answers, and needs the earlier steps


def test_renumbering_channels_changes_no_picture():
    graph = a_graph((3,), 2)
    order = [2, 0, 1]
    permuted = replace(
        graph,
        bottom_up=(tuple(graph.bottom_up[0][c] for c in order),),
        lateral=(tuple(tuple(graph.lateral[0][i][j] for j in order) for i in order),),
        readout=(tuple(graph.readout[0][c] for c in order),),
    )
    assert draw(permuted, "svg") == draw(graph, "svg")


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_same_graph_gives_the_same_bytes_whatever_the_reader_has_set(kind):
    first = draw(a_graph(), kind, title="a")
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9, "savefig.bbox": "tight", "svg.hashsalt": "x"}):
        assert draw(a_graph(), kind, title="a") == first
        assert matplotlib.rcParams["font.size"] == 30  # the reader's setting is restored
    assert re.search(rb"<dc:date>|\d{4}-\d\d-\d\dT", first) is None


def test_png_is_a_picture_with_something_in_it():
    graph = a_graph()
    picture = Image.open(io.BytesIO(draw(graph, "png")))
    picture.load()
    assert picture.format == "PNG"
    assert min(picture.size) > 500
    colours = {colour for _, colour in picture.convert("RGB").getcolors(maxcolors=10**7)}
    assert {(255, 255, 255), (204, 121, 167)} <= colours  # paper and bars
    assert len(colours) > 100


@pytest.mark.parametrize(("name", "kind"), [("a.svg", "svg"), ("a.b.PNG", "png")])
def test_format_follows_the_name(name, kind):
    assert picture_format(Path(name)) == kind


@pytest.mark.parametrize("name", ["net.pdf", "net", "svg", "net.svg.gz"])
def test_unknown_format_is_refused_with_those_there_are(name):
    with pytest.raises(QueryError, match=rf"\.svg or \.png, but got {re.escape(name)}\."):
        picture_format(Path(name))


# At a glance


def size(graph):
    root = Picture(graph).root
    return scene.scene_of(graph).size, (float(root.get("width")[:-2]), float(root.get("height")[:-2]))


def test_wide_deep_and_slow_networks_have_different_outlines():
    wide, deep, slow = (size(a_graph(*shape))[0] for shape in (((16,), 2), ((3,) * 5, 3), ((4, 4), 10)))
    assert slow[0] > 2 * max(wide[0], deep[0])
    assert deep[1] > 2 * max(wide[1], slow[1])
    assert deep[0] < wide[0] < slow[0]
    assert deep[1] > 1.5 * deep[0]
    assert slow[0] > 3 * slow[1]


def test_two_networks_of_usual_size_are_drawn_on_one_scale():
    small, large = (scene.scene_of(a_graph((c,) * 3, 4)) for c in (2, 12))
    assert small.scale == large.scale == 1
    assert small.at(0, 2, 1) == large.at(0, 2, 1)


FULL = {
    "accuracy": 0.9275,
    "test_accuracy": 0.9275,
    "breadth": 64.0,
    "depth": 3,
    "time": 12.34,
    "parameters": 818_892,
    "macs": 999_999,
}


def boxes_of_words(graph, title):
    """Return each text of a page with its box, in pixels, and the box of the page."""
    with matplotlib.rc_context(_STYLE):
        figure = _figure(graph, title, FULL)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        texts = [text for text in figure.axes[0].texts if text.get_text()]
        return [(t.get_text(), t.get_window_extent(canvas.get_renderer())) for t in texts], figure.bbox


SHAPES = {
    "tiny": ((1,), 1),
    "no layer": ((), 2),
    "usual": ((8, 5, 3), 6),
    "wide": ((64,), 2),
    "deep": ((3, 2) * 15, 3),
    "slow": ((4, 4), 40),
    "all": ((32,) * 4, 12),
    "told": ((2,), 30, [0.5, 0.498] + [0.002 / 28] * 28),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("title", ["digits-10 · trial 2de2a05edfa7e4c5", "a very long name of a task " * 5])
def test_no_words_overlap_or_leave_the_page(shape, title):
    boxes, page = boxes_of_words(a_graph(*shape), title)
    assert [
        words for words, box in boxes if not (box.x0 > 0 and box.x1 < page.x1 and box.y0 > 0 and box.y1 < page.y1)
    ] == []
    assert [
        (one, other) for (one, a), (other, b) in combinations(boxes, 2)
        if a.x0 < b.x1 and b.x0 < a.x1 and a.y0 + 1 < b.y1 and b.y0 + 1 < a.y1
    ] == []  # fmt: skip


# Hostile networks


def test_network_without_layers_gets_a_picture_that_says_so():
    picture = Picture(graph_of(Lattice(Window((), 2, (1, 4, 4), 2), [0]), [0.5, 0.5]))
    assert "No living layer: every image gets the same answer." in picture.words
    assert "no living layer · 2 classes" in picture.words
    assert picture.marks("nodes") == []


def test_network_of_one_channel_one_layer_and_one_step():
    picture = Picture(a_graph((1,), 1))
    assert len(picture.marks("nodes")) == len(picture.lines("bottom-up")) == 1
    assert "1 layer of 1 channel · 4 classes" in picture.words
    assert any("its only connection is drawn" in words for words in picture.words)
    assert not {"lateral, to the next step", "top-down, to the next step"} & set(picture.words)


def test_network_whose_weights_are_all_zero_is_drawn_without_lines():
    graph = a_graph((2,), 1)
    graph = replace(graph, bottom_up=(((0.0,), (0.0,)),), readout=((0.0, 0.0),))
    picture = Picture(graph)
    assert len(picture.marks("nodes")) == 2
    assert [picture.lines(kind) for kind in KINDS] == [[], [], []]


def huge_graph():
    c, layers, steps = HUGE
    window = Window((c,) * layers, steps, (3, 32, 32), 10, halve=(2, 4))
    return graph_of(Lattice(window, [0]), [1 / steps] * steps)


def test_very_large_network_is_thinned_to_its_strongest_connections_and_says_so():
    graph, (c, layers, steps) = huge_graph(), HUGE
    picture = Picture(graph)
    lines = sum(len(picture.lines(kind)) for kind in KINDS)
    assert 1000 < lines <= scene.MOST_LINES
    assert len(picture.marks("nodes")) == c * layers * steps
    every = sorted(
        s for kind in (graph.bottom_up, graph.lateral, graph.top_down) for layer in kind for row in layer for s in row
    )
    drawn = [connection.strength for connection in scene.strongest(graph, scene.scene_of(graph))]
    assert drawn == every[: -len(drawn) - 1 : -1]
    assert any(f"the {len(drawn):,} strongest of {len(every):,} connections" in words for words in picture.words)


@pytest.mark.parametrize("shape", [((2, 2), 120), ((2,) * 60, 3), ((64,), 2)], ids=["long", "tall", "wide"])
def test_page_has_a_largest_size(shape):
    (width, height), (page_width, page_height) = size(a_graph(*shape))
    assert width <= 18.001
    assert height <= 9.001
    assert page_width <= 72 * 21
    assert page_height <= 72 * 16


def test_steps_without_probability_are_told_and_not_drawn():
    picture = Picture(a_graph((2,), 6, [0.5, 0.498, 0.0005, 0.0005, 0.0005, 0.0005]))
    assert len(picture.marks("nodes")) == 2 * 2
    assert {"steps 3–6:", "<1 %"} <= {part.strip() for words in picture.words for part in words.split("\n")}


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_what_is_told_is_less_than_the_limit(weights):
    total = sum(weights)
    step_dist = [w / total for w in weights] if total else [1.0]
    shown = scene.shown_steps(step_dist)
    assert 1 <= shown <= len(step_dist)
    assert sum(step_dist[shown:]) < scene.TOLD_BELOW + 1e-9
    assert shown == 1 or sum(step_dist[shown - 1 :]) >= scene.TOLD_BELOW - 1e-9


@pytest.mark.parametrize("title", ["$x_1$ costs 5 $", "<b>&amp;</b>", "é × 漢字", "word " * 60])
def test_title_is_shown_as_it_is(title):
    picture = Picture(a_graph((1,), 1), title=title)
    lines = ["".join(g.itertext()).strip() for g in picture.group("title")]
    assert " ".join(lines) == title.strip()
