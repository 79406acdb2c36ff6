"""The Battle Log in a real browser against a real service."""

import json
import re
import time
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
from playwright.sync_api import Browser, Page

from .conftest import Lab, note
from .watching import has_total, rows, total, until

pytestmark = pytest.mark.browser

SEVERITIES = ("info", "success", "warning", "error")


@pytest.fixture(scope="module")
def mixed(shared_lab: Lab) -> Lab:
    """A log of 400 events over the last twelve hours, of several channels and severities."""
    now_ns = time.time_ns()
    shared_lab.post(
        [
            note(
                number,
                channel=("training", "jobs", "eval", "system")[number % 4],
                severity=SEVERITIES[number % 7 % 4],
                time_unix_nano=str(now_ns - number * 100 * 1_000_000_000),
                message=f"Number {number} {'needle' if number % 50 == 0 else 'hay'}",
            )
            for number in range(1, 401)
        ]
    )
    return shared_lab


def open_log(page: Page, lab: Lab, query: str = "") -> None:
    """Open the Battle Log and wait for its rows."""
    page.goto(f"{lab.url}/battle-log{query}")
    page.wait_for_selector("[data-event-id]")
    settle(page)


def settle(page: Page) -> None:
    """Wait until every answer is in and shown: nothing has changed for a while."""
    before, since_s = "", time.monotonic()
    deadline = since_s + 15
    while time.monotonic() - since_s < 0.5:
        now = page.evaluate(
            """() => JSON.stringify([
              document.querySelector('[data-testid=total]')?.dataset.total ?? Math.random(),
              [...document.querySelectorAll('[data-count]')].map((bar) => bar.dataset.count),
              document.querySelector('[data-testid=details]')?.textContent.length,
              [...document.querySelectorAll('[data-event-id]')].map((row) => row.dataset.eventId),
            ])"""
        )
        if now != before:
            before, since_s = now, time.monotonic()
        assert time.monotonic() < deadline, "the page does not come to rest"
        page.wait_for_timeout(50)


def bars(page: Page) -> list[int]:
    """The counts of the histogram's bars."""
    found: list[int] = page.eval_on_selector_all(
        "[data-testid=histogram] [data-count]", "bars => bars.map(bar => +bar.dataset.count)"
    )
    return found


def test_bars_sum_to_the_total_and_drag_narrows(mixed: Lab, page: Page) -> None:
    """Dragging over the right half leaves fewer events, and the bars still add up."""
    open_log(page, mixed)
    assert total(page) == 400 == sum(bars(page))
    box = page.locator("[data-testid=histogram]").bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.75, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.97, middle, steps=8)
    page.mouse.up()
    settle(page)
    assert 0 < total(page) < 400
    assert sum(bars(page)) == total(page)
    assert "since=" in page.url


def test_filters_are_in_the_address_and_back_undoes_one(mixed: Lab, page: Page) -> None:
    """A chip narrows; Back widens again."""
    open_log(page, mixed)
    page.locator("[data-testid=channel-jobs]").click()
    has_total(page, 100)
    assert "channel=jobs" in page.url
    page.go_back()
    has_total(page, 400)
    assert page.locator("[data-testid=channel-jobs]").get_attribute("aria-pressed") == "false"


def test_a_pasted_address_shows_the_same_rows(mixed: Lab, browser: Browser, page: Page) -> None:
    """In another profile: filters, range and the selected event."""
    open_log(page, mixed, "?channel=jobs,eval&severity=warning,error&q=hay")
    page.locator("[data-event-id]").nth(3).click()
    page.wait_for_selector("[data-testid=details]")
    settle(page)
    stranger = browser.new_context(viewport={"width": 1440, "height": 900})
    other = stranger.new_page()
    other.goto(page.url)
    other.wait_for_selector("[data-event-id]")
    other.wait_for_selector("[data-testid=details]")
    settle(other)
    assert rows(other) == rows(page)
    assert total(other) == total(page)
    shown = [one.locator("[data-testid=details]").inner_text() for one in (page, other)]
    assert re.findall(r"Number \d+", shown[0]) == re.findall(r"Number \d+", shown[1]) != []
    stranger.close()


def test_search_finds_and_highlights(mixed: Lab, page: Page) -> None:
    """Every hit carries a mark around the word."""
    open_log(page, mixed)
    page.locator("[data-testid=search]").fill("needle")
    page.keyboard.press("Enter")
    has_total(page, 8)
    assert page.locator("[data-event-id] mark").all_inner_texts() == ["needle"] * 8


def test_an_export_has_as_many_lines_as_the_page_says(lab: Lab, page: Page) -> None:
    """At the same as_of, whatever has arrived since."""
    lab.notes(1, 30, channel="jobs")
    lab.notes(31, 35)
    open_log(page, lab, "?channel=jobs")
    shown = total(page)
    assert shown == 30
    lab.notes(1001, 1020, channel="jobs")
    for form, extra in (("jsonl", 0), ("csv", 1)):
        link = page.locator(f"[data-testid=export-{form}]").get_attribute("href") or ""
        answer = httpx.get(urljoin(page.url, link), timeout=30)
        assert len(answer.text.splitlines()) == shown + extra


@pytest.mark.long
def test_pages_neither_repeat_nor_skip_while_events_arrive(lab: Lab, page: Page) -> None:
    """Scrolling through 1,200 events, several pages, while others come in."""
    for first in range(1, 1201, 400):
        lab.notes(first, first + 399)
    before = lab.ids()[::-1]
    open_log(page, lab)
    found: dict[str, None] = {}
    number = 5_000
    deadline = time.monotonic() + 60
    while len(found) < len(before) and time.monotonic() < deadline:
        found |= dict.fromkeys(rows(page))
        assert len(rows(page)) <= 200
        number += 1
        lab.notes(number, number)
        page.evaluate("document.querySelector('[data-testid=list]').scrollBy(0, 450)")
        page.wait_for_timeout(70)
    assert list(found) == before


HOSTILE = "<script>window.broken = 1</script><img src=x onerror='window.broken=1'>"


def test_hostile_text_stays_text(lab: Lab, page: Page) -> None:
    """Markup and 10 kB without a space, on both pages, without running or overflowing."""
    lab.post([note(1, message=HOSTILE), note(2, message="x" * 10_000), note(3, message="plain")])
    for path in ("/", "/battle-log"):
        page.goto(lab.url + path)
        page.wait_for_selector("[data-event-id]")
        page.get_by_text("<script>window.broken").first.wait_for()
        assert page.evaluate("window.broken") is None
        assert page.evaluate(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        )


@pytest.mark.alone
def test_a_large_details_object_opens_at_once(lab: Lab, page: Page) -> None:
    """1 MB of details within 500 ms of the click."""
    details: dict[str, Any] = {f"key{n}": {"values": list(range(40))} for n in range(6_000)}
    assert len(json.dumps(details)) > 900_000
    lab.post([note(1, details=details), note(2)])
    page.goto(f"{lab.url}/battle-log")
    page.wait_for_selector("[data-event-id]")
    settle(page)
    event_id = lab.ids()[0]
    took_ms = page.evaluate(
        """async (id) => {
          const began = performance.now();
          document.querySelector(`[data-event-id='${id}']`).click();
          while (!document.querySelector('[data-testid=details]')?.textContent.includes('key0'))
            await new Promise(requestAnimationFrame);
          await new Promise(requestAnimationFrame);
          return performance.now() - began;
        }""",
        event_id,
    )
    assert took_ms < 500


def test_an_empty_result_says_which_filter_to_drop(mixed: Lab, page: Page) -> None:
    """With how many events there would be without it."""
    page.goto(f"{mixed.url}/battle-log?channel=jobs&hero=nobody")
    empty = page.locator("[data-testid=empty]")
    empty.wait_for()
    empty.filter(has_text="100").wait_for()
    assert "hero" in empty.inner_text().lower()


def test_keys_lead_through_the_list(mixed: Lab, page: Page) -> None:
    """/ searches, j and Enter open, Esc closes, e goes to an error, ? lists the keys."""
    open_log(page, mixed)
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.dataset.testid") == "search"
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-testid=details]")
    page.keyboard.press("Escape")
    page.wait_for_selector("[data-testid=details]", state="detached")
    page.keyboard.press("e")
    page.locator("[data-testid=details]").filter(has_text=re.compile("error", re.I)).wait_for()
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keyboard shortcuts").wait_for()


def test_routine_neighbours_collapse(lab: Lab, page: Page) -> None:
    """4,812 would hide everything else: one row says how many, and from which loss to which."""
    lab.post(
        [
            note(n, kind="training_step", details={"step": n, "loss": 1 / n}, message="Step")
            for n in range(1, 61)
        ]
        + [note(100)]
    )
    page.goto(f"{lab.url}/battle-log")
    group = page.get_by_text(re.compile(r"training_step\s*×\s*60"))
    group.wait_for()
    assert len(rows(page)) < 10
    row = page.locator("[data-group=training_step]")
    assert "loss 1 → 0.01667" in row.inner_text()
    assert row.locator("svg polyline").count() == 1
    group.click()
    until(page, "document.querySelectorAll('[data-event-id]').length > 10")


@pytest.mark.long
@pytest.mark.alone
@pytest.mark.timeout(600)
def test_a_million_rows_answer_at_once(lab: Lab, page: Page) -> None:
    """First page under 500 ms, a filter under 300 ms, at most 200 rows in the document."""
    for first in range(1, 1_000_001, 25_000):
        shapes = [
            note(
                n,
                channel=("training", "jobs", "eval", "system")[n % 4],
                severity=SEVERITIES[n % 4 if n % 97 == 0 else 0],
                message=f"Number {n}",
                details={},
            )
            for n in range(first, first + 25_000)
        ]
        lab.post(shapes)
    page.add_init_script(
        """new MutationObserver((_, watching) => {
          if (!document.querySelector('[data-event-id]')) return;
          watching.disconnect();
          requestAnimationFrame(() => setTimeout(() => { window.paintedMs = performance.now(); }));
        }).observe(document, { subtree: true, childList: true });"""
    )
    open_log(page, lab)
    settle(page)
    page.reload()
    page.wait_for_selector("[data-event-id]")
    until(page, "window.paintedMs")
    assert page.evaluate("window.paintedMs") < 500
    settle(page)
    assert total(page) == 1_000_000
    assert len(rows(page)) <= 200
    took_ms = page.evaluate(
        """async () => {
          const began = performance.now();
          document.querySelector('[data-testid=channel-jobs]').click();
          while (document.querySelector('[data-testid=total]').dataset.total !== '250000')
            await new Promise(requestAnimationFrame);
          return performance.now() - began;
        }"""
    )
    assert took_ms < 300
