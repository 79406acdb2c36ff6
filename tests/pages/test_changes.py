"""What was changed since the run before, on the page of a run."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from .conftest import SCREENSHOTS, Lab, running_lab
from .run_stories import RTL_ID, Runs
from .test_runs import AXE
from .watching import axe_findings, no_sideways_scroll, until

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def changed_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A run that was well, and later ones of the same kind that are not."""
    with running_lab(tmp_path_factory.mktemp("changes")) as made:
        runs = Runs()
        runs.training(RTL_ID, 9_000, started={"git_commit": "a1b2c3d"})
        runs.ended(RTL_ID, 8_950, "completed")
        runs.training("second", 8_000)
        runs.ended("second", 7_950, "failed", "exit code 1")
        runs.training("third", 4_000, started={"git_commit": "e4f5a6b"})
        config = {"lr": 0.003, "optimizer": {"name": "sgd", "betas": [0.9, 0.95]}, "<b>": "x" * 300}
        runs.add("third", "run_config", 3_999, details=config)
        runs.raised("third", 3_950)
        runs.ended("third", 3_949, "failed", "IndexError: index 4096 is out of bounds")
        for number, status in enumerate(("killed", "failed")):
            command = {"command": "python eval.py", "cwd": "/home/ada/other"}
            runs.training(f"eval-{number}", 900 - number * 100, started=command)
            runs.ended(f"eval-{number}", 850 - number * 100, status, "SIGKILL")
        for number, name in enumerate(("first of it", "next of it")):
            runs.training(name, 600 - number * 100, started={"command": f"python c{number}.py"})
            runs.add(name, "note", 550 - number * 100, campaign_id="larger")
            runs.ended(name, 540 - number * 100, "completed")
        runs.store(made)
        yield made


def panel(page: Page, lab: Lab, run: str) -> str:
    """The text of the panel of a run."""
    page.goto(f"{lab.url}/runs/{run}")
    found = page.get_by_test_id("changes")
    found.wait_for()
    return found.inner_text()


def test_a_run_says_what_changed_since_the_last_that_was_well(changed_lab: Lab, page: Page) -> None:
    """With the rule by which that is found, and a way to compare both."""
    text = panel(page, changed_lab, "third")
    assert "Changed since it was well" in text
    assert "the last run of the same program that was well" in text
    lines = {
        name: page.locator(f'[data-change="{name}"] td').all_inner_texts()
        for name in ("lr", "optimizer.name", "git commit")
    }
    assert lines == {
        "lr": ["0.0003", "0.003"],
        "optimizer.name": ["not set", "sgd"],
        "git commit": ["a1b2c3d", "e4f5a6b"],
    }
    assert "2 settings are the same" in text
    assert page.locator('[data-change="seed"]').count() == 0
    assert axe_findings(page, AXE) == []
    page.get_by_test_id("changes").get_by_role("link", name="Compare").click()
    page.locator("[data-metric=loss] canvas").wait_for()
    assert page.locator(".compare-legend a").all_inner_texts() == [RTL_ID, "third"]


def test_where_none_was_well_or_nothing_changed_it_says_so(changed_lab: Lab, page: Page) -> None:
    """The first of its kind has no such panel."""
    text = panel(page, changed_lab, "eval-1")
    assert "Changed since the run before" in text
    assert "killed. None before it was well." in text
    assert "Nothing: the same settings, command and commit." in text
    text = panel(page, changed_lab, "next%20of%20it")
    assert "the last run of the same project that was well" in text
    assert "python c0.py" in text
    page.goto(f"{changed_lab.url}/runs/eval-0")
    page.get_by_test_id("configuration").wait_for()
    until(page, "document.querySelector('[data-metric=loss] canvas') !== null")
    expect(page.get_by_test_id("changes")).to_have_count(0)


@pytest.mark.parametrize(("width", "theme"), [(1440, "dark"), (390, "light")])
def test_changes_fit(browser: Browser, changed_lab: Lab, width: int, theme: str) -> None:
    """Long values and right-to-left names too."""
    page = browser.new_page(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if theme == "dark" else "light",
    )
    panel(page, changed_lab, "third")
    until(page, "document.querySelector('[data-metric=loss] canvas') !== null")
    page.get_by_test_id("changes").screenshot(path=SCREENSHOTS / f"changes-{width}-{theme}.png")
    page.screenshot(path=SCREENSHOTS / f"changes-page-{width}-{theme}.png", full_page=True)
    assert no_sideways_scroll(page)
    assert axe_findings(page, AXE) == []
    page.close()
