"""report.html in a browser: Debian's chromium, headless, without a network.

Skips with the reason where there is no browser or no driver for it.
"""

import shutil

import pytest
import synthetic_results
from synthetic_results import NASTY, make

from harness.figures.paper import bundle
from harness.ranking import ranked
from harness.report.page import page
from harness.sections import Story, told

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")

QUIET = ["--no-sandbox", "--disable-gpu", "--disable-extensions", "--disable-background-networking"]
PATIENCE = 120_000  # milliseconds; a busy machine draws slowly
MODELS = ("baseline", "large", "ensemble 3", "FGSM 0.3", "PGD 0.3", "MixUp then PGD")


@pytest.fixture(scope="session")
def path(tmp_path_factory):
    """A page with everything on it, and names that would run as code in a careless one."""
    models = [one for one in synthetic_results.study() if one.name in MODELS]
    story = Story(ranked(make(models=models, n=150, attacked=100, nasty=True)))
    path = tmp_path_factory.mktemp("page") / "report.html"
    made = page("Title <b>", "intro", story, told(story), bundle())
    path.write_text(made, encoding="utf-8", newline="")
    return path


@pytest.fixture(scope="session")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


class Open:
    """An open page, with all that it complained of or asked for."""

    def __init__(self, browser, path, width=1280, scheme="light"):
        self.page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page.set_default_timeout(PATIENCE)
        self.errors, self.requests, self.dialogs = [], [], []
        self.page.on("console", lambda message: self.errors.append(message.text) if message.type in ("error", "warning") else None)  # fmt: skip
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on(
            "dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss())
        )
        self.page.goto(f"file://{path}")

    def draw(self, *names):
        """Scroll figures into view until they are drawn; all of them when none is named."""
        figures = self.page.locator("figure.chart")
        names = names or [
            figures.nth(n).get_attribute("data-chart") for n in range(figures.count())
        ]
        for name in names:
            self.page.locator(f"#figure-{name}").scroll_into_view_if_needed()
            self.page.locator(f"#figure-{name} .drawing.drawn svg").wait_for()
        return names

    def cut(self):
        """Texts of figures that had no room, but for the name that no figure has room for."""
        texts = self.page.locator("figure.chart svg text").all_text_contents()
        return [text for text in texts if "\u2026" in text and not text.startswith("<img")]

    def column(self, place):
        """Values of a column of the summary, as shown; None for none."""
        cells = self.page.locator(f"#table-models tbody tr:not([hidden]) td:nth-child({place})")
        return [
            float(v) if v else None
            for v in cells.evaluate_all("all => all.map(one => one.dataset.value)")
        ]

    def models(self):
        """Models of the summary that are shown, from the top."""
        return self.page.locator("#table-models tbody tr:not([hidden])").evaluate_all(
            "all => all.map(one => one.dataset.model)"
        )


@pytest.fixture(scope="session")
def drawn(browser, path):
    """The page with every figure drawn, for tests that only look."""
    opened = Open(browser, path)
    opened.names = opened.draw()
    yield opened
    opened.page.close()


@pytest.fixture
def fresh(browser, path):
    """A page to play with."""
    opened = Open(browser, path)
    yield opened
    opened.page.close()


def test_no_errors_no_requests_no_code_from_names(drawn):
    """Catches a script that fails, a font from elsewhere, and `<img src=x onerror=alert(1)>`."""
    assert len(drawn.names) >= 12
    assert drawn.errors == []
    assert [url for url in drawn.requests if not url.startswith(("file:", "data:"))] == []
    assert drawn.dialogs == []
    assert drawn.page.locator("img[src=x]").count() == 0
    assert drawn.page.locator("h1").inner_text() == "Title <b>"


def test_nothing_is_wider_than_the_page(drawn):
    """Catches a claim or a comparison whose end is cut off, too."""
    assert drawn.cut() == []
    assert drawn.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_phone_needs_no_sideways_scrolling(browser, path):
    """Catches a figure or table that widens the page instead of scrolling in its box."""
    opened = Open(browser, path, width=390)
    opened.draw()
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert opened.cut() == []
    assert opened.errors == []
    opened.page.close()


def test_the_table_sorts_by_number_best_first(fresh):
    """Catches sorting as text (9 after 10), and void numbers that come first."""
    place = fresh.page.locator("#table-models thead th").evaluate_all(
        "all => all.findIndex(one => one.textContent.startsWith('Robust'))"
    )
    head = fresh.page.locator(f"#table-models thead th:nth-child({place + 1})")
    before = fresh.column(place + 1)
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    after = fresh.column(place + 1)
    numbers = [value for value in before if value is not None]
    assert None in before
    assert after == sorted(numbers, reverse=True) + [None] * before.count(None)
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert fresh.column(place + 1) == sorted(numbers) + [None] * before.count(None)


def test_lower_is_better_sorts_upwards_first(fresh):
    head = fresh.page.locator("#table-models thead th", has_text="Brier")
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"


def test_the_table_sorts_from_the_keyboard(fresh):
    head = fresh.page.locator("#table-models thead th").first
    head.locator("button").focus()
    fresh.page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert fresh.models() == sorted(fresh.models(), key=str.lower)


def test_the_table_filters(fresh):
    field = fresh.page.locator("input[data-table=table-models]")
    field.fill("pgd TRAINING")
    assert fresh.models() == ["PGD 0.3"]
    field.fill("onerror")
    assert fresh.models() == [NASTY]
    field.fill("nothing like it")
    assert fresh.models() == []
    field.fill("")
    assert len(fresh.models()) == len(MODELS)


def points(opened, figure):
    """Number of points drawn in a figure."""
    return opened.page.locator(
        f"#figure-{figure} svg .mark-symbol:not(.role-legend-symbol) path"
    ).count()


def test_a_model_can_be_switched_off(fresh):
    """In the table and in figures, those drawn later included."""
    fresh.draw("trade-off")
    before = points(fresh, "trade-off")
    box = fresh.page.locator("input.model").nth(1)
    assert box.get_attribute("value") == NASTY
    box.uncheck()
    assert NASTY not in fresh.models()
    assert fresh.page.locator("#shown").inner_text() == f"({len(MODELS) - 1} of {len(MODELS)})"
    fresh.page.wait_for_function(
        "before => document.querySelectorAll('#figure-trade-off svg .mark-symbol:not(.role-legend-symbol) path').length < before",
        arg=before,
    )
    fresh.draw("overview")
    assert "onerror" not in fresh.page.locator("#figure-overview svg").text_content()
    box.check()
    assert NASTY in fresh.models()


def test_a_family_can_be_switched_off(fresh):
    family = fresh.page.locator("fieldset", has_text="Ensemble").locator("input.family")
    family.uncheck()
    assert "ensemble 3" not in fresh.models()
    fresh.page.locator("button[data-all=off]").click()
    assert fresh.models() == []
    fresh.page.locator("button[data-all=on]").click()
    assert len(fresh.models()) == len(MODELS)


def test_a_figure_shows_hover_text(fresh):
    fresh.draw("trade-off")
    fresh.page.locator("#figure-trade-off svg .mark-symbol:not(.role-legend-symbol) path").last.hover(force=True)  # fmt: skip
    shown = fresh.page.locator("#vg-tooltip-element.visible")
    shown.wait_for()
    told = shown.inner_text()
    assert any(name in told for name in (*MODELS, NASTY))
    assert "Robust" in told
    assert fresh.dialogs == []


def test_the_scatter_shows_the_chosen_numbers(fresh):
    """Catches a menu that changes a label and not the points."""
    fresh.draw("trade-off")
    select = fresh.page.locator("#figure-trade-off select").first
    drawing = fresh.page.locator("#figure-trade-off svg .mark-symbol:not(.role-legend-symbol)").last
    before = drawing.inner_html()
    select.select_option(label="Clean (%)")
    fresh.page.wait_for_function(
        "before => [...document.querySelectorAll('#figure-trade-off svg .mark-symbol:not(.role-legend-symbol)')].at(-1).innerHTML !== before",
        arg=before,
    )
    assert "Clean (%)" in fresh.page.locator("#figure-trade-off svg").text_content()


def test_dark_and_light_can_be_chosen(fresh):
    """Catches a switch that leaves white figures on a dark page."""
    fresh.draw("trade-off")

    def ground():
        return fresh.page.evaluate("getComputedStyle(document.body).backgroundColor")

    light = ground()
    fresh.page.locator("#theme").click()  # as the system -> light
    assert ground() == light
    fresh.page.locator("#theme").click()  # dark
    assert ground() != light
    fresh.page.wait_for_function(
        "document.querySelector('#figure-trade-off svg > rect, #figure-trade-off svg .background').outerHTML.includes('#15181b') || document.querySelector('#figure-trade-off svg').innerHTML.includes('#15181b') || getComputedStyle(document.querySelector('#figure-trade-off svg')).backgroundColor === 'rgb(21, 24, 27)'"
    )


# axe takes minutes for a thousand cells; of the rows of a table that look alike one is enough.
ONE_OF_A_KIND = """
document.querySelectorAll("tbody").forEach(body => {
  const seen = new Set();
  [...body.rows].forEach(row => {
    const kind = [...row.cells].map(cell => cell.tagName + cell.className + cell.childElementCount).join();
    seen.has(kind) ? row.remove() : seen.add(kind);
  });
});
"""


@pytest.mark.parametrize(
    ("scheme", "rules"), [("light", {}), ("dark", {"runOnly": ["color-contrast"]})]
)
def test_axe_finds_no_serious_fault(browser, path, scheme, rules):
    """axe-core: names, roles, contrast, keyboard access to what scrolls; in the dark only colours differ."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe  # fmt: skip
    opened = Open(browser, path, scheme=scheme)
    opened.draw("overview", "trade-off")
    opened.page.evaluate(
        "document.querySelectorAll('details').forEach(one => { one.open = true; })"
    )
    opened.page.evaluate(ONE_OF_A_KIND)
    found = axe().run(opened.page, options=rules).response["violations"]
    serious = [(one["id"], [node["target"] for node in one["nodes"]][:3]) for one in found if one["impact"] in ("serious", "critical")]  # fmt: skip
    opened.page.close()
    assert serious == []
