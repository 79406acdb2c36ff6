"""Pages in reach of a keyboard, and of one thumb at three in the morning."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, ViewportSize

from realm_telemetry.spool.output import KeptOutput
from tests.exporters.webhook.settings_file import RULES, write_settings
from tests.waiting import wait_until

from .conftest import Lab, running_lab
from .run_stories import Runs
from .test_looks import AXE
from .watching import axe_findings, no_sideways_scroll

pytestmark = pytest.mark.browser

PHONE: ViewportSize = {"width": 390, "height": 844}
REASON = "IndexError: index 4096 is out of bounds"
SHOWN = {
    "": "[data-testid=loss-graph] canvas",
    "runs": "[data-run]",
    "runs/night": "[data-metric=loss] canvas",
    "compare?run=night&run=day": "[data-metric=loss] canvas",
    "battle-log?range=all": "[data-event-id]",
    "battle-log?view=summary": ".summary td button",
    "alerts": "[data-rule]",
    "service-health": "[data-testid=log]",
}

FOCUSED = """() => {
  const one = document.activeElement;
  if (!one || one === document.body) return null;
  const box = one.getBoundingClientRect();
  const look = getComputedStyle(one);
  return {
    name: one.getAttribute('aria-label') || one.textContent.trim().slice(0, 40) || one.tagName,
    place: [...document.querySelectorAll('*')].indexOf(one),
    isSeen: look.outlineStyle !== 'none' && parseFloat(look.outlineWidth) >= 1,
    isInView: box.bottom > 0 && box.top < innerHeight && box.width > 0,
  };
}"""
"""What has the focus; null if nothing on the page has."""

MOST_STOPS = 400


@pytest.fixture(scope="module")
def night_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A run that failed at night, with its output, and a rule that fired about it."""
    home: Path = tmp_path_factory.mktemp("night")
    write_settings(home, "http://127.0.0.1:9/SECRET", RULES)
    kept = KeptOutput(home, "night")
    kept.append([*(f"step {number}" for number in range(150)), REASON])
    kept.close()
    with running_lab(home) as made:
        runs = Runs()
        runs.training("day", 900)
        runs.ended("day", 850, "completed")
        runs.training("night", 60)
        runs.raised("night", 15)
        runs.ended("night", 14, "failed", REASON)
        runs.store(made)
        wait_until(lambda: fired(made))
        yield made


def fired(lab: Lab) -> list[str]:
    """The rules that have fired."""
    rules = lab.client.get("/api/alerts").json()["rules"]
    return [rule["name"] for rule in rules if rule["fired_at"]]


def in_view(place: Locator) -> bool:
    """Whether all of it is on the screen, without scrolling."""
    box = place.bounding_box()
    return box is not None and box["y"] >= 0 and box["y"] + box["height"] <= PHONE["height"]


def test_a_phone_at_night_leads_from_the_message_to_what_helps(
    night_lab: Lab, browser: Browser
) -> None:
    """Why and how to go on at once, the last lines by one tap, quiet by two."""
    context = browser.new_context(viewport=PHONE, color_scheme="dark", has_touch=True)
    page = context.new_page()
    page.goto(f"{night_lab.url}/runs/night")
    page.get_by_test_id("output").wait_for()
    assert in_view(page.get_by_test_id("cause").get_by_text(REASON).first)
    assert in_view(page.get_by_test_id("resume").get_by_role("button"))
    page.get_by_role("link", name="Last lines").tap()
    wait_until(lambda: in_view(page.get_by_test_id("output").get_by_text("Output")))
    assert page.locator("#output pre").evaluate("it => it.scrollTop > 0")
    page.get_by_role("link", name="Alerts", exact=True).tap()
    rule = page.locator("[data-rule]").first
    rule.filter(has_text="run_ended_badly").wait_for()
    quiet = rule.get_by_role("button", name="8 h")
    assert in_view(quiet)
    quiet.tap()
    rule.get_by_text("Muted until").wait_for()
    rule.get_by_role("button", name="Unmute").tap()
    assert no_sideways_scroll(page)
    context.close()


@pytest.mark.parametrize("path", SHOWN)
def test_the_focus_goes_through_a_page_and_is_seen(night_lab: Lab, page: Page, path: str) -> None:
    """From the first link to the last control, in the order of the page, and out again."""
    page.goto(f"{night_lab.url}/{path}")
    page.locator(SHOWN[path]).first.wait_for()
    assert axe_findings(page, AXE) == []
    stops = list(walk(page))
    assert len(stops) > 5
    assert [stop["name"] for stop in stops if not (stop["isSeen"] and stop["isInView"])] == []
    places = [stop["place"] for stop in stops]
    assert places == sorted(places)


def walk(page: Page) -> Iterator[dict[str, Any]]:
    """Press Tab until the focus has left the page."""
    page.evaluate("document.activeElement?.blur()")
    for _ in range(MOST_STOPS):
        page.keyboard.press("Tab")
        stop = page.evaluate(FOCUSED)
        if stop is None:
            return
        yield stop
    raise AssertionError(f"the focus does not leave the page: {stop}")


def test_escape_closes_what_is_open_and_the_focus_returns(night_lab: Lab, page: Page) -> None:
    """The list of keys, the note, the choice of columns, and the details of an event."""
    page.goto(night_lab.url)
    page.locator(SHOWN[""]).first.wait_for()
    for name in ("Keys and words", "Add note"):
        button = page.get_by_role("button", name=name)
        button.focus()
        page.keyboard.press("Enter")
        page.locator("dialog[open]").wait_for()
        page.keyboard.press("Escape")
        page.locator("dialog[open]").wait_for(state="detached")
        assert button.evaluate("it => it === document.activeElement"), name
    page.goto(f"{night_lab.url}/battle-log?range=all&kind=uncaught_exception")
    page.locator("[data-event-id]").first.wait_for()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.get_by_test_id("details").wait_for()
    page.keyboard.press("Escape")
    page.get_by_test_id("details").wait_for(state="detached")
