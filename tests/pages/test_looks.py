"""How the pages look: accessible, narrow screens, and pictures to look at."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from realm_telemetry.event import SEVERITIES

from .conftest import SCREENSHOTS, Lab, environment, note
from .watching import axe_findings, no_sideways_scroll, pill

pytestmark = pytest.mark.browser

AXE = Path(__file__).parents[2] / "realm_telemetry/service/web/node_modules/axe-core/axe.min.js"
PATHS = {"war-room": "/", "battle-log": "/battle-log"}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab whose log is that of the demo's quick campaign, with a person's note."""
    made = Lab(tmp_path_factory.mktemp("demo"))
    made.start()
    ports = ["--port", str(made.port), "--battle-log-port", "0", "--ui-port", "0"]
    command = [sys.executable, "-m", "realm_telemetry", "demo", "--once", "--quick", *ports]
    command += ["--home", str(made.home)]
    subprocess.run(command, env=environment(made.home), check=True, capture_output=True)
    made.post([note(1, message="Raised the learning rate by hand", source="war-room")])
    yield made
    made.kill()
    made.client.close()


def new_page(browser: Browser, theme: str, width: int = 1440) -> Page:
    """A tab in a profile of its own."""
    SCREENSHOTS.mkdir(exist_ok=True)
    context = browser.new_context(
        viewport={"width": width, "height": 1000 if width > 600 else 844},
        color_scheme="dark" if theme == "dark" else "light",
        reduced_motion="reduce",
    )
    return context.new_page()


def opened(browser: Browser, lab: Lab, name: str, theme: str, width: int = 1440) -> Page:
    """One of the pages, drawn."""
    page = new_page(browser, theme, width)
    page.goto(lab.url + PATHS[name])
    page.wait_for_selector("[data-event-id]")
    pill(page, "Live")
    page.wait_for_timeout(300)
    return page


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PATHS)
def test_axe_finds_nothing_serious(browser: Browser, demo: Lab, name: str, theme: str) -> None:
    """On the demo's data, in both themes; and a picture is taken."""
    page = opened(browser, demo, name, theme)
    page.screenshot(path=SCREENSHOTS / f"{name}-{theme}.png")
    assert axe_findings(page, AXE) == []
    page.context.close()


SEVERITY_MARKS = """() => {
  const marks = [...document.querySelectorAll('[data-event-id] .severity')];
  const icon = (mark) => mark.querySelector('.severity-icon').textContent;
  const seen = (mark) => [icon(mark), mark.textContent.trim(), getComputedStyle(mark).color];
  return [...new Set(marks.map((mark) => seen(mark).join('|')))];
}"""
"""Icon, text and colour of every severity in the rows, each combination once."""

MOVING = """() => [...document.querySelectorAll('*')].some((one) => {
  const { animationName, transitionDuration } = getComputedStyle(one);
  return animationName !== 'none' || transitionDuration !== '0s';
})"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_severity_is_an_icon_a_word_and_a_colour(lab: Lab, browser: Browser, theme: str) -> None:
    """Four of each, so that any one of the three tells them apart."""
    lab.post([note(n, severity=severity) for n, severity in enumerate(SEVERITIES, 1)])
    page = opened(browser, lab, "battle-log", theme)
    marks = [mark.split("|") for mark in page.evaluate(SEVERITY_MARKS)]
    assert len(marks) == 4
    assert [len(set(column)) for column in zip(*marks, strict=True)] == [4, 4, 4]
    page.context.close()


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_nothing_moves_for_those_who_ask_for_it(demo: Lab, browser: Browser, motion: str) -> None:
    """prefers-reduced-motion stops every animation and transition."""
    context = browser.new_context(reduced_motion=motion)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(f"{demo.url}/battle-log?q=raised")
    page.wait_for_selector("[data-event-id]")
    page.get_by_role("button", name="Copy link").click()
    page.wait_for_selector(".toast", state="attached")
    assert page.evaluate(MOVING) is (motion == "no-preference")
    context.close()


@pytest.mark.parametrize(
    ("name", "theme"),
    [
        ("war-room", "light"),
        ("battle-log", "dark"),
        pytest.param("war-room", "dark", marks=pytest.mark.long),
        pytest.param("battle-log", "light", marks=pytest.mark.long),
    ],
)
def test_a_phone_scrolls_only_down(browser: Browser, demo: Lab, name: str, theme: str) -> None:
    """390 px wide, with the details open as well."""
    page = opened(browser, demo, name, theme, width=390)
    page.screenshot(path=SCREENSHOTS / f"{name}-phone-{theme}.png", full_page=True)
    assert no_sideways_scroll(page)
    if name == "battle-log":
        page.locator("[data-event-id]").nth(2).click()
        page.locator("[data-testid=details]").wait_for()
        page.screenshot(path=SCREENSHOTS / f"{name}-phone-details-{theme}.png")
        assert no_sideways_scroll(page)
    page.context.close()


VIEWS = {
    "details": ("?kind=job_failed&range=all", "[data-event-id]", "[data-testid=details] li"),
    "groups": ("?channel=training&range=all", "[data-group]", "[data-event-id]"),
    "search": ("?q=digit-sage&range=all&kind=!eval_started", None, "[data-event-id] mark"),
    "empty": ("?channel=jobs&hero=nobody", None, ".removals li"),
    "summary": ("?view=summary", None, ".summary td button"),
}


@pytest.mark.long
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS)
def test_other_views_are_accessible_too(browser: Browser, demo: Lab, view: str, theme: str) -> None:
    """An open event, a group, a search, an empty result and the summary; pictures are taken."""
    query, click, shown = VIEWS[view]
    page = new_page(browser, theme)
    page.goto(f"{demo.url}/battle-log{query}")
    if click:
        page.locator(click).first.click()
    page.locator(shown).first.wait_for()
    page.wait_for_timeout(300)
    page.screenshot(path=SCREENSHOTS / f"battle-log-{view}-{theme}.png")
    assert axe_findings(page, AXE) == []
    page.context.close()
