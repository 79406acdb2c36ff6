"""Tabs without SharedWorker: one leads, the others listen to it."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from .conftest import Lab, watched_page
from .watching import pill, rows, until

pytestmark = pytest.mark.browser


@pytest.fixture
def tabs(browser: Browser, lab: Lab) -> Iterator[tuple[Page, Page]]:
    """Two tabs of a browser that has no SharedWorker, on both pages."""
    context = browser.new_context()
    context.add_init_script("delete window.SharedWorker")
    with watched_page(context) as first, watched_page(context) as second:
        lab.notes(1, 2)
        for tab in (first, second):
            tab.goto(lab.url)
            pill(tab, "Live")
            assert tab.evaluate("typeof SharedWorker") == "undefined"
        yield first, second
    context.close()


def test_two_tabs_share_one_connection(tabs: tuple[Page, Page], lab: Lab) -> None:
    """And both show what comes."""
    lab.notes(3, 5)
    for tab in tabs:
        until(tab, "document.querySelectorAll('[data-event-id]').length === 5")
        assert rows(tab) == lab.ids()[::-1]
    assert lab.client.get("/health").json()["sse_clients"] == 1


def test_a_tab_takes_over_without_a_gap(tabs: tuple[Page, Page], lab: Lab) -> None:
    """When the one that led is closed, at the cursor that was heard last."""
    first, second = tabs
    lab.notes(3, 5)
    until(second, "document.querySelectorAll('[data-event-id]').length === 5")
    first.close()
    lab.notes(6, 8)
    until(second, "document.querySelectorAll('[data-event-id]').length === 8")
    assert rows(second) == lab.ids()[::-1]
    pill(second, "Live")
    assert lab.client.get("/health").json()["sse_clients"] == 1
