"""What the tests ask a page."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from tests.waiting import PATIENCE_S

WATCH = """() => {
  window.seen = new Map();
  window.order = [];
  const look = (root) => {
    for (const row of root.querySelectorAll?.('[data-event-id]') ?? []) note(row);
    if (root.matches?.('[data-event-id]')) note(root);
  };
  const note = (row) => {
    const id = row.dataset.eventId;
    if (window.seen.has(id)) return;
    window.seen.set(id, performance.timeOrigin + performance.now());
    window.order.push(id);
  };
  look(document);
  new MutationObserver((changes) => {
    for (const change of changes) {
      change.addedNodes.forEach(look);
      if (change.type === 'attributes') note(change.target);
    }
  }).observe(document.body, {childList: true, subtree: true, attributes: true,
                             attributeFilter: ['data-event-id']});
}"""
"""Notes when each event's row was first in the document."""


@contextmanager
def traced_tasks(page: Page) -> Iterator[list[float]]:
    """Fills a list with how many milliseconds each task of the pages took, when the block ends.

    Of the processor, or by the clock if that is less: another process that runs in between is no
    work of the page. Workers have threads of their own, which are not in it.
    """
    browser = page.context.browser
    assert browser is not None
    tasks: list[float] = []
    browser.start_tracing(page=page, categories=["toplevel"])
    try:
        yield tasks
    finally:
        events = json.loads(browser.stop_tracing())["traceEvents"]
    main = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    tasks += [
        min(event["tdur"], event["dur"]) / 1000
        for event in events
        if event["ph"] == "X"
        and event["name"].endswith("RunTask")
        and "tdur" in event
        and (event["pid"], event["tid"]) in main
    ]


def rows(page: Page) -> list[str]:
    """The event ids of the rows that the page shows, from top to bottom."""
    found: list[str] = page.eval_on_selector_all(
        "[data-event-id]", "rows => rows.map(row => row.dataset.eventId)"
    )
    return found


def pill(page: Page, text: str, timeout_s: float = PATIENCE_S) -> None:
    """Wait until the status pill says a word.

    Live is also Stale, as a page is that a slow test sees a minute after the last event of a run.
    """
    words = re.compile("Live|Stale") if text == "Live" else text
    place = page.locator("[data-testid=status-pill]").filter(has_text=words)
    place.wait_for(timeout=timeout_s * 1000)


def until(page: Page, expression: str, timeout_s: float = PATIENCE_S) -> None:
    """Wait for an expression to become true; from outside, for the pages' policy forbids eval."""
    deadline = time.monotonic() + timeout_s
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"did not happen: {expression}"
        page.wait_for_timeout(20)


def has_total(page: Page, count: int) -> None:
    """Wait until the Battle Log says that it shows so many events."""
    until(page, f"document.querySelector('[data-testid=total]')?.dataset.total === '{count}'")


def total(page: Page) -> int:
    """How many events the Battle Log says that it shows."""
    return int(page.locator("[data-testid=total]").get_attribute("data-total") or -1)


def no_sideways_scroll(page: Page) -> bool:
    """Whether the page is no wider than its window."""
    fits: bool = page.evaluate(
        "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )
    return fits


def axe_findings(
    page: Page, axe: Path, *, unjudged: bool = False
) -> list[tuple[str, str, list[Any]]]:
    """Serious and critical findings of axe-core: rule, impact, where.

    unjudged: with the texts whose contrast it cannot judge. Icons stand beside their words.
    """
    # Through the debugger, because the page's own policy refuses foreign scripts.
    page.evaluate(axe.read_text() + "; undefined")
    result = page.evaluate(
        "() => axe.run(document, {resultTypes: ['violations', 'incomplete']})"
        ".then(({violations, incomplete}) => ({violations, incomplete}))"
    )
    found = [
        (one["id"], one["impact"], [node["target"] for node in one["nodes"]][:3])
        for one in result["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    return found + _unjudged(result["incomplete"]) if unjudged else found


def _unjudged(incomplete: list[Any]) -> list[tuple[str, str, list[Any]]]:
    """Texts of unknown contrast by the reason; not icons, nor what is scrolled away."""
    nodes = [one["nodes"] for one in incomplete if one["id"] == "color-contrast"]
    places: dict[str, list[Any]] = {}
    for node in chain.from_iterable(nodes):
        reason = (node["any"][0]["data"] or {}).get("messageKey") or "unknown"
        places.setdefault(reason, []).append(node["target"])
    for reason in ("shortTextContent", "nonBmp", "elmPartiallyObscured"):
        places.pop(reason, None)
    return [("color-contrast", reason, found[:3]) for reason, found in places.items()]
