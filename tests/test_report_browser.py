"""The report in a real browser: it draws, sorts, filters and shows networks, and asks nobody for anything."""

from __future__ import annotations

import shutil

import pytest

from sweeper.loaded import LoadedSweep
from sweeper.report import report
from tests.browser import browser
from tests.contracts.recorder import a_failed_trial
from tests.stored import store
from tests.test_report import HOSTILE, a_network, some_trials

pytestmark = pytest.mark.slow

#: Of the driver of the graphics card, which a machine without one has to itself.
_NOT_OURS = ("GL Driver Message", "willReadFrequently")


@pytest.fixture(scope="module")
def running():
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def file(tmp_path_factory, empty_database):
    folder = tmp_path_factory.mktemp("report")
    shutil.copy(empty_database, folder / "mlflow.db")
    trials = [*some_trials(12), a_failed_trial(30, key="bad0", reason=f"ValueError: {HOSTILE}")]
    store(f"sqlite:///{folder}/mlflow.db", "first", trials, network=a_network)
    (folder / "first.html").write_text(report(LoadedSweep("first", f"sqlite:///{folder}/mlflow.db")), "utf-8")
    return folder / "first.html"


class Open:
    """A page that is open, and what went wrong in it."""

    def __init__(self, browser, file, width=1280, scheme="light"):
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
        self.page, self.wrong, self.asked = self.context.new_page(), [], []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.wrong.append(dialog.message), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(file.as_uri())
        self.page.wait_for_selector(".plot[data-drawn]")

    def _heard(self, message):
        if message.type in ("error", "warning") and not any(words in message.text for words in _NOT_OURS):
            self.wrong.append(message.text)

    def column(self, title):
        heads = [text.split("\n")[0].split(" ")[0] for text in self.page.locator("#table thead th").all_inner_texts()]
        cells = self.page.locator(f"#table tbody td:nth-child({heads.index(title) + 1})")
        return cells.all_inner_texts()

    def until(self, claim, argument=None):
        """Wait until a JavaScript function says yes; the page's own policy forbids what playwright has for that."""
        for _ in range(200):
            if self.page.evaluate(claim, argument):
                return
            self.page.wait_for_timeout(50)
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
    for plot in one.page.locator(".plot").all():
        plot.scroll_into_view_if_needed()
        one.until("plot => Boolean(plot.dataset.drawn)", plot.element_handle())
    assert one.page.evaluate("document.documentElement.scrollWidth") <= width
    assert one.page.evaluate("document.documentElement.dataset.theme") == scheme
    assert one.wrong == []
    assert [url for url in one.asked if not url.startswith(("blob:", "data:"))] == [file.as_uri()]


def test_theme_can_be_changed_by_hand(opened):
    one = opened()
    one.page.click("#theme")
    assert one.page.evaluate("document.documentElement.dataset.theme") == "dark"
    ink = one.page.evaluate("document.querySelector('.plot[data-drawn]')._fullLayout.font.color")
    assert ink.lower() == "#e6eaee"
    assert one.wrong == []


def test_point_shows_its_network_and_a_click_keeps_it(opened):
    one = opened()
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
    one.page.wait_for_selector("#panel img")
    assert one.page.locator("#panel strong").inner_text() == f"{member} · on the front"
    one.until("() => document.querySelector('#panel img').naturalWidth > 100")
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
    one.page.wait_for_selector("#panel img")
    assert one.page.locator("table.front tr.chosen").count() == 1


def test_table_is_sorted_by_a_click_on_a_head(opened):
    one = opened()
    head = one.page.locator("#table thead th", has_text="accuracy")
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


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("acuracy > 1", 'no column "acuracy"'),
        ("accuracy >", "needs a value"),
        ("(accuracy > 1", "parenthesis is not closed"),
        ("accuracy > many", '"many" is not'),
        ("accuracy > 1 time < 2", "join conditions with and, or"),
        ("outcome > complete", "has no order"),
        ("alert(1)", 'no column "alert"'),
    ],
)
def test_condition_that_cannot_be_read_is_said_and_hides_nothing(opened, text, words):
    one = opened()
    one.page.fill("#condition", text)
    one.until("() => document.getElementById('problem').textContent !== ''")
    assert words in one.page.locator("#problem").inner_text()
    assert one.page.locator("#table tbody tr").count() == 13
    assert one.wrong == []


def test_columns_are_chosen(opened):
    one = opened()
    one.page.click("#columns summary")
    one.page.locator("#columns label", has_text="macs").locator("input").check()
    assert len(one.column("macs")) == 13
