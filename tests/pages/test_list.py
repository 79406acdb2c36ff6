"""The rows of the Battle Log: keys, time zones, far down, and a long live tail."""

import re
import time

import pytest
from playwright.sync_api import Browser, Page

from .conftest import Lab, note, watched_page
from .watching import has_total, pill, rows, until

pytestmark = pytest.mark.browser

MANY = 2_600
CURRENT = "document.querySelector('.row[aria-selected=true]')?.dataset.eventId ?? ''"


@pytest.fixture(scope="module")
def deep(shared_lab: Lab) -> Lab:
    """Two errors below 2,600 notes: further down than what is loaded by itself."""
    now_ns = time.time_ns()
    shapes = [
        note(
            number,
            severity="error" if number in (2, 3) else "info",
            time_unix_nano=str(now_ns - (MANY - number) * 1_000_000_000),
        )
        for number in range(1, MANY + 1)
    ]
    shared_lab.post(shapes)
    return shared_lab


def open_rows(page: Page, lab: Lab, query: str = "") -> list[str]:
    """Open the Battle Log, count included; returns the first rows."""
    page.goto(f"{lab.url}/battle-log{query}")
    has_total(page, MANY)
    return rows(page)


def test_j_and_k_lead_down_and_up(deep: Lab, page: Page) -> None:
    """And with the details open these follow."""
    first = open_rows(page, deep)
    for key, at in (("j", 0), ("j", 1), ("j", 2), ("k", 1), ("k", 0), ("k", 0)):
        page.keyboard.press(key)
        until(page, f"({CURRENT}) === '{first[at]}'")
    page.keyboard.press("Enter")
    page.locator("[data-testid=details]", has_text=f"Note {MANY}").wait_for()
    page.keyboard.press("j")
    page.locator(".details-message", has_text=f"Note {MANY - 1}").wait_for()
    assert first[1] in page.url


def test_space_switches_the_live_tail(deep: Lab, page: Page) -> None:
    """On and off again; a control that has the focus keeps its own Space."""
    open_rows(page, deep)
    switch = page.locator("[data-testid=live-tail]")
    for expected in ("true", "false"):
        page.keyboard.press(" ")
        page.locator(f"[data-testid=live-tail][aria-checked={expected}]").wait_for()
    switch.focus()
    page.keyboard.press(" ")
    page.locator("[data-testid=live-tail][aria-checked=true]").wait_for()


@pytest.mark.parametrize(
    ("path", "labels"),
    [
        ("/", ["Pause or resume", "Add a note", "Next event", "Search in the Battle Log"]),
        (
            "/battle-log",
            ["Search", "Previous event (newer)", "Next error (older)", "Turn live tail on or off"],
        ),
    ],
)
def test_a_question_mark_lists_the_keys(
    deep: Lab, page: Page, path: str, labels: list[str]
) -> None:
    """And Escape closes the list."""
    page.goto(deep.url + path)
    page.wait_for_selector("[data-event-id]")
    page.keyboard.press("?")
    shown = page.get_by_role("dialog", name="Keyboard shortcuts")
    shown.wait_for()
    assert set(labels) <= set(shown.locator("dd").all_inner_texts())
    page.keyboard.press("Escape")
    shown.wait_for(state="hidden")


def test_the_next_error_is_found_however_far_down(deep: Lab, page: Page) -> None:
    """The range moves to it; the next is among the rows then, and Back returns."""
    open_rows(page, deep)
    page.keyboard.press("e")
    message = page.locator(".details-message")
    message.filter(has_text=re.compile(r"^Note 3$")).wait_for()
    assert "until=" in page.url
    page.keyboard.press("e")
    message.filter(has_text=re.compile(r"^Note 2$")).wait_for()
    page.keyboard.press("e")
    page.locator(".toast.shown", has_text="No more errors").wait_for()
    page.go_back()
    has_total(page, MANY)


def test_times_are_local_or_utc(deep: Lab, browser: Browser) -> None:
    """Nine hours apart in Tokyo; the choice is in the address."""
    context = browser.new_context(timezone_id="Asia/Tokyo")
    with watched_page(context) as page:
        open_rows(page, deep)
        newest = deep.client.get("/api/battle_log", params={"limit": 1}).json()[0]["timestamp"]
        hour = int(newest[11:13])
        shown = page.locator(".row[data-event-id] time").first
        assert shown.inner_text() == f"{(hour + 9) % 24:02d}{newest[13:23]}"
        page.locator("[data-testid=zone]").click()
        page.locator("[data-testid=zone]", has_text="UTC").wait_for()
        assert shown.inner_text() == newest[11:23]
        assert page.locator(".row.day").first.inner_text() == newest[:10]
        assert "tz=utc" in page.url
        page.reload()
        has_total(page, MANY)
        assert shown.inner_text() == newest[11:23]
    context.close()


def test_the_end_shows_how_far_the_log_goes_back(deep: Lab, page: Page) -> None:
    """And for how long events are kept."""
    page.goto(f"{deep.url}/battle-log?severity=error")
    has_total(page, 2)
    end = page.locator("[data-testid=retention]")
    end.filter(has_text="The log begins here").wait_for()
    assert "kept for 30 days" in end.inner_text()
    page.goto(f"{deep.url}/battle-log?since=5m")
    page.get_by_role("button", name="Show all").wait_for()


def test_the_summary_counts_days_and_leads_to_them(deep: Lab, page: Page) -> None:
    """The number of a cell is that of its rows."""
    open_rows(page, deep)
    page.locator("[data-testid=summary]").click()
    cell = page.locator(".summary td button").last
    cell.wait_for()
    count = int(cell.inner_text().split()[0].replace(",", ""))
    total = page.locator(".summary tr", has_text="System").locator(".sum").inner_text()
    assert total == f"{MANY:,}"
    cell.click()
    has_total(page, count)
    assert "channel=system" in page.url


SCROLL_ON = """() => new Promise((drawn) => {
  document.querySelector('[data-testid=list]').scrollBy(0, 900);
  requestAnimationFrame(() => requestAnimationFrame(drawn));
})"""
"""By less than what is drawn, and back when that stands in its place."""


@pytest.mark.long
def test_a_tail_followed_for_long_keeps_every_row_in_reach(lab: Lab, page: Page) -> None:
    """Beyond 4,000 rows the oldest are dropped; scrolling loads them again, none twice."""
    lab.notes(1, 300)
    page.goto(f"{lab.url}/battle-log?live=1&range=all")
    has_total(page, 300)
    pill(page, "Live")
    for first in range(301, 5_101, 600):
        lab.notes(first, first + 599)
        newest = lab.client.get("/api/battle_log", params={"limit": 1}).json()[0]["id"]
        until(page, f"document.querySelector('[data-event-id]').dataset.eventId === '{newest}'")
        has_total(page, first + 599)
    everything = lab.ids()[::-1]
    found: dict[str, None] = {}
    deadline = time.monotonic() + 300
    while len(found) < len(everything) and time.monotonic() < deadline:
        found |= dict.fromkeys(rows(page))
        page.evaluate(SCROLL_ON)
    assert list(found) == everything
