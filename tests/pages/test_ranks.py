"""Many runs and many ranks: the grid, the timeline, the War Room's runs, and a phone."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from .conftest import SCREENSHOTS, Lab, running_lab
from .run_stories import Runs
from .test_looks import AXE
from .watching import axe_findings, no_sideways_scroll, pill, until

pytestmark = pytest.mark.browser

RANKS = 512


@pytest.fixture(scope="module")
def wide_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """512 ranks that go on, one of which is lost and some are behind; and a run with a history."""
    with running_lab(tmp_path_factory.mktemp("ranks")) as made:
        runs = Runs()
        for rank in range(RANKS):
            details = {"world_size": RANKS, "host": f"node-{rank // 8}"}
            runs.add("wide", "run_started", 100, rank, details=details)
            step = 60 if rank == 77 else 100 - rank % 3
            values = {"step": step, "loss": 1.5, "total_steps": 1000}
            runs.add("wide", "training_step", 1, rank, details=values)
        runs.add("wide", "process_lost", 1, 200, severity="error", message="Lost",
                 details={"process": "d" * 16})  # fmt: skip
        runs.ended("wide", 1, "killed", "SIGKILL", rank=200)
        runs.training("story", 400, steps=40)
        runs.add("story", "evaluation_started", 380)
        runs.add("story", "evaluation_finished", 370, details={"accuracy": 0.5})
        runs.add("story", "run_stalled", 300, severity="error", details={"silent_s": 50.0},
                 message="No step for 50 s")  # fmt: skip
        runs.ended("story", 290, "failed", "exit code 3")
        runs.training("well", 41)
        runs.store(made)
        yield made


def test_512_ranks_fit_a_laptop_and_the_bad_ones_stand_out(wide_lab: Lab, page: Page) -> None:
    """By icon, words and colour; each leads to its events."""
    page.goto(f"{wide_lab.url}/runs/wide")
    grid = page.get_by_test_id("rank-grid")
    grid.wait_for()
    assert grid.locator("[data-tile]").count() == RANKS
    box = grid.bounding_box()
    assert box is not None
    assert box["height"] < 900
    label = "aria-label"
    assert "40 behind" in (page.locator("[data-tile='77']").get_attribute(label) or "")
    assert "shade-4" in (page.locator("[data-tile='77']").get_attribute("class") or "")
    assert "shade-0" in (page.locator("[data-tile='3']").get_attribute("class") or "")
    bad = page.locator("[data-tile='200']")
    assert bad.inner_text() == "✕"
    assert "Killed" in (bad.get_attribute(label) or "")
    assert page.locator("[data-rank]").count() == 1
    assert axe_findings(page, AXE) == []
    page.locator("[data-tile='77']").click()
    page.locator("[role=option]").first.wait_for()
    assert "rank=77" in page.url


def test_a_timeline_has_what_began_and_ended(wide_lab: Lab, page: Page) -> None:
    """Training, evaluation, checkpoint and stall; a bar leads to its event."""
    page.goto(f"{wide_lab.url}/runs/story")
    line = page.get_by_test_id("timeline")
    line.wait_for()
    lanes = line.locator("dt").all_inner_texts()
    assert lanes == ["Training", "Stalls", "Evaluations", "Checkpoints"]
    assert "for 1 min" in (line.locator("dd").nth(1).locator("a").get_attribute("title") or "")
    assert line.locator(".time-bar.error").count() == 2
    assert axe_findings(page, AXE) == []
    line.locator(".time-bar").first.click()
    page.get_by_test_id("details").wait_for()


def test_the_war_room_has_every_run_and_problems_first(wide_lab: Lab, page: Page) -> None:
    """Also in the title of the tab."""
    page.goto(wide_lab.url)
    runs = page.locator("[data-open-run]")
    runs.nth(2).wait_for()
    names = [one.get_attribute("data-open-run") for one in runs.all()]
    assert set(names[:2]) == {"story", "wide"}
    assert names[2] == "well"
    assert "exit code 3" in page.locator("[data-open-run=story]").inner_text()
    page.locator("[data-open-run=well] .sparkline").wait_for()
    until(page, "document.title.includes('1 failed')")
    assert axe_findings(page, AXE) == []
    page.locator("[data-open-run=story] a").click()
    page.get_by_test_id("cause").filter(has_text="exit code 3").wait_for()


@pytest.mark.parametrize("theme", ["light", pytest.param("dark", marks=pytest.mark.long)])
def test_a_phone_shows_what_matters_first(browser: Browser, wide_lab: Lab, theme: str) -> None:
    """The first row, cause or run within 300 px; filters behind one button of 44 px."""
    SCREENSHOTS.mkdir(exist_ok=True)
    dark = theme == "dark"
    page = browser.new_page(
        viewport={"width": 390, "height": 844}, color_scheme="dark" if dark else "light"
    )
    page.set_default_timeout(60_000)
    for path, first in {
        "": "[data-open-run]",
        "runs/story": ".cause-reason",
        "battle-log": "[role=option]",
    }.items():
        page.goto(f"{wide_lab.url}/{path}")
        place = page.locator(first).first
        place.wait_for()
        if path != "runs/story":
            pill(page, "Live")
        page.screenshot(path=SCREENSHOTS / f"phone-{path.replace('/', '-')}-{theme}.png")
        box = place.bounding_box()
        assert box is not None
        assert box["y"] < 300, path
        assert no_sideways_scroll(page)
        assert axe_findings(page, AXE) == []
    assert not page.get_by_test_id("severity-error").is_visible()
    button = page.get_by_role("button", name="More filters")
    box = button.bounding_box()
    assert box is not None
    assert box["height"] >= 44
    button.click()
    page.get_by_test_id("severity-error").wait_for()
    assert "well" in page.locator(".row-owner").all_inner_texts()
    assert no_sideways_scroll(page)
    page.close()
