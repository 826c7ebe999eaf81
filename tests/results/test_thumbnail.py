"""Small drawings of networks: well-formed, deterministic, and small however large the network is."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given, settings

from sweeper.results.plots import scene
from sweeper.results.plots.thumbnail import BYTES_A_CONNECTION, BYTES_A_NETWORK, small_svg
from tests.model.populations import graph_of, lattice_of, windows
from tests.results.test_drawing import HUGE, a_graph, connections

KINDS = ("bottom-up", "lateral", "top-down")


def lines_of(svg, kind):
    """Return the number of lines of a kind."""
    paths = [path for path in ElementTree.fromstring(svg).iter("path") if kind in path.get("class", "").split()]
    return sum(path.get("d").count("M") for path in paths)


@settings(max_examples=15, deadline=None)
@given(windows())
def test_every_connection_is_one_line_however_many_steps_show_it(window):
    graph = graph_of(lattice_of(window), [1 / window.steps] * window.steps)
    svg = small_svg(graph, "n0", {})
    assert svg == small_svg(graph, "n0", {})
    assert [lines_of(svg, kind) for kind in KINDS] == [connections(graph, kind) for kind in KINDS]
    uses = [use.get("href") for use in ElementTree.fromstring(svg).iter("use")]
    assert uses.count("#n0-0") == uses.count("#n0-n") == window.steps
    assert uses.count("#n0-1") == window.steps - 1


def test_everything_drawn_lies_within_the_picture():
    root = ElementTree.fromstring(small_svg(a_graph((8, 4), 6), "n0", {}))
    *_, width, height = map(float, root.get("viewBox").split())
    for use in root.iter("use"):
        (group,) = [g for g in root.iter("g") if f"#{g.get('id')}" == use.get("href")]
        for path in group:
            for x, y in re.findall(r"M(-?\d+) (-?\d+)", path.get("d")):
                assert 0 <= float(x) + float(use.get("x")) <= width
                assert 0 <= float(y) <= height


@pytest.mark.parametrize("most", [40, 200])
def test_size_is_bounded_by_the_connections_that_are_drawn(most):
    channels, layers, steps = HUGE
    svg = small_svg(a_graph((channels // 4,) * layers, steps), "n0", {}, most)
    assert sum(lines_of(svg, kind) for kind in KINDS) == most
    assert len(svg) < 4 * BYTES_A_NETWORK + most * BYTES_A_CONNECTION


def test_network_without_a_living_layer_says_so():
    assert "No living layer" in small_svg(a_graph((), 2), "n0", {})


def test_label_says_what_the_network_is():
    svg = small_svg(a_graph((3, 2)), "n0", {"limited_time": 1.0})
    graph = a_graph((3, 2))
    assert ElementTree.fromstring(svg).get("aria-label") == scene.summary(graph, {"limited_time": 1.0})
