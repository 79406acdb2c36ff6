"""The list of runs: what a person sees at a glance, sorts, filters and finds."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.waiting import wait_until

from .conftest import SCREENSHOTS, Lab, running_lab
from .run_stories import LONG_ID, MARKUP_ID, RTL_ID, Runs, every_kind
from .watching import axe_findings, no_sideways_scroll, pill, until

pytestmark = pytest.mark.browser

AXE = Path(__file__).parents[2] / "realm_telemetry/service/web/node_modules/axe-core/axe.min.js"
FIRST_TWO = ["llama-ft-running", "stalled-run"]


@pytest.fixture(scope="module")
def runs_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab with one run of each kind."""
    with running_lab(tmp_path_factory.mktemp("runs")) as made:
        every_kind(made)
        yield made


@pytest.fixture
def list_page(runs_lab: Lab, page: Page) -> Page:
    """The list of that lab, drawn."""
    page.goto(f"{runs_lab.url}/runs")
    page.locator("[data-run]").first.wait_for()
    return page


def listed(page: Page) -> list[str]:
    """The runs that are shown, from top to bottom."""
    found: list[str] = page.eval_on_selector_all(
        "[data-run]", "rows => rows.map(row => row.dataset.run)"
    )
    return found


def row(page: Page, run: str) -> str:
    """The text of a run's row."""
    return page.locator(f'[data-run="{run}"]').inner_text()


def test_open_runs_are_first_and_problems_are_said(list_page: Page) -> None:
    """Status in a word, and the reason below the name."""
    names = listed(list_page)
    assert names[:2] == FIRST_TWO
    assert set(names[-3:]) == {LONG_ID, RTL_ID, MARKUP_ID}
    failed = row(list_page, "gpt-8-ranks")
    for text in ("Failed", "IndexError: index 4096", "40 of 100", "step 20", "8 ranks", "node-1"):
        assert text in failed
    assert "Stalled" in row(list_page, "stalled-run")
    assert "the container reached its memory limit" in row(list_page, "oom-run")
    assert "loss was NaN from step 30" in row(list_page, "nan-run")
    assert list_page.title() == "1 stalled · 1 running · Runs"


def test_a_name_is_a_text_and_leads_to_its_run(list_page: Page) -> None:
    """Whatever characters it has."""
    for name in (LONG_ID, RTL_ID, MARKUP_ID):
        assert name in listed(list_page)
    assert list_page.locator("main img").count() == 0
    link = list_page.get_by_role("link", name=MARKUP_ID)
    link.click()
    list_page.wait_for_url("**/runs/%3Cimg*")


def test_every_column_sorts_both_ways_and_back(list_page: Page) -> None:
    """The heading says how; a third click is the usual order."""
    heading = list_page.get_by_role("columnheader", name="Run", exact=True)
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    upwards = listed(list_page)
    assert upwards.index("gpt-8-ranks") < upwards.index("oom-run") < upwards.index("well-done")
    heading.get_by_role("button").click()
    assert listed(list_page) == upwards[::-1]
    heading.get_by_role("button").click()
    assert listed(list_page)[:2] == FIRST_TWO
    for place in range(list_page.get_by_role("columnheader").count()):
        list_page.get_by_role("columnheader").nth(place).get_by_role("button").click()
        assert len(listed(list_page)) == 10


def test_status_and_words_narrow_the_list_and_are_in_the_address(list_page: Page) -> None:
    """So that a link shows others the same."""
    list_page.locator("[data-filter=killed]").click()
    assert len(listed(list_page)) == 3
    list_page.keyboard.press("/")
    list_page.keyboard.type("ONERROR sigkill")
    until(list_page, "document.querySelectorAll('[data-run]').length === 1")
    list_page.reload()
    list_page.locator("[data-run]").first.wait_for()
    assert listed(list_page) == [MARKUP_ID]
    assert "1 of 10 runs" in list_page.get_by_test_id("runs-total").inner_text()
    list_page.get_by_label("Search runs").fill("nothing has this")
    list_page.get_by_role("button", name="Show all runs").click()
    assert len(listed(list_page)) == 10


def test_warnings_narrow_the_list_whatever_the_status_is(list_page: Page) -> None:
    """A run that completed may have had NaN; the address has the choice."""
    list_page.locator("[data-warning=not_finite]").click()
    assert listed(list_page) == ["nan-run"]
    list_page.reload()
    list_page.locator("[data-run]").first.wait_for()
    assert listed(list_page) == ["nan-run"]
    list_page.locator("[data-warning=stalls]").click()
    assert listed(list_page) == ["stalled-run"]


def test_keys_walk_the_runs(list_page: Page) -> None:
    """And Enter opens the one in focus."""
    list_page.keyboard.press("j")
    list_page.keyboard.press("j")
    expect(list_page.get_by_role("link", name="stalled-run")).to_be_focused()
    list_page.keyboard.press("k")
    expect(list_page.get_by_role("link", name="llama-ft-running")).to_be_focused()
    list_page.keyboard.press("Enter")
    list_page.wait_for_url("**/runs/llama-ft-running")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 820, 390])
def test_the_list_fits_and_axe_finds_nothing(
    browser: Browser, runs_lab: Lab, theme: str, width: int
) -> None:
    """On a phone as cards: status, name and the whole reason; and a picture is taken."""
    SCREENSHOTS.mkdir(exist_ok=True)
    context = browser.new_context(
        viewport={"width": width, "height": 844 if width < 600 else 1000},
        color_scheme="dark" if theme == "dark" else "light",
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.goto(f"{runs_lab.url}/runs")
    page.locator("[data-run]").first.wait_for()
    pill(page, "Live")
    page.screenshot(path=SCREENSHOTS / f"runs-{width}-{theme}.png", full_page=width < 600)
    assert no_sideways_scroll(page)
    assert axe_findings(page, AXE) == []
    if width == 390:
        box = page.locator("[data-run]").first.bounding_box()
        assert box is not None
        assert box["y"] < 300
        clipped = "p => [...p].some(one => one.scrollHeight > one.clientHeight + 1)"
        assert not page.eval_on_selector_all(".run-reason", clipped)
    context.close()


def test_an_empty_list_says_how_to_begin_and_then_fills(lab: Lab, page: Page) -> None:
    """With the address of this very service; the first run appears by itself."""
    page.goto(f"{lab.url}/runs")
    hint = page.get_by_test_id("no-runs")
    hint.wait_for()
    assert "realm run -- python train.py" in hint.inner_text()
    assert f"REALM_SERVICE_URL={lab.url} " in hint.inner_text()
    runs = Runs()
    runs.training("first-run", 5, steps=5)
    runs.store(lab)
    page.locator("[data-run=first-run]").wait_for()


def test_the_list_follows_its_runs_and_says_when_the_service_is_down(lab: Lab, page: Page) -> None:
    """What was read stays, with its time; it goes on when the service is back."""
    runs = Runs()
    runs.training("r1", 5, steps=5)
    runs.store(lab)
    page.goto(f"{lab.url}/runs")
    page.locator("[data-run=r1][data-status=running]").wait_for()
    lab.kill()
    pill(page, "Reconnecting")
    alert = page.get_by_role("alert")
    alert.filter(has_text="The service does not answer").wait_for()
    assert listed(page) == ["r1"]
    lab.start()
    pill(page, "Live")
    alert.wait_for(state="detached")
    runs.ended("r1", 0, "failed", "exit code 3")
    runs.store(lab)
    page.locator("[data-run=r1]").filter(has_text="exit code 3").wait_for()
    assert page.title() == "Runs"


@pytest.mark.long
@pytest.mark.alone
@pytest.mark.slow
def test_ten_thousand_runs_are_there_at_once(lab: Lab, page: Page) -> None:
    """First rows within half a second, and any order within 300 ms."""
    runs = Runs()
    for number in range(10_000):
        name = f"run-{number:05}"
        values = {"step": number % 97, "loss": (number * 7919) % 10_007 / 100}
        runs.add(name, "training_step", 86_400 - number, details=values)
        status = "failed" if number % 10 == 0 else "completed"
        runs.ended(name, 86_400 - number - 0.5, status, f"exit code {number % 5}")
    runs.store(lab)
    # Until they are saved, the service merges each of them anew for each request.
    wait_until(lambda: lab.client.get("/api/runs").elapsed.total_seconds() < 0.1, 120)
    first_ms = min(ms_until_drawn(page, f"{lab.url}/runs") for _ in range(5))
    until(page, "document.querySelector('[data-testid=runs-total]').dataset.total === '10000'", 240)
    headings = page.get_by_role("columnheader")
    each_ms = [ms_to_sort(headings.nth(place)) for place in range(headings.count())]
    print(f"first rows {first_ms:.0f} ms, orders {[round(ms) for ms in each_ms]} ms")
    assert len(listed(page)) == 50
    assert len(each_ms) == 10
    assert first_ms <= 500
    assert max(each_ms) <= 300


def ms_until_drawn(page: Page, url: str) -> float:
    """From the request to the first row."""
    began_s = time.perf_counter()
    page.goto(url, wait_until="commit")
    page.locator("[data-run]").first.wait_for()
    return (time.perf_counter() - began_s) * 1000


def ms_to_sort(heading: Locator) -> float:
    """From a click to the next frame; the quicker of both directions."""
    took: list[float] = [heading.get_by_role("button").evaluate(SORT) for _ in range(2)]
    return min(took)


SORT = """async button => {
  const began = performance.now();
  button.click();
  await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - began;
}"""
