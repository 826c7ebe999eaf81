"""Pictures of stored sweeps: each point is drawn once with its key, axes have units, hostile sweeps draw or say why."""

from __future__ import annotations

import itertools
import json
import math
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sweeper import model
from sweeper.errors import QueryError
from sweeper.measurements import MEASUREMENTS, Goal, Objective
from sweeper.model import Window
from sweeper.results.loaded_sweep import load
from sweeper.results.plots import networks
from sweeper.results.plots.accuracies import checked_accuracies, chosen_accuracies, spread
from sweeper.results.plots.catalogue import picture_of, pictures_of, titles_of
from sweeper.results.plots.files import written
from sweeper.results.plots.marks import staircase
from sweeper.results.plots.points import Points, best_of
from sweeper.results.plots.sizes import PictureFormat
from sweeper.results.plots.style import PALETTE, SMALL_SIZE, TEXT_SIZE, NotDrawnError, themed
from tests.analysis.test_fronts import a_trial
from tests.cli.test_run import mistaken, place, sweeper  # noqa: F401  # fixtures
from tests.contracts.recorder import a_failed_trial
from tests.model.populations import lattice_of
from tests.support.browser import browser_path
from tests.support.stored import store
from tests.training.test_network_file import EXAMPLE, STEPS

FOUR = tuple(
    Objective(name, Goal.MAXIMIZE if name == "accuracy" else Goal.MINIMIZE)
    for name in ("accuracy", "breadth", "depth", "time")
)
CORNER = {"accuracy": 0.0, "breadth": 20.0, "depth": 9.0, "time": 20.0}
AIMS = {"objectives": FOUR, "reference_point": CORNER}


def a_network(key):
    """Return the file of a small network that holds its recurrent steps."""
    lattice = lattice_of(Window((3, 2), 2, (1, 8, 8), 10)).float()
    says = {"key": key, "step_dist": [0.25, 0.75], "steps": STEPS, "examples": [EXAMPLE]}
    return model.encode(lattice, says)


def a_measured_trial(number, values, task="digits-10", **more):
    accuracy, breadth, depth, time = values
    measured = dict.fromkeys(MEASUREMENTS, 1.0)
    measured |= {"accuracy": accuracy, "breadth": breadth, "depth": float(depth), "time": time}
    axes = {"classes": int(task.rsplit("-", 1)[1]), "time_pressure": 0.1 * (number % 3), "solver": "proximal"}
    times = {"started_ms": 1_000 * number, "ended_ms": 1_000 * number + 500}
    return a_trial(
        number, task=task, measurement=measured, axes=axes, **{"key": f"{task}-{number:04d}", **times, **more}
    )


def some_trials(count=9, task="digits-10", seeds=1):
    return [
        a_measured_trial(
            number * seeds + seed,
            (0.4 + 0.06 * number + 0.01 * seed, 1.0 + number % 5, 1 + number % 3, 1.5 + number * 7 % 5),
            task,
            setting=f"s{number}",
            seed=seed,
        )
        for number in range(count)
        for seed in range(seeds)
    ]


@pytest.fixture(scope="module")
def uri(tmp_path_factory, empty_database):
    folder = tmp_path_factory.mktemp("pictures")
    shutil.copy(empty_database, folder / "mlflow.db")
    uri = f"sqlite:///{folder}/mlflow.db"
    store(uri, "first", [*some_trials(), *some_trials(6, "digits-3")], network=a_network, **AIMS)
    store(uri, "seeds", some_trials(6, seeds=3), **AIMS)
    store(uri, "single", some_trials(1), **AIMS)
    store(uri, "alike", [a_measured_trial(n, (0.5, 2.0, 1, 2.0), setting=f"s{n}") for n in range(4)], **AIMS)
    store(uri, "failed", [a_failed_trial(1)], **AIMS)
    store(uri, "fewer", some_trials(3), FOUR[:2], {"accuracy": 0.0, "breadth": 20.0})
    return uri


def loaded(uri, name="first"):
    return load(name, uri)


def plain(picture):
    return json.loads(picture.figure.to_json())


def numbers(value):
    if isinstance(value, dict):
        for inner in value.values():
            yield from numbers(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from numbers(inner)
    elif isinstance(value, float):
        yield value


def words(value, key=""):
    """Yield every text of a figure with its name."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from words(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from words(inner, key)
    elif isinstance(value, str):
        yield key, value


def keys_of(picture):
    return [
        custom[0]
        for trace in plain(picture)["data"]
        for custom in trace.get("customdata", [])
        if isinstance(custom, list) and trace["type"] in ("scatter", "scatter3d")
    ]


@pytest.mark.slow
def test_everything_that_is_promised_is_drawn(uri):
    names = [picture.name for picture in pictures_of(loaded(uri), "digits-10")]
    assert {
        "front-breadth",
        "front-depth",
        "front-time",
        "front-3d",
        "trade-breadth-depth",
        "trade-depth-time",
        "trade-breadth-time",
        "slices",
        "parallel",
        "growth-breadth",
        "hypervolume-trials",
        "hypervolume-time",
        "steps",
        "networks",
    } <= set(names)
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", ["front-breadth", "front-depth", "front-time", "front-3d"])
def test_every_setting_of_a_front_is_drawn_once_with_its_key(uri, name):
    sweep = loaded(uri)
    drawn = keys_of(picture_of(sweep, "digits-10", name))
    assert sorted(drawn) == sorted(sweep.points("digits-10")["key"].to_pylist())
    assert set(sweep.front("digits-10")["key"].to_pylist()) <= set(drawn)


@pytest.mark.parametrize("sweep_name", ["first", "seeds"])
def test_axes_have_units_colours_are_safe_and_numbers_finite(uri, sweep_name):
    for picture in pictures_of(loaded(uri, sweep_name), "digits-10"):
        figure = plain(picture)
        assert all(math.isfinite(number) for number in numbers(figure["data"])), picture.name
        for name in ("xaxis", "yaxis"):
            title = figure["layout"].get(name, {}).get("title", {}).get("text")
            if title:
                assert re.search(r"\(.+\)", title) or title == "proportion correct ↑", (picture.name, title)
        colours = {
            text for name, text in words(figure["data"]) if name == "color" and re.fullmatch("#[0-9a-fA-F]{6}", text)
        }
        assert colours <= {*PALETTE, "#ffffff"}, picture.name
        assert picture.title
        assert picture.caption.endswith("."), picture.name


def test_slices_have_every_setting_in_a_panel_for_each_objective_and_parameter(uri):
    sweep = loaded(uri)
    panels = {}
    for trace in plain(picture_of(sweep, "digits-10", "slices"))["data"]:
        panels.setdefault((trace["xaxis"], trace["yaxis"]), []).extend(key for (key,) in trace["customdata"])
    assert len(panels) == len(FOUR), "time_pressure alone varies: a solver and a task's classes do not"
    every = sorted(sweep.points("digits-10")["key"].to_pylist())
    assert all(sorted(keys) == every for keys in panels.values())


def test_importance_says_that_few_settings_are_few_and_what_does_not_vary(uri):
    sweep = loaded(uri)
    picture = picture_of(sweep, "digits-10", "importance")
    assert "9 settings are FEW for 1 varied parameter: take it as a hint" in picture.caption
    bars = plain(picture)["data"]
    assert len(bars) == len(FOUR)
    for bar in bars:
        assert bar["y"] == ["time_pressure"]
        assert 0 <= bar["x"][0] - bar["error_x"]["arrayminus"][0] <= bar["x"][0] + bar["error_x"]["array"][0] <= 1
    for name, why in (("single", "no parameter varies"), ("alike", "no objective varies over the 4 settings")):
        with pytest.raises(NotDrawnError, match=why):
            picture_of(loaded(uri, name), "digits-10", "importance")


def test_importance_is_listed_and_drawn_only_where_it_is_asked_for(uri):
    sweep = loaded(uri)
    assert "importance" not in [picture.name for picture in pictures_of(sweep, "digits-10")]
    assert "importance" in [picture.name for picture in pictures_of(sweep, "digits-10", has_importance=True)]
    assert "importance" in titles_of(sweep, "digits-10")
    assert "importance" not in titles_of(loaded(uri, "alike"), "digits-10")


def test_bands_of_attainment_are_there_with_seeds_and_not_without(uri):
    def filled(name):
        figure = plain(picture_of(loaded(uri, name), "digits-10", "front-time"))
        return [trace for trace in figure["data"] if trace.get("fill") not in (None, "none")]

    assert filled("seeds")
    assert not filled("first")


def test_hypervolume_ends_at_that_of_the_front(uri):
    sweep = loaded(uri)
    figure = plain(picture_of(sweep, "digits-10", "hypervolume-trials"))
    last = [trace["y"][-1] for trace in figure["data"] if trace["mode"].startswith("lines")]
    assert any(math.isclose(value, sweep.fronts("digits-10")[0].hypervolume) for value in last)


def test_counts_have_ticks_at_whole_numbers_alone(uri):
    sweep = loaded(uri)
    assert picture_of(sweep, "digits-10", "front-depth").figure.layout.xaxis.dtick == 1
    assert picture_of(sweep, "digits-10", "front-depth").figure.layout.yaxis.dtick is None
    assert picture_of(sweep, "digits-10", "front-time").figure.layout.xaxis.dtick is None
    assert picture_of(sweep, "digits-10", "trade-breadth-depth").figure.layout.yaxis.dtick == 1
    space = picture_of(sweep, "digits-10", "front-3d").figure.layout.scene
    assert [getattr(space, side).dtick for side in ("xaxis", "yaxis", "zaxis")] == [1, 1, None]


def test_letters_are_large_enough_to_read(uri):
    for picture in pictures_of(loaded(uri), "digits-10"):
        sizes = [float(size) for size in re.findall(r'"font":\{[^{}]*"size":(\d+)', picture.figure.to_json())]
        assert all(size >= SMALL_SIZE - 1 for size in sizes), (picture.name, sizes)


def test_same_sweep_gives_the_same_pictures(uri):
    first, again = (
        [(picture.name, picture.figure.to_json()) for picture in pictures_of(loaded(uri), "digits-10")]
        for _ in range(2)
    )
    assert first == again


def test_theme_changes_the_ink_and_nothing_that_is_drawn(uri):
    picture = picture_of(loaded(uri), "digits-10", "front-time")
    light, dark = (json.loads(themed(picture.figure, dark=dark).to_json()) for dark in (False, True))
    assert light["data"] == dark["data"]
    assert light["layout"].pop("template") != dark["layout"].pop("template")
    assert light["layout"] == dark["layout"]


def test_words_of_users_are_no_markup(uri, tmp_path, empty_database):
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    odd = "<b>x</b><script>"
    trials = [a_measured_trial(n, (0.5 + n / 10, 2.0 + n, 1, 2.0), key=f"{n}") for n in range(3)]
    trials = [type(t)(**{**vars(t), "axes": {"data": f"{odd}{n}"}}) for n, t in enumerate(trials)]
    sweep = store(f"sqlite:///{tmp_path}/mlflow.db", "odd", trials, **AIMS)
    for picture in pictures_of(sweep, "digits-10"):
        assert "<script>" not in picture.figure.to_json().replace("\\u003c", "<").replace("&lt;", ""), picture.name


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.5, 0.9, 1.0]),
            st.sampled_from([0.0, 1.5, 8.0]),
            st.integers(0, 3),
            st.sampled_from([1.0, 2.5, 6.0]),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_any_measurements_draw_or_say_why(tmp_path_factory, empty_database, values):
    folder = tmp_path_factory.mktemp("any")
    shutil.copy(empty_database, folder / "mlflow.db")
    trials = [a_measured_trial(number, value) for number, value in enumerate(values)]
    sweep = store(f"sqlite:///{folder}/mlflow.db", "any", trials, **AIMS)
    for picture in pictures_of(sweep, "digits-10"):
        assert all(math.isfinite(number) for number in numbers(plain(picture)["data"]))


@pytest.mark.parametrize(
    ("sweep_name", "name", "reason"),
    [
        ("single", "growth-breadth", "growth-breadth cannot be drawn"),
        ("first", "font-time", "no picture 'font-time'.*Did you mean 'front-time'"),
        ("seeds", "networks", "networks cannot be drawn"),
        ("failed", "front-time", "complete"),
    ],
)
def test_picture_that_cannot_be_is_refused_with_the_reason(uri, sweep_name, name, reason):
    sweep = loaded(uri, sweep_name)
    with pytest.raises(Exception, match=reason) as refused:
        picture_of(sweep, sweep.tasks[0], name)
    assert isinstance(refused.value, ValueError)
    assert name not in [picture.name for picture in (pictures_of(sweep, "digits-10") if sweep_name != "failed" else [])]


def test_not_drawn_is_a_mistake_in_a_question():
    assert issubclass(NotDrawnError, ValueError)


# --- places, levels and lines ---------------------------------------------------------------------


A_ROW = st.tuples(
    st.sampled_from(["easy", "hard", "harder"]),
    st.floats(0, 1),
    st.integers(1, 9),
    st.integers(1, 4),
    st.sampled_from([1.0, 2.5, 6.0]),
)


@given(st.lists(A_ROW, min_size=1, max_size=40))
def test_accuracies_are_few_and_all_tasks_reach_one_of_them_and_two_tasks_each(values):
    rows = [
        {"task": task, "accuracy": accuracy, "breadth": breadth, "depth": depth, "time": time, "key": str(number)}
        for number, (task, accuracy, breadth, depth, time) in enumerate(values)
    ]
    found = chosen_accuracies(rows)
    assert 1 <= len(found) <= 4
    assert list(found) == sorted(set(found))
    reached = {level: {row["task"] for row in rows if row["accuracy"] >= level} for level in found}
    tasks = {row["task"] for row in rows}
    assert tasks in reached.values(), "all tasks can be compared at one of them"
    assert all(len(some) >= min(2, len(tasks)) for some in reached.values()), (
        "each compares two tasks, if there are two"
    )
    assert chosen_accuracies(rows[::-1]) == found, "the order of the trials decides nothing"


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({"one": [0.4489, 0.8422, 0.9156, 0.9533]}, (0.8, 0.9, 0.95)),
        ({"one": [0.22, 0.41, 0.63, 0.82, 0.944]}, (0.4, 0.6, 0.8, 0.9)),
        ({"one": [0.951, 0.9533, 0.9581]}, (0.9, 0.953, 0.958)),
        ({"easy": [0.7, 0.92, 0.99], "middle": [0.6, 0.985], "hard": [0.3, 0.75, 0.81]}, (0.7, 0.8, 0.9, 0.98)),
        ({"one": [0.5]}, (0.5,)),
    ],
)
def test_accuracies_are_round_numbers_that_tell_the_settings_apart(values, wanted):
    rows = [
        {"task": task, "accuracy": accuracy, "breadth": 1.0 + number, "depth": 1, "time": 1.0, "key": f"{task}{number}"}
        for task, some in values.items()
        for number, accuracy in enumerate(some)
    ]
    assert chosen_accuracies(rows) == wanted


def test_wrong_accuracies_are_refused_and_a_percentage_is_read_back():
    assert checked_accuracies([0.9, 0.8, 0.9]) == (0.8, 0.9)
    for wrong, answer in (
        ([90], "Write 0.9 for 90 %"),
        ([0], "above 0"),
        ([-0.5], "above 0"),
        ([float("nan")], "above 0"),
        ([1000], "Name another one"),
        ([0.1, 0.2, 0.3, 0.4, 0.5], "4 accuracies apart at most, but got 5"),
    ):
        with pytest.raises(QueryError, match=answer):
            checked_accuracies(wrong)


@given(st.lists(st.integers(), unique=True, max_size=40), st.integers(1, 10))
def test_spread_keeps_the_order_and_the_ends(items, most):
    chosen = spread(items, most)
    assert chosen == [item for item in items if item in chosen]
    assert len(chosen) == min(most, len(items))
    assert chosen[-1:] == items[-1:]
    assert most == 1 or chosen[:1] == items[:1]


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 1)), min_size=1, max_size=12), st.sampled_from([True, False]))
def test_staircase_is_the_border_of_what_is_dominated(values, is_least):
    """A point just below the line is dominated by some value; a point just above is not. The y axis is maximized."""
    x = Objective("time", Goal.MINIMIZE if is_least else Goal.MAXIMIZE)
    rows = [{"accuracy": y, "time": at, "key": str(number)} for number, (at, y) in enumerate(values)]
    best = best_of(rows, [FOUR[0], x])
    sign = 1 if is_least else -1
    worst = (max(sign * at for at, _ in values), min(y for _, y in values))
    steps = staircase([(row["time"], row["accuracy"]) for row in best], (sign * worst[0], worst[1]))
    assert {(row["time"], row["accuracy"]) for row in best} <= set(steps)
    for (x0, y0), (x1, y1) in itertools.pairwise(steps):
        assert (x0 == x1) != (y0 == y1), "every piece is upright or level"
        assert sign * x1 >= sign * x0
        assert y1 >= y0
        middle = ((x0 + x1) / 2, (y0 + y1) / 2)
        assert any(sign * at <= sign * middle[0] and y >= middle[1] for at, y in values), "what is on it is attained"
        assert not any(sign * at < sign * middle[0] and y > middle[1] for at, y in values), "nothing is better in both"


# --- hostile sweeps -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large(tmp_path_factory, empty_database):
    """A thousand trials with many axes, one over decades, of twelve tasks that differ on two axes; some lack a time."""
    folder = tmp_path_factory.mktemp("large")
    shutil.copy(empty_database, folder / "mlflow.db")
    trials = []
    for number in range(1000):
        classes, noise = (10, 5, 2)[number % 3], (0.0, 0.1, 0.2, 0.4)[number % 4]
        values = (
            0.3 + 0.6 * (number * 7919 % 1000) / 1000,
            10 ** (number * 31 % 100 / 40),
            1 + number % 7,
            1.0 + number % 29,
        )
        trial = a_measured_trial(number, values, f"digits-{classes}")
        axes = {f"axis_{at}": number * (at + 1) % 13 for at in range(9)}
        axes |= {"classes": classes, "noise": noise, "rate": 10.0 ** -(number % 5)}
        measured = {name: value for name, value in trial.measurement.items() if name != "time" or number % 10}
        task = f"digits-{classes}-noise{noise}"
        trials.append(replace(trial, key=f"{task}-{number:04d}", task=task, axes=axes, measurement=measured))
    return store(f"sqlite:///{folder}/mlflow.db", "large", trials, network=a_network, **AIMS)


@pytest.mark.rare
@pytest.mark.slow
def test_thousand_trials_are_drawn_in_a_page_of_modest_size(large):
    (task, *_) = large.tasks
    drawn = pictures_of(large, task)
    assert sum(len(picture.figure.to_json()) for picture in drawn) < 1_500_000
    assert all(math.isfinite(number) for picture in drawn for number in numbers(plain(picture)["data"]))
    networks = plain(next(picture for picture in drawn if picture.name == "networks"))
    keys = [custom[0] for trace in networks["data"] for custom in trace.get("customdata", [])]
    members = large.front(task)["key"].to_pylist()
    assert keys == [key for key in members if key in keys], "along the front, each once"
    assert len(keys) == min(12, len(members))
    assert len(json.dumps(networks["data"] + networks["layout"]["shapes"])) < 5_000 * len(keys)


@pytest.mark.slow
def test_settings_without_a_value_are_left_out_where_it_is_drawn_and_nowhere_else(large):
    (task, *_) = large.tasks
    rows = large.points(task).to_pylist()
    unmeasured = {row["key"] for row in rows if row["time"] is None}
    assert unmeasured
    assert {row["key"] for row in rows} - unmeasured == set(keys_of(picture_of(large, task, "front-time")))
    assert {row["key"] for row in rows} == set(keys_of(picture_of(large, task, "front-breadth")))


@pytest.mark.slow
def test_growth_over_one_axis_has_a_line_for_each_value_of_the_other(large):
    (task, *_) = large.tasks
    by_key = {row["key"]: row for row in large.points().to_pylist()}
    for name, own, other in (("growth-breadth", "classes", "noise"), ("growth-breadth-noise", "noise", "classes")):
        figure = plain(picture_of(large, task, name))
        traces = [trace for trace in figure["data"] if "customdata" in trace]  # others are in the legend only
        lines = [[by_key[key] for [key] in trace["customdata"]] for trace in traces]
        assert sorted({row[other] for line in lines for row in line}) == sorted({r[other] for r in by_key.values()})
        for trace, line in zip(traces, lines, strict=True):
            level = float(re.search("≥ ([0-9.]+)", trace["name"])[1])
            assert len({row[other] for row in line}) == 1
            assert [row[own] for row in line] == sorted({row[own] for row in line}) == trace["x"]
            for row in line:
                rivals = [r for r in by_key.values() if r["task"] == row["task"] and r["accuracy"] >= level]
                assert row["breadth"] == min(rival["breadth"] for rival in rivals), (
                    "the least that reaches the accuracy"
                )


def test_all_pictures_of_a_sweep_compare_at_the_same_accuracies(uri):
    sweep = loaded(uri)
    chosen = Points(sweep, "digits-10").accuracies
    assert chosen == Points(sweep, "digits-3").accuracies
    for asked, wanted in (((), chosen), ((0.5, 0.8), (0.5, 0.8))):
        looks = set()
        for task in sweep.tasks:
            for picture in pictures_of(sweep, task, accuracies=asked):
                for trace in plain(picture)["data"]:
                    if found := re.match(r"accuracy ≥ ([0-9.]+)", trace.get("name", "")):
                        assert picture.name.startswith(("trade-", "growth-"))
                        looks.add((float(found[1]), trace["line"]["color"] if "line" in trace else ""))
        assert {level for level, _ in looks} == set(wanted)
        colours = {level: {colour for one, colour in looks if one == level and colour} for level in wanted}
        assert all(len(some) == 1 for some in colours.values()), "an accuracy looks the same in all pictures"


def test_figure_in_python_is_that_of_the_picture_with_all_that_is_asked_for(uri):
    sweep = loaded(uri)
    for name, asked in (
        ("growth-depth", {"accuracies": (0.5,)}),
        ("front-time", {"task": "digits-10", "beside": [sweep]}),
    ):
        try:
            picture = sweep.picture(name, **asked)
        except QueryError as refused:
            with pytest.raises(QueryError, match=re.escape(str(refused))):
                sweep.plot(name, **asked)
        else:
            assert sweep.plot(name, **asked).to_json() == picture.figure.to_json()
            assert sweep.plot(name, task=asked.get("task")).to_json() != picture.figure.to_json()


def test_point_of_a_trade_off_that_is_only_the_smallest_tried_is_a_bound(tmp_path, empty_database):
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    values = [(0.9, 4.0, 1, 2.0), (0.9, 2.0, 3, 2.0), (0.4, 2.0, 1, 2.0), (0.95, 8.0, 2, 2.0)]
    trials = [a_measured_trial(number, value, setting=f"s{number}") for number, value in enumerate(values)]
    sweep = store(f"sqlite:///{tmp_path}/mlflow.db", "bounds", trials, **AIMS)
    picture = picture_of(sweep, "digits-10", "trade-breadth-depth", accuracies=[0.9])
    (trace,) = (one for one in plain(picture)["data"] if one["name"] == "accuracy ≥ 0.9" and one["mode"] == "markers")
    bounds = dict(zip(zip(trace["x"], trace["y"], strict=True), trace["marker"]["symbol"], strict=True))
    # No trial was narrower than two channels, so 2 is only a bound; no network can have less than one layer.
    assert bounds == {(2, 3): "circle-open", (4, 1): "circle"}
    arrows = plain(picture)["layout"]["annotations"]
    assert [(arrow["x"], arrow["y"], arrow["ax"] > 0) for arrow in arrows] == [(2, 3, True)], "to the left alone"
    assert "upper bound" in picture.caption


def test_settings_at_one_place_are_counted_and_name_each_other(tmp_path, empty_database):
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    values = [(0.5, 4.0, 1, 2.0), (0.5, 4.0, 2, 3.0), (0.5, 4.0, 3, 4.0), (0.9, 8.0, 1, 2.0)]
    trials = [a_measured_trial(number, value, setting=f"s{number}") for number, value in enumerate(values)]
    sweep = store(f"sqlite:///{tmp_path}/mlflow.db", "piles", trials, **AIMS)
    figure = plain(picture_of(sweep, "digits-10", "front-breadth"))
    (counts,) = (trace for trace in figure["data"] if trace["mode"] == "text")
    assert (counts["text"], counts["x"], counts["y"]) == (["\u2002×3"], [4], [0.5])
    said = {
        key: text
        for trace in figure["data"]
        for [key], text in zip(trace.get("customdata", []), trace.get("text", []), strict=False)
    }
    keys = [trial.key for trial in trials]
    assert all(other in said[key] for key in keys[:3] for other in keys[:3])
    assert "at the same place" not in said[keys[3]]
    assert not [
        trace for trace in plain(picture_of(sweep, "digits-10", "front-time"))["data"] if trace["mode"] == "text"
    ]


def test_titles_of_all_axes_are_of_one_size(uri):
    sizes = set()
    for picture in pictures_of(loaded(uri), "digits-10"):
        for one in (picture, picture.flat) if picture.flat else (picture,):
            layout = one.figure.to_plotly_json()["layout"]
            sides = {**layout, **layout.get("scene", {})}
            sizes |= {
                side["title"].get("font", {}).get("size")
                for name, side in sides.items()
                if "axis" in name and "title" in side
            }
    assert sizes == {None}, "that of the common style"
    style = themed(picture.figure, dark=False).layout.template.layout
    assert {style.xaxis.title.font.size, style.yaxis.title.font.size, style.scene.zaxis.title.font.size} == {TEXT_SIZE}


def test_growth_tells_what_a_task_needs_from_the_smallest_network_that_was_tried(tmp_path, empty_database):
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    tried = {"digits-3": [(0.5, 2.0), (0.9, 4.0)], "digits-10": [(0.9, 4.0), (0.95, 8.0)]}
    trials = [
        a_measured_trial(number, (accuracy, breadth, 2, 2.0), task, setting=f"s{task}{number}")
        for task, values in tried.items()
        for number, (accuracy, breadth) in enumerate(values)
    ]
    for name, used in (("equal", (420, 420)), ("unequal", (420, 1_330))):
        updates = dict(zip(tried, used, strict=True))
        some = [replace(t, measurement={**t.measurement, "updates": updates[t.task]}) for t in trials]
        store(uri, name, some, **AIMS)
    picture = picture_of(loaded(uri, "equal"), "digits-10", "growth-breadth")
    figure = plain(picture)
    (line,) = (trace for trace in figure["data"] if trace["name"] == "accuracy ≥ 0.9")
    assert (line["x"], line["y"]) == ([3, 10], [4, 4])
    assert ["open" in symbol for symbol in line["marker"]["symbol"]] == [False, True]
    assert ["upper bound" in text for text in line["text"]] == [False, True]
    assert [(arrow["x"], arrow["y"]) for arrow in figure["layout"]["annotations"]].count((10, 4)) == 1
    assert (3, 4) not in [(arrow["x"], arrow["y"]) for arrow in figure["layout"]["annotations"]]
    assert figure["data"][-1]["name"] == "open, with an arrow: the smallest tried"
    assert "Not at equal budgets" not in picture.caption
    unequal = picture_of(loaded(uri, "unequal"), "digits-10", "growth-breadth")
    assert "from 420 to 1,330 training steps" in unequal.caption


@pytest.mark.slow
def test_trade_off_holds_what_no_setting_that_is_as_accurate_beats(large):
    (task, *_) = large.tasks
    rows = {row["key"]: row for row in large.points(task).to_pylist() if row["time"] is not None}
    figure = plain(picture_of(large, task, "trade-breadth-time"))
    curves = [trace for trace in figure["data"] if "≥" in trace["name"] and trace["mode"] == "markers"]
    assert 2 <= len(curves) <= 4
    for trace in curves:
        level = float(trace["name"].split("≥")[1])
        reaching = [(row["breadth"], row["time"]) for row in rows.values() if row["accuracy"] >= level]
        twin = {a for a in reaching if not any(b != a and b[0] <= a[0] and b[1] <= a[1] for b in reaching)}
        assert set(zip(trace["x"], trace["y"], strict=True)) == twin
    symbols = [{symbol.removesuffix("-open") for symbol in trace["marker"]["symbol"]} for trace in curves]
    assert len({symbol for one in symbols for symbol in one}) == len(curves), "not by colour alone"


@pytest.mark.slow
def test_parallel_axes_hold_every_setting_with_its_key(large):
    (task, *_) = large.tasks
    picture = picture_of(large, task, "parallel")
    figure = plain(picture)
    rows = [row for row in large.points(task).to_pylist() if row["time"] is not None]
    sides = len(figure["layout"]["meta"]["parallel"])
    assert sides > 10
    lines = {}
    for trace in figure["data"]:
        for at, key in enumerate(trace.get("meta", {}).get("keys", [])):
            lines[key] = trace["y"][at * (sides + 1) : (at + 1) * (sides + 1)]
    assert set(lines) == {row["key"] for row in rows}
    assert all(len(line) == sides + 1 and line[-1] is None for line in lines.values())
    side = figure["layout"]["meta"]["parallel"].index("proportion correct ↑")
    by_accuracy = sorted(rows, key=lambda row: row["accuracy"])
    heights = [lines[row["key"]][side] for row in by_accuracy]
    assert heights == sorted(heights)
    assert (heights[0], heights[-1]) == (0, 1)
    (dots,) = (trace for trace in figure["data"] if "customdata" in trace)
    assert {key for [key] in dots["customdata"]} == set(lines)
    assert not [trace for trace in figure["data"] if trace["type"] == "parcoords"], "no WebGL"


# --- files and the command ------------------------------------------------------------------------


def test_page_holds_the_picture_and_asks_nobody(uri):
    page = written(picture_of(loaded(uri), "digits-10", "front-time"), PictureFormat("html")).decode()
    assert "Accuracy against time" in page
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", page)
    assert 3e6 < len(page) < 7e6


@pytest.mark.slow
@pytest.mark.skipif(browser_path() is None, reason="there is no Chromium or Chrome here: see `make browser`")
def test_svg_and_png_are_drawn_by_a_real_browser(uri, sweeper, place):  # noqa: F811
    for kind, start in (("svg", b"<svg"), ("png", b"\x89PNG")):
        said = sweeper(
            "plot", "first", "front-time", "--task", "digits-10", "--tracking-uri", uri, "-o", f"front.{kind}"
        )
        assert said.code == 0, said.err
        assert (place / f"front.{kind}").read_bytes().startswith(start)
    assert "proportion correct ↑" in (place / "front.svg").read_text()
    for name in ("front-time", "steps", "front-3d"):
        first, again = (written(picture_of(loaded(uri), "digits-10", name), PictureFormat("svg")) for _ in range(2))
        assert first == again, name


def test_command_lists_what_can_be_drawn(uri, sweeper):  # noqa: F811
    said = sweeper("plot", "first", "--tracking-uri", uri)
    assert said.code == 0, said.err
    assert re.search(r"digits-10:\n  front-breadth +Accuracy against breadth", said.out)
    listed = json.loads(sweeper("plot", "first", "--tracking-uri", uri, "--json").out)
    assert {one["task"] for one in listed} == {"digits-10", "digits-3"}


FRONT = ["first", "front-time", "--task", "digits-10"]
TRADE = ["first", "trade-breadth-time", "--task", "digits-10"]


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["first", "front-time", "-o", "x.svg"], ["2 tasks: digits-10, digits-3", "--task"]),
        (["first", "front-time", "--task", "digits-10"], ["drawn into a file", "-o front-time.svg"]),
        (["first", "front-time", "--task", "digits-10", "-o", "x.gif"], ["x.gif", ".html, .svg, .png or .pdf"]),
        (["first", "front-time", "--task", "digits-5", "-o", "x.html"], ["'digits-5'", "digits-10, digits-3"]),
        (["first", "font-time", "--task", "digits-3", "-o", "x.html"], ["'font-time'", "'front-time'"]),
        (["single", "growth-time", "-o", "x.html"], ["growth-time cannot be drawn"]),
        (["failed"], ["nothing of sweep 'failed' can be drawn yet: no trial is complete"]),
        (["single"], ["nothing of sweep 'single' can be drawn yet: its complete trials are too few, or all alike"]),
        (["frist"], ["no sweep 'frist'"]),
        ([*FRONT, "-o", "x.png", "--width", "7"], ["--width 7", "300 to 4000"]),
        ([*FRONT, "-o", "x.png", "--width", "-85mm"], ["20 to 1000 mm wide", "-85mm"]),
        ([*FRONT, "-o", "x.png", "--height", "10000mm"], ["20 to 1000 mm high", "10000mm"]),
        ([*FRONT, "-o", "x.png", "--width", "10 metres"], ["--width takes", "'10 metres'", "85mm"]),
        ([*FRONT, "-o", "x.png", "--width", "nanmm"], ["--width takes", "'nanmm'"]),
        (
            [*FRONT, "-o", "x.png", "--width", "85mm", "--font-size", "30"],
            ["30 points is", "wide at least, but got --width 85mm", "--font-size"],
        ),
        ([*FRONT, "-o", "x.png", "--font-size", "-8"], ["4 to 40 points", "-8"]),
        ([*FRONT, "-o", "x.png", "--dpi", "7"], ["50 to 2400 dots", "7"]),
        ([*FRONT, "-o", "x.svg", "--dpi", "300"], ["--dpi is of a .png", ".svg"]),
        ([*FRONT, "-o", "x.png", "--font", "DejaVu Sanz"], ["'DejaVu Sanz' is not installed"]),
        ([*FRONT, "-o", "x.html", "--width", "85mm"], ["as wide as its window", "--width 85mm"]),
        ([*FRONT, "-o", "x.csv", "--height", "85mm"], ["numbers have no size", "--height 85mm"]),
        ([*FRONT, "-o", "x.html", "--format", "pdf"], ["--format names the files of --all"]),
        ([*FRONT, "-o", "x.html", "--accuracies", "0.9"], ["--accuracies", "trade-…", "front-time"]),
        ([*TRADE, "-o", "x.html", "--accuracies", "0.9,high"], ["'0.9,high'", "0.8,0.9"]),
        ([*TRADE, "-o", "x.html", "--accuracies", "90"], ["Write 0.9 for 90 %"]),
        ([*TRADE, "-o", "x.html", "--accuracies", "0.99"], ["no setting of task 'digits-10' reaches 0.99"]),
        (["first", "front-time", "--all", "-o", "x"], ["--all draws all pictures", "front-time"]),
        (["first", "--all"], ["--all draws into one folder", "-o first-figures"]),
        (["first", "--all", "-o", "x", "--format", "gif"], ["--format", "'gif'"]),
        (["first", "--all", "-o", "x", "--with", "seeds"], ["--with is of one picture"]),
        ([*FRONT, "-o", "x.html", "--with", "first"], ["'first' is in the picture already"]),
        ([*FRONT, "-o", "x.html", "--with", "frist"], ["no sweep 'frist'"]),
        ([*TRADE, "-o", "x.html", "--with", "seeds"], ["trade-breadth-time shows one sweep", "front-breadth"]),
        (["first", "front-time", "--task", "digits-3", "-o", "x.html", "--with", "seeds"], ["'seeds'", "'digits-3'"]),
        ([*FRONT, "-o", "x.html", "--with", "fewer"], ["'fewer' has other objectives", "maximize accuracy"]),
    ],
)
def test_wrong_question_is_refused(uri, mistaken, words, answer):  # noqa: F811
    message = mistaken("plot", *words, "--tracking-uri", uri)
    assert all(word in message for word in answer), message


def test_missing_browser_is_named_with_the_ways_out(uri, mistaken, monkeypatch):  # noqa: F811
    monkeypatch.setenv("BROWSER_PATH", "/nowhere/chromium")
    monkeypatch.setenv("PATH", "/nowhere")
    message = mistaken("plot", "seeds", "hypervolume-trials", "--tracking-uri", uri, "-o", "x.svg")
    assert "Install Chrome or Chromium" in message
    assert "-o FILE.html" in message


#: Code of a process that asks browsers for a picture; the test checks that the process ends.
_ASK = """
import os, sys
from sweeper.errors import PictureError
from sweeper.results.loaded_sweep import load
from sweeper.results.plots.files import written
from sweeper.results.plots.sizes import PictureFormat
from sweeper.results.plots.catalogue import picture_of

picture = picture_of(load("seeds", sys.argv[1]), "digits-10", "hypervolume-trials")
for os.environ["BROWSER_PATH"] in sys.argv[2:]:
    try:
        written(picture, PictureFormat("png"), time_limit_s=2.0)
    except PictureError as error:
        print(error)
"""


@pytest.mark.skipif(os.name != "posix", reason="the browser that hangs is a shell script")
@pytest.mark.slow
def test_browser_that_hangs_or_fails_is_named_and_ended(uri, tmp_path):
    browsers = {"hangs": "echo $$ > started; exec sleep 600", "fails": "exit 1"}
    for name, does in browsers.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    said = subprocess.run(
        [sys.executable, "-c", _ASK, uri, *(str(tmp_path / name) for name in browsers)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert said.returncode == 0, said.stderr
    assert said.stdout.count("did not start, or not answer within 2 s") == 2
    assert "Traceback" not in said.stderr
    if (started := tmp_path / "started").exists():  # on a busy machine the time limit may come first
        with pytest.raises(ProcessLookupError):
            os.kill(int(started.read_text()), 0)


def test_name_of_a_class_is_text_below_its_image_whatever_it_holds():
    assert networks._called("<b>cat</b>") == "&lt;b&gt;cat&lt;/b&gt;"
    assert "%{" not in networks._called("%{x} cat")
    assert len(networks._called("c" * 90)) <= 16
    assert networks._called(7) == "7"
