"""War Room and the live side of both pages, in a real browser against a real service."""

import re
import time

import pytest
from playwright.sync_api import BrowserContext, Page, Route

from .conftest import Lab, note
from .watching import TASKS, WATCH, has_total, pill, rows, until

pytestmark = pytest.mark.browser


@pytest.mark.alone
def test_the_last_fifty_events_are_there_within_a_second(lab: Lab, page: Page) -> None:
    """From requesting the page to its painted rows."""
    lab.notes(1, 80)
    page.goto(lab.url)  # A first visit, so that the measured one has a warm browser.
    page.wait_for_selector("[data-event-id]")
    began_s = time.monotonic()
    page.reload()
    until(page, "document.querySelectorAll('[data-event-id]').length >= 20")
    assert time.monotonic() - began_s < 1.0
    assert rows(page)[0] == lab.ids()[-1]


@pytest.mark.alone
def test_an_event_is_visible_within_300_ms(lab: Lab, page: Page) -> None:
    """p95 from emit() in another process to the row in the document, at 100 events/s."""
    page.goto(lab.url)
    pill(page, "Live")
    page.evaluate(WATCH)
    producer = lab.emitting("note", "300", "100")
    producer.wait(60)
    page.wait_for_timeout(700)
    seen: dict[str, float] = dict(page.evaluate("[...window.seen]"))
    stored = lab.client.get("/api/battle_log", params={"limit": 1000, "kind": "note"}).json()
    delays = sorted(
        seen[event["id"]] - int(event["time_unix_nano"]) / 1e6
        for event in stored
        if event["id"] in seen
    )
    assert len(delays) == 300
    assert delays[len(delays) * 95 // 100] < 300


def test_a_killed_service_costs_no_event(lab: Lab, page: Page) -> None:
    """Killed and restarted while 200 are emitted: each once, in order, and the pill shows it."""
    lab.notes(1, 1)
    page.goto(lab.url)
    pill(page, "Live")
    producer = lab.emitting("note", "200", "40")
    page.wait_for_timeout(1_500)
    lab.kill()
    pill(page, "Reconnecting")
    page.get_by_role("alert").filter(has_text="The service does not answer").wait_for()
    assert page.get_by_test_id("status-pill").get_attribute("href") is None
    page.wait_for_timeout(1_000)
    lab.start()
    pill(page, "Live")
    producer.wait(60)
    page.wait_for_timeout(1_500)
    assert rows(page) == lab.ids(kind="note")[::-1]
    assert len(rows(page)) == 201


@pytest.mark.parametrize("path", ["/", "/battle-log"])
def test_new_events_move_no_row_while_scrolled(lab: Lab, page: Page, path: str) -> None:
    """500 new events move the hovered row by 0 px and keep the selection."""
    lab.notes(1, 300)
    page.goto(lab.url + path)
    page.wait_for_selector("[data-event-id]")
    if path == "/battle-log":
        page.locator("[data-testid=live-tail]").click()
    page.evaluate(
        """() => {
          let box = document.querySelector('[data-event-id]');
          while (box && !/(auto|scroll)/.test(getComputedStyle(box).overflowY))
            box = box.parentElement;
          (box ?? document.scrollingElement).scrollTop = 400;
        }"""
    )
    page.wait_for_timeout(300)
    shown = page.evaluate(
        """() => [...document.querySelectorAll('[data-event-id]')].filter((row) => {
          const box = row.getBoundingClientRect();
          return box.top > 200 && box.bottom < innerHeight - 100;
        }).map((row) => row.dataset.eventId)"""
    )
    row = page.locator(f"[data-event-id='{shown[len(shown) // 2]}']").first
    row.hover()
    row.evaluate("row => getSelection().selectAllChildren(row)")
    before, chosen = row.bounding_box(), page.evaluate("getSelection().toString()")
    assert chosen
    for first in range(301, 801, 50):
        lab.notes(first, first + 49)
        page.wait_for_timeout(60)
    page.locator("[data-testid=new-pill]").filter(has_text="500").wait_for()
    assert row.bounding_box() == before
    assert page.evaluate("getSelection().toString()") == chosen


def test_eight_tabs_are_live_at_once(lab: Lab, context: BrowserContext) -> None:
    """Over one connection, because a browser allows six to a host."""
    tabs = [context.new_page() for _ in range(8)]
    for tab in tabs:
        tab.goto(lab.url)
        pill(tab, "Live")
    lab.notes(1, 3)
    last = lab.ids()[-1]
    for tab in tabs:
        tab.wait_for_selector(f"[data-event-id='{last}']")
    assert lab.client.get("/health").json()["sse_clients"] == 1


def test_an_expired_cursor_shows_a_gap(lab: Lab, page: Page) -> None:
    """The missing events are a row that links to the Battle Log."""
    lab.notes(1, 3)
    page.goto(lab.url)
    pill(page, "Live")
    lab.kill()
    pill(page, "Reconnecting")
    for name in ("jobs.db", "jobs.db-wal", "jobs.db-shm"):
        (lab.home / "vault" / name).unlink(missing_ok=True)
    lab.start()
    lab.notes(4, 6)
    gap = page.locator("[data-testid=gap-row]")
    gap.wait_for()
    assert "battle-log" in (gap.locator("a").first.get_attribute("href") or "")


def test_pausing_loses_nothing(lab: Lab, page: Page) -> None:
    """Events that arrived while paused are there after resuming."""
    lab.notes(1, 2)
    page.goto(lab.url)
    pill(page, "Live")
    page.locator("[data-testid=pause]").click()
    pill(page, "Paused")
    lab.notes(3, 12)
    page.wait_for_timeout(500)
    assert len(rows(page)) == 2
    page.locator("[data-testid=pause]").click()
    until(page, "document.querySelectorAll('[data-event-id]').length === 12")
    assert rows(page) == lab.ids()[::-1]


def test_the_live_tail_shows_and_counts_new_events(lab: Lab, page: Page) -> None:
    """Rows, total and bars change together."""
    lab.notes(1, 3)
    page.goto(f"{lab.url}/battle-log?live=1")
    has_total(page, 3)
    pill(page, "Live")
    lab.notes(4, 8)
    until(page, "document.querySelectorAll('[data-event-id]').length === 8")
    assert rows(page) == lab.ids()[::-1]
    has_total(page, 8)
    assert page.locator("[data-testid=new-pill]").count() == 0


def test_an_unreachable_service_is_an_error_with_a_retry(lab: Lab, page: Page) -> None:
    """In place of the rows of the Battle Log; each page has one polite live region."""
    lab.notes(1, 3)
    page.goto(f"{lab.url}/battle-log")
    has_total(page, 3)
    assert page.locator("[aria-live=polite]").count() == 1
    lab.kill()
    page.locator("[data-testid=channel-jobs]").click()
    problem = page.get_by_role("alert").filter(has_text="The service does not answer")
    problem.wait_for()
    assert "realm serve" in problem.inner_text()
    lab.start()
    problem.get_by_role("button", name="Try again").click()
    page.locator("[data-testid=empty]").wait_for()


def test_slow_rows_have_placeholders(lab: Lab, page: Page) -> None:
    """Until the response is there, the page does not say that there are no events."""
    lab.notes(1, 1)
    held: list[Route] = []
    page.route(re.compile(r"/api/battle_log\?"), lambda route: held.append(route))
    page.goto(f"{lab.url}/battle-log")
    page.locator(".skeleton-row").first.wait_for()
    until(page, "document.querySelector('[data-testid=total]').textContent === 'Loading …'")
    held[0].continue_()
    page.locator("[data-event-id]").wait_for()


def test_receipts_show_that_all_events_are_stored(lab: Lab, page: Page) -> None:
    """The producer's own count against the log's."""
    lab.emitting("training_step", "50", "1000").wait(60)
    page.goto(lab.url)
    complete = re.compile(r"All \d+ events stored\.")
    page.locator("[data-testid=receipts]").filter(has_text=complete).wait_for()
    page.locator("[data-testid=loss-graph] canvas").first.wait_for()


@pytest.mark.long
@pytest.mark.alone
@pytest.mark.timeout(180)
def test_a_thousand_events_a_second_stay_smooth(lab: Lab, page: Page) -> None:
    """For 30 s: bounded rows, no task over 200 ms, little memory, and a count of the rest."""
    page.goto(lab.url)
    pill(page, "Live")
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    before = page.evaluate("performance.memory.usedJSHeapSize")
    page.evaluate(TASKS)
    producer = lab.emitting("training_step", "30000", "1000")
    producer.wait(120)
    page.wait_for_timeout(1_000)
    session.send("HeapProfiler.collectGarbage")
    after = page.evaluate("performance.memory.usedJSHeapSize")
    assert page.evaluate("document.querySelectorAll('*').length") < 4_000
    assert max(page.evaluate("window.tasks"), default=0) < 200
    assert after - before < 50e6
    assert page.locator("[data-testid=coalesced]").is_visible()


def test_the_event_stream_serves_other_pages(lab: Lab, page: Page) -> None:
    """`window.eventStream.on(name, ...)`, by exact name, by prefix and for all."""
    page.goto(f"{lab.url}/api")
    # The War Room loads the script, too.
    page.goto(lab.url)
    pill(page, "Live")
    page.evaluate(
        """() => {
          window.got = [];
          eventStream.on('training.step', (e) => got.push(['exact', e.name, e.data.loss]));
          eventStream.on('training.*', (e) => got.push(['prefix', e.name]));
          eventStream.on('*', (e) => got.push(['all', e.name]));
        }"""
    )
    shape = note(1, kind="training_step", details={"step": 1, "loss": 0.5})
    lab.post([shape, note(2)])
    until(page, "window.got.length === 4")
    assert sorted(map(tuple, page.evaluate("window.got"))) == [
        ("all", "note"),
        ("all", "training.step"),
        ("exact", "training.step", 0.5),
        ("prefix", "training.step"),
    ]


def test_the_pages_send_requests_to_the_service_only(lab: Lab, page: Page) -> None:
    """No request goes to another host."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    lab.notes(1, 3)
    for path in ("/", "/battle-log"):
        page.goto(lab.url + path)
        page.wait_for_selector("[data-event-id]")
    assert asked
    assert [url for url in asked if not url.startswith((lab.url, "data:", "blob:"))] == []
