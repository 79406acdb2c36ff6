"""Columns of the list of runs: tags, and the last value of any number."""

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from .conftest import SCREENSHOTS, Lab, running_lab
from .run_stories import LONG_ID, RTL_ID, Runs
from .test_runs import AXE, listed, row
from .watching import axe_findings, no_sideways_scroll, until

pytestmark = pytest.mark.browser

ODD = 'top-1, "best" 100 % & <b>?#/é'


@pytest.fixture(scope="module")
def sweep_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Four runs of a sweep with tags and numbers of odd names."""
    with running_lab(tmp_path_factory.mktemp("columns")) as made:
        runs = Runs()
        tags = {"a-1": ["baseline", "lr, low"], "b-2": ["warm up"], RTL_ID: ["تجربة"]}
        for place, run in enumerate(("a-1", "b-2", LONG_ID, RTL_ID)):
            given = {"tags": tags[run]} if run in tags else {}
            runs.training(run, 9_000 - place * 100, steps=4, started=given)
            value = "NaN" if run == RTL_ID else [0.25, 0.75, 0.5][place]
            details = {"step": 5, "eval/acc": value} | ({ODD: 3 - place} if place < 2 else {})
            runs.add(run, "training_step", 8_900 - place * 100, details=details)
            runs.ended(run, 8_890 - place * 100, "completed")
        runs.store(made)
        yield made


@pytest.fixture
def sweep_page(sweep_lab: Lab, page: Page) -> Page:
    """The list of that lab, drawn."""
    page.goto(f"{sweep_lab.url}/runs")
    page.locator("[data-run]").first.wait_for()
    return page


def choose(page: Page, name: str) -> None:
    """Tick a column."""
    if not page.locator(".column-choice[open]").count():
        page.get_by_text("Columns", exact=True).first.click()
    page.get_by_role("checkbox", name=name, exact=True).check()


def values(page: Page, metric: str) -> list[str]:
    """What the column of a number says, from top to bottom."""
    found: list[str] = page.eval_on_selector_all(
        "td.run-metric",
        "(cells, name) => cells.filter(one => one.dataset.metric === name)"
        ".map(one => one.lastElementChild.textContent)",
        metric,
    )
    return found


def test_tags_are_a_column_and_are_found(sweep_page: Page) -> None:
    """Where a run has some; sorted as texts, those without last."""
    assert "lr, low" in row(sweep_page, "a-1")
    heading = sweep_page.get_by_role("columnheader", name="Tags")
    heading.get_by_role("button").click()
    assert listed(sweep_page) == ["a-1", "b-2", RTL_ID, LONG_ID]
    sweep_page.get_by_label("Search runs").fill("WARM")
    until(sweep_page, "document.querySelectorAll('[data-run]').length === 1")
    assert listed(sweep_page) == ["b-2"]


def test_any_number_is_a_column_that_sorts_and_stays(sweep_page: Page, sweep_lab: Lab) -> None:
    """Whatever its name is: in the address, and remembered for the next time."""
    choose(sweep_page, "eval/acc")
    choose(sweep_page, ODD)
    until(sweep_page, "document.querySelectorAll('td.run-metric').length === 8")
    until(sweep_page, "/NaN|0[.]/.test(document.querySelector('td.run-metric').textContent)")
    sweep_page.keyboard.press("Escape")
    expect(sweep_page.locator(".column-choice[open]")).to_have_count(0)
    heading = sweep_page.get_by_role("columnheader", name="eval/acc")
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert listed(sweep_page) == ["a-1", LONG_ID, "b-2", RTL_ID]
    assert values(sweep_page, "eval/acc") == ["0.2500", "0.5000", "0.7500", "NaN"]
    assert values(sweep_page, ODD) == ["3", "–", "2", "–"]
    query = parse_qs(urlsplit(sweep_page.url).query)
    assert query["metric"] == ["eval/acc", ODD]
    assert query["sort"] == ["metric:eval/acc"]
    sweep_page.reload()
    sweep_page.locator("[data-run]").first.wait_for()
    assert values(sweep_page, "eval/acc") == ["0.2500", "0.5000", "0.7500", "NaN"]
    # Another address without a choice has the remembered one, and says so.
    sweep_page.goto(f"{sweep_lab.url}/runs?status=completed")
    sweep_page.locator("td.run-metric").first.wait_for()
    assert parse_qs(urlsplit(sweep_page.url).query)["metric"] == ["eval/acc", ODD]
    # An address with a choice of its own wins.
    sweep_page.goto(f"{sweep_lab.url}/runs?metric=nobody")
    sweep_page.locator("td.run-metric").first.wait_for()
    assert values(sweep_page, "nobody") == ["–"] * 4


def test_columns_can_be_hidden_and_names_typed(sweep_page: Page) -> None:
    """A number that no new run has is typed; a column that sorts goes with its order."""
    choose(sweep_page, "eval/acc")
    sweep_page.get_by_role("checkbox", name="Host", exact=True).uncheck()
    expect(sweep_page.get_by_role("columnheader", name="Host")).to_have_count(0)
    sweep_page.get_by_label("Search numbers").fill("eval/of last year")
    sweep_page.get_by_role("button", name="Add “eval/of last year”").click()
    heading = sweep_page.get_by_role("columnheader", name="eval/of last year")
    expect(heading).to_have_count(1)
    assert axe_findings(sweep_page, AXE) == []
    assert parse_qs(urlsplit(sweep_page.url).query)["hide"] == ["host"]
    sweep_page.keyboard.press("Escape")
    heading.get_by_role("button").click()
    assert "sort=" in sweep_page.url
    choice = sweep_page.get_by_text("Columns", exact=True).first
    choice.click()
    sweep_page.get_by_role("checkbox", name="eval/of last year").click()
    expect(heading).to_have_count(0)
    assert "sort=" not in sweep_page.url
    sweep_page.locator("h1").dispatch_event("click")
    expect(sweep_page.locator(".column-choice[open]")).to_have_count(0)


@pytest.mark.parametrize(("width", "theme"), [(1440, "dark"), (820, "light"), (390, "light")])
def test_numbers_and_tags_fit(browser: Browser, sweep_lab: Lab, width: int, theme: str) -> None:
    """A wide table scrolls by itself; on a phone they are lines of the card."""
    page = browser.new_page(
        viewport={"width": width, "height": 844},
        color_scheme="dark" if theme == "dark" else "light",
    )
    names = "&metric=eval/acc&metric=train/accuracy&metric=learning_rate&metric=eval/loss"
    page.goto(f"{sweep_lab.url}/runs?hide=ranks{names}&metric=" + "w" * 100)
    page.locator("td.run-metric").first.wait_for()
    page.screenshot(path=SCREENSHOTS / f"columns-{width}-{theme}.png", full_page=True)
    assert no_sideways_scroll(page)
    assert axe_findings(page, AXE) == []
    if width == 390:
        for text in ("Tags", "lr, low", "eval/acc", "0.2500"):
            assert text in row(page, "a-1")
    page.get_by_text("Columns", exact=True).first.click()
    page.get_by_role("checkbox", name="eval/acc", exact=True).wait_for()
    page.screenshot(path=SCREENSHOTS / f"columns-open-{width}-{theme}.png")
    assert no_sideways_scroll(page)
    assert axe_findings(page, AXE) == []
    page.close()
