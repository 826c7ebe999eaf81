"""The report in a real browser: it draws, sorts, filters and shows networks, and sends no request."""

from __future__ import annotations

import itertools
import re
import shutil
from dataclasses import replace

import pytest

from sweeper.errors import QueryError
from sweeper.results.loaded_sweep import load
from sweeper.results.report.page import report
from tests.contracts.recorder import a_failed_trial
from tests.results import test_plots
from tests.results.test_report import HOSTILE, a_network, some_trials
from tests.support.browser import browser, browser_path, violations
from tests.support.stored import store

pytestmark = pytest.mark.slow

#: Parts of messages that a browser prints only on a machine without a graphics card.
_NOT_OURS = ("GL Driver Message", "willReadFrequently")


@pytest.fixture(scope="module")
def running():
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def file(tmp_path_factory, empty_database):
    folder = tmp_path_factory.mktemp("report")
    shutil.copy(empty_database, folder / "mlflow.db")
    trials = [*some_trials(12), a_failed_trial(30, key="bad0", reason=f"ValueError: {HOSTILE}", axes={})]
    trials = [
        replace(trial, axes={"solver": ["proximal", "Two words", "backprop"][place % 3], "big": place})
        for place, trial in enumerate(trials)
    ]
    store(f"sqlite:///{folder}/mlflow.db", "first", trials, network=a_network)
    store(f"sqlite:///{folder}/mlflow.db", "other", some_trials(5))
    (folder / "first.html").write_text(report(load("first", f"sqlite:///{folder}/mlflow.db")), "utf-8")
    return folder / "first.html"


class Open:
    """An open page, its errors and its requests."""

    def __init__(self, browser, file, width=1280, scheme="light"):
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
        self.page, self.wrong, self.asked = self.context.new_page(), [], []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.wrong.append(dialog.message), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(file.as_uri())
        self.page.wait_for_selector(".plot[data-drawn]")

    def unfold(self):
        self.page.evaluate("for (const one of document.querySelectorAll('main details')) one.open = true")

    def violations(self):
        """Return axe's findings about the page in its present state."""
        return violations(self.page)

    @property
    def keys(self):
        return self.page.evaluate("[...document.querySelectorAll('#table tbody tr')].map(row => row.dataset.key)")

    def _heard(self, message):
        if message.type in ("error", "warning") and not any(words in message.text for words in _NOT_OURS):
            self.wrong.append(message.text)

    def column(self, title):
        heads = [text.split("\n")[0].split(" ")[0] for text in self.page.locator("#table thead th").all_inner_texts()]
        cells = self.page.locator(f"#table tbody td:nth-child({heads.index(title) + 1})")
        return cells.all_inner_texts()

    def until(self, claim, argument=None):
        """Wait until a JavaScript function returns true; the page's security policy forbids playwright's own wait."""
        for _ in range(500):
            if self.page.evaluate(claim, argument):
                return
            self.page.wait_for_timeout(20)
        raise AssertionError(f"never true: {claim}")

    def fill(self, field, text, count):
        self.page.fill(field, text)
        self.until("count => document.getElementById('count').textContent.startsWith(`${count} of`)", count)


@pytest.fixture
def opened(running, file):
    opened = []

    def call(**how):
        opened.append(Open(running, file, **how))
        return opened[-1]

    yield call
    for one in opened:
        one.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_page_is_drawn_in_its_width_without_errors_or_requests(opened, file, width, scheme):
    one = opened(width=width, scheme=scheme)
    one.unfold()
    for plot in one.page.locator(".plot").all():
        plot.scroll_into_view_if_needed()
        one.until("plot => Boolean(plot.dataset.drawn)", plot.element_handle())
    assert one.page.evaluate("document.documentElement.scrollWidth") <= width
    paper = one.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(18, 24, 30)"}[scheme]
    assert one.wrong == []
    assert [url for url in one.asked if not url.startswith(("blob:", "data:"))] == [file.as_uri()]


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 400)])
def test_findings_are_drawn_and_leave_the_page_its_width(running, asked, tmp_path, scheme, width):
    file = tmp_path / "asked.html"
    file.write_text(report(load("asked", asked)), "utf-8")
    one = Open(running, file, width=width, scheme=scheme)
    plots = one.page.locator("#findings .plot").all()
    assert [plot.get_attribute("data-figure").rsplit("/", 1)[1] for plot in plots] == [
        "finding-occlusion",
        "finding-diversity",
    ]
    for plot in plots:
        plot.scroll_into_view_if_needed()
        one.until("plot => Boolean(plot.dataset.drawn)", plot.element_handle())
    assert one.page.evaluate("document.documentElement.scrollWidth") <= width
    assert one.wrong == []
    one.context.close()


def test_no_picture_offers_to_upload_itself_and_its_buttons_are_few(opened):
    page = opened().page
    offered = page.eval_on_selector_all(".modebar-btn", "all => all.map(one => one.dataset.title)")
    assert any("Download" in words for words in offered)
    assert not [words for words in offered if "Share" in words or "cloud" in words.lower()]
    flat = page.locator(".plot:has(.cartesianlayer .xy) .modebar").first.bounding_box()
    assert flat["width"] <= 120


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (400, "light"), (400, "dark")])
def test_axe_has_nothing_against_the_page(opened, width, scheme):
    """Checks the page as opened, and then with every part open, every picture drawn and a network kept."""
    one = opened(width=width, scheme=scheme)
    assert one.violations() == []
    one.unfold()
    for plot in one.page.locator(".plot").all():
        plot.scroll_into_view_if_needed()
        one.until("plot => Boolean(plot.dataset.drawn)", plot.element_handle())
    one.fill("#condition", "big < 3", 3)
    one.page.locator("table.front tr[data-key]").first.focus()
    one.page.keyboard.press("Enter")
    one.page.wait_for_selector("#panel svg.network")
    assert one.violations() == []


def test_axe_would_find_what_a_reader_of_the_screen_misses(opened):
    one = opened()
    one.page.evaluate(
        """() => {
            document.querySelector('.along label').replaceWith(document.querySelector('.along input'));
            document.querySelector('h3').outerHTML = '<h5>skipped</h5>';
            document.querySelector('.hint').style.color = 'rgb(180, 180, 180)';
            document.querySelector('.scroll').outerHTML = '<div class="tall" style="height: 20px">' +
                '<div style="height: 200px">some text</div></div>';
        }"""
    )
    found = {text.split(":")[0] for text in one.violations()}
    assert {"label", "heading-order", "color-contrast", "scrollable-region-focusable"} <= found


def test_contents_lead_to_each_section_and_headings_are_a_tree(opened):
    page = opened().page
    links = page.eval_on_selector_all(".contents a", "all => all.map(one => one.hash)")
    sections = page.eval_on_selector_all("main section", "all => all.map(one => `#${one.id}`)")
    assert links == sections
    assert links[0] == "#front-1", "the front comes first"
    page.click(f".contents a[href='{links[-1]}']")
    assert page.evaluate("document.querySelector(':target').id") == links[-1][1:]
    levels = page.eval_on_selector_all("h1, h2, h3, h4", "all => all.map(one => Number(one.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_slider_goes_along_the_front_by_keys_and_shows_each_network_with_what_made_it(opened):
    one = opened()
    keys = one.page.eval_on_selector_all("table.front tr[data-key]", "all => all.map(one => one.dataset.key)")
    slider = one.page.locator(".along input")
    slider.focus()
    one.page.keyboard.press("Home")
    seen, rings, said = [], [], []
    for _ in keys:
        seen.append(one.page.locator(".along .shown strong").inner_text())
        rings.append(
            one.page.evaluate(
                "() => { const ring = document.querySelector('.first .plot').data.find((one) => one.meta === 'along');"
                " return [ring.x[0], ring.y[0]]; }"
            )
        )
        said.append(slider.get_attribute("aria-valuetext"))
        assert one.page.locator(".along svg.network").count() == 1
        shown = one.page.locator(".along dl").inner_text()
        assert all(words in shown for words in ("solver", "big", "accuracy", "layers")), shown
        one.page.keyboard.press("ArrowRight")
    assert seen == keys
    assert len({tuple(ring) for ring in rings}) == len(set(said)) == len(keys)
    assert re.fullmatch(r"accuracy 0\.\d+, time \d+", said[0])
    one.page.locator("table.front tr[data-key]").first.click()
    assert one.page.locator(".along .shown strong").inner_text() == keys[0], "what is kept is shown here too"
    assert one.wrong == []


def test_printed_page_has_every_part_open(opened):
    one = opened()
    one.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert one.page.locator("main details:not(#columns):not([open])").count() == 0
    one.until("() => [...document.querySelectorAll('.plot')].every((plot) => plot.dataset.drawn)")
    assert one.wrong == []


def test_sweeps_stand_beside_each_other_in_one_picture(running, file, tmp_path):
    uri = f"sqlite:///{file.parent}/mlflow.db"
    page = tmp_path / "beside.html"
    page.write_text(report(load("first", uri), others=[load("other", uri)]), "utf-8")
    one = Open(running, page)
    plot = one.page.locator("#compared .plot")
    plot.scroll_into_view_if_needed()
    one.until("plot => Boolean(plot.dataset.drawn)", plot.element_handle())
    assert one.page.locator("#compared .legendtext").all_text_contents() == ["first", "other"]
    assert one.violations() == []
    assert one.wrong == []
    one.context.close()


def test_theme_can_be_changed_by_hand(opened):
    one = opened()
    one.page.click("#theme")
    assert one.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 24, 30)"
    ink = one.page.evaluate("document.querySelector('.plot[data-drawn]')._fullLayout.font.color")
    assert ink.lower() == "#e6eaee"
    assert one.wrong == []


def test_point_shows_its_network_and_a_click_keeps_it(opened):
    one = opened()
    one.page.locator(".plot[data-drawn]").first.scroll_into_view_if_needed()
    member = one.page.locator("table.front tr[data-key]").first.get_attribute("data-key")
    point = one.page.evaluate(
        """key => {
            const plot = document.querySelector('.plot[data-drawn]'), box = plot.getBoundingClientRect();
            const trace = plot.data.find((one) => (one.customdata || []).some((c) => c[0] === key));
            const at = trace.customdata.findIndex((c) => c[0] === key), l = plot._fullLayout;
            return [box.x + l._size.l + l.xaxis.d2p(trace.x[at]), box.y + l._size.t + l.yaxis.d2p(trace.y[at])];
        }""",
        member,
    )
    one.page.mouse.move(point[0] - 2, point[1])
    one.page.mouse.move(*point)
    one.page.wait_for_selector("#panel svg.network")
    assert one.page.locator("#panel strong").inner_text() == member
    assert one.page.locator("#panel .badge").inner_text() == "on the front"
    size = one.page.evaluate("(({ width, height }) => [width, height])(document.querySelector('#panel use').getBBox())")
    assert min(size) > 10, "its lines are drawn"
    assert "accuracy" in one.page.locator("#panel dl").inner_text()
    one.page.mouse.click(*point)
    one.page.wait_for_selector(f"#table tr.chosen[data-key='{member}']")
    one.page.mouse.move(5, 5)
    one.page.wait_for_timeout(300)
    assert one.page.locator("#panel").is_visible(), "kept"
    one.page.keyboard.press("Escape")
    assert not one.page.locator("#panel").is_visible()
    assert one.wrong == []


def test_row_can_be_opened_by_the_keyboard(opened):
    one = opened()
    one.page.locator("table.front tr[data-key]").first.focus()
    one.page.keyboard.press("Enter")
    one.page.wait_for_selector("#panel svg.network")
    assert one.page.locator("table.front tr.chosen").count() == 1


def test_points_of_a_picture_are_reached_by_the_keyboard(opened):
    one = opened()
    one.page.locator(".plot[data-drawn]").first.focus()
    seen = []
    for _ in range(3):
        one.page.keyboard.press("ArrowRight")
        seen.append(one.page.locator("#panel strong").inner_text())
    assert len(set(seen)) == 3
    one.page.keyboard.press("ArrowLeft")
    assert one.page.locator("#panel strong").inner_text() == seen[1]
    one.page.keyboard.press("Enter")
    one.page.wait_for_selector(f"#table tr.chosen[data-key='{seen[1]}']")
    one.page.locator("#search").focus()
    assert one.page.locator("#panel").is_visible(), "kept"
    assert one.wrong == []


def test_table_is_one_stop_of_the_keyboard_and_its_rows_are_reached_by_arrows(opened):
    one = opened()
    assert one.page.locator("#table tbody tr[tabindex='0']").count() == 1
    one.page.locator("#table tbody tr").first.focus()
    one.page.keyboard.press("ArrowDown")
    one.page.keyboard.press("ArrowDown")
    assert one.page.evaluate("document.activeElement.dataset.key") == one.keys[2]
    assert one.page.locator("#panel strong").inner_text() == one.keys[2]
    assert one.page.locator("#table tbody tr[tabindex='0']").count() == 1


def test_script_that_comes_in_with_words_would_not_run(opened):
    """The page's security policy stops a script that escaping missed: the test writes HTML into the page."""
    one = opened()
    one.page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=\"data:,\" onerror=\"window.hit=1\">')")
    one.page.evaluate(
        "{ const s = document.createElement('script'); s.textContent = 'window.hit=1'; document.body.append(s) }"
    )
    one.page.wait_for_timeout(200)
    assert one.page.evaluate("window.hit") is None
    assert any("Content Security Policy" in text for text in one.wrong)


def test_table_is_sorted_by_a_click_on_a_head(opened):
    one = opened()
    head = one.page.locator("#table thead th", has_text="accuracy").first
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending", "the best first"
    numbers = [float(text) for text in one.column("accuracy") if text != "–"]
    assert numbers == sorted(numbers, reverse=True)
    assert one.column("accuracy")[-1] == "–", "what was not measured comes last"
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    numbers = [float(text) for text in one.column("accuracy") if text != "–"]
    assert numbers == sorted(numbers)


def test_conditions_and_words_filter_the_table(opened):
    one = opened()
    accuracy = [float(text) for text in one.column("accuracy") if text != "–"]
    time = [float(text) for text in one.column("time") if text != "–"]
    both = sum(a >= 0.7 and (t < 4 or t > 9) for a, t in zip(accuracy, time, strict=True))
    assert 0 < both < len(accuracy)
    one.fill("#condition", "accuracy >= 0.7 and (time < 4 or time > 9)", both)
    assert one.page.locator("#table tbody tr").count() == both
    one.fill("#condition", "outcome != complete", 1)
    one.fill("#condition", "", 13)
    one.fill("#search", "onerror", 1)
    assert one.column("key") == ["bad0"]
    assert one.wrong == [], "what stands in a reason is not executed"


def _axes(one):
    """Return the parallel axes of the first task by name: the position on the screen, and that of both ends."""
    plot = one.page.locator(".plot[data-figure$='/parallel']").first
    plot.evaluate("plot => plot.scrollIntoView({block: 'center'})")
    one.until("plot => Boolean(plot.dataset.drawn)", plot.element_handle())
    plot.evaluate("plot => plot.scrollIntoView({block: 'center'})")  # pictures drawn above have moved it
    return plot.evaluate(
        """plot => {
            const { xaxis, yaxis } = plot._fullLayout, box = plot.getBoundingClientRect(), at = {};
            plot.layout.meta.parallel.forEach((name, side) => {
                const top = box.y + yaxis._offset + yaxis.l2p(1), bottom = box.y + yaxis._offset + yaxis.l2p(0);
                at[name] = [box.x + xaxis._offset + xaxis.l2p(side), top, bottom];
            });
            return at;
        }"""
    )


def _drag(one, start, end):
    one.page.mouse.move(*start)
    one.page.mouse.down()
    one.page.mouse.move((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    one.page.mouse.move(*end)
    one.page.mouse.up()


def test_part_of_a_parallel_axis_filters_the_table_of_trials(opened):
    one = opened()
    one.unfold()
    every = one.keys
    accuracy = {key: float(text) for key, text in zip(every, one.column("accuracy"), strict=True) if text != "–"}
    x, top, bottom = _axes(one)["proportion correct ↑"]
    least, most = min(accuracy.values()), max(accuracy.values())
    half = (least + most) / 2
    _drag(one, (x, top - 4), (x, (top + bottom) / 2 + 1))
    chosen = [key for key in every if accuracy.get(key, -1) >= half]
    assert 0 < len(chosen) < len(accuracy)
    one.until("count => document.getElementById('count').textContent.startsWith(`${count} of`)", len(chosen))
    assert one.keys == chosen
    one.fill("#condition", f"accuracy >= {most - 1e-4}", 1)
    one.page.fill("#condition", "")
    one.page.click("#count button")
    one.until("count => document.getElementById('count').textContent.startsWith(`${count} of`)", len(every))
    assert one.keys == every
    assert one.wrong == []


def test_parallel_axis_is_moved_by_its_name_and_no_line_is_lost(opened):
    one = opened()
    one.unfold()
    axes = _axes(one)
    names = sorted(axes, key=lambda name: axes[name][0])
    (x, _, bottom), (to, _, _) = axes[names[0]], axes[names[-1]]
    heights = """plot => plot.data.filter(trace => trace.meta).flatMap(
        trace => trace.y.filter((y, at) => trace.x[at] === PLACE)).map(y => y.toFixed(4)).sort()"""
    plot = one.page.locator(".plot[data-figure$='/parallel']").first
    before = plot.evaluate(heights.replace("PLACE", "0"))
    _drag(one, (x, bottom + 24), (to, bottom + 30))
    assert plot.evaluate(heights.replace("PLACE", str(len(names) - 1))) == before
    assert len(before) == plot.evaluate("plot => plot.data.filter(t => t.meta).flatMap(t => t.meta.keys).length")
    assert one.page.locator("#count").inner_text().startswith(f"{len(one.keys)} of")
    assert one.wrong == []


_IN_SPACE = ".plot[data-figure$='/front-3d']"
_KINDS = "plot => [...new Set(plot.data.map(trace => trace.type))]"
_CAPTION = "plot => plot.closest('figure').querySelector('figcaption').textContent"


@pytest.fixture(scope="module")
def spacious(tmp_path_factory, empty_database):
    """The report of a sweep with four objectives."""
    folder = tmp_path_factory.mktemp("space")
    shutil.copy(empty_database, folder / "mlflow.db")
    sweep = store(f"sqlite:///{folder}/mlflow.db", "space", test_plots.some_trials(), **test_plots.AIMS)
    (folder / "space.html").write_text(report(sweep), "utf-8")
    return folder / "space.html"


def test_picture_in_space_lies_flat_where_the_report_is_printed(running, spacious):
    one = Open(running, spacious)
    one.unfold()
    plot = one.page.locator(_IN_SPACE).first
    plot.scroll_into_view_if_needed()
    one.until("plot => Boolean(plot.dataset.drawn)", plot.element_handle())
    assert plot.evaluate(_KINDS) == ["scatter3d"]
    assert "drag to turn it" in plot.evaluate(_CAPTION)
    one.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert plot.evaluate(_KINDS) == ["scatter"]
    assert "drag to turn it" not in plot.evaluate(_CAPTION)
    one.page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert plot.evaluate(_KINDS) == ["scatter3d"]
    assert "drag to turn it" in plot.evaluate(_CAPTION)
    one.context.close()


def test_every_picture_is_drawn_without_webgl(running, spacious):
    switches = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-3d-apis"]
    plain = running.browser_type.launch(executable_path=browser_path(), args=switches)
    try:
        one = Open(plain, spacious)
        one.unfold()
        for plot in one.page.locator(".plot").all():
            plot.scroll_into_view_if_needed()
            one.until("plot => Boolean(plot.dataset.drawn)", plot.element_handle())
            assert plot.locator("svg.main-svg path, svg.main-svg image").count()
        assert one.page.locator(_IN_SPACE).first.evaluate(_KINDS) == ["scatter"]
        assert one.page.locator("text=WebGL").count() == 0
        assert one.wrong == []
    finally:
        plain.close()


ASKED = [
    "accuracy >= 0.6 and (time < 3 or big = 3)",
    "accuracy == .6",
    "accuracy > 1e-1",
    "accuracy > 0x0",
    "accuracy > Infinity",
    "accuracy > many",
    "accuracy = '0.5'",
    "accuracy=>3",
    "accuracy >",
    "accuracy > 0 and",
    "accuracy > 0 AND time<3",
    "accuracy > 0.6 or time < 3 and big = 1",
    "accuracy > 1 time < 2",
    "(((accuracy>0)))",
    "(accuracy > 1",
    "(" * 51 + "big = 1" + ")" * 51,
    "macs > 0 or acuracy > 1",
    "alert(1)",
    "solver = Two words",
    "solver = 'Two words'",
    "solver = two words or big=1",
    "solver = proximal",
    "solver = PROXIMAL",
    "solver = and",
    "solver = 5",
    "solver != proximal",
    "limited_time = 0",
    "limited_time = FALSE",
    "limited_time = 'false'",
    "limited_time > 0",
    "outcome != complete",
    "outcome > complete",
    "state = complete",
    "key = 0000000000000001",
    'key = "10"',
    "channels_per_layer = x",
    "number < 2",
    "started_ms > 0",
    "loss < 2",
]


def test_conditions_mean_on_the_page_what_they_mean_on_the_command_line(opened, file):
    one, sweep = opened(), load("first", f"sqlite:///{file.parent}/mlflow.db")
    for text in ASKED:
        try:
            wanted = sweep.trials(where=[text])["key"].to_pylist()
        except QueryError:
            wanted = None
        one.page.fill("#condition", text)
        one.until("text => document.getElementById('condition').dataset.asked === text", text)
        problem = one.page.locator("#problem").inner_text()
        if wanted is None:
            assert problem, f"{text} is refused on the command line"
            assert len(one.keys) == 13, "and hides nothing"
        else:
            assert (one.keys, problem) == (wanted, ""), text
    assert one.wrong == []


def test_condition_that_cannot_be_read_is_said_beside_its_box(opened):
    one = opened()
    for text, words in (
        ("acuracy > 1", "no column “acuracy”"),
        ("accuracy >", "expected a value at its end"),
        ("accuracy > many", "accuracy is a number, but “many” is none"),
        ("outcome > complete", "outcome has no order"),
        ("alert(1)", "at “(1)”"),
    ):
        one.page.fill("#condition", text)
        one.until("words => document.getElementById('problem').textContent.includes(words)", words)
        assert one.page.locator("#condition").get_attribute("aria-invalid") == "true"
    one.page.fill("#condition", "big < 3")
    one.until("() => document.getElementById('problem').textContent === ''")
    assert one.page.locator("#condition").get_attribute("aria-invalid") is None
    assert len(one.keys) == 3


def test_columns_are_chosen(opened):
    one = opened()
    one.page.click("#columns summary")
    one.page.locator("#columns label", has_text="macs").locator("input").check()
    assert len(one.column("macs")) == 13
