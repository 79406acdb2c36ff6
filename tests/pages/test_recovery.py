"""Pages whose requests fail: each says so where it counts, keeps what it knew, and recovers alone.

The answers are spoiled on their way, in the browser; the service is real.
"""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pytest
from playwright.sync_api import Page, Route, expect

from tests.exporters.webhook.settings_file import RULES, write_settings
from tests.waiting import PATIENCE_S

from .conftest import Lab, note, running_lab
from .run_stories import Runs
from .test_looks import AXE
from .watching import axe_findings

pytestmark = pytest.mark.browser


class Fault(NamedTuple):
    """A spoiled answer, and what the page says of it."""

    status: int
    said: str
    body: str = "{}"
    headers: Mapping[str, str] = MappingProxyType({})


FAULTS = (
    Fault(401, "This RealmService asks for a token. Log in",
          '{"error": "token_required", "message": "This RealmService asks for a token.",'
          ' "hint": "Send Authorization"}'),
    Fault(403, "does not answer to that Host name. Use localhost",
          '{"error": "host_not_allowed", "hint": "Use localhost.",'
          ' "message": "This service does not answer to that Host name."}'),
    Fault(503, "The log cannot be used",
          '{"error": "log_unavailable", "message": "The log cannot be used at the moment."}',
          {"retry-after": "20"}),
    Fault(502, "The service answered 502.", "<html>Bad gateway</html>"),
    Fault(200, "The answer of the service is not whole.", '{"runs": [{"run_id": "we'),
    Fault(0, "The service does not answer"),
)  # fmt: skip

WHOLE = {
    "": "[data-testid=loss-graph] canvas",
    "runs": "[data-run]",
    "runs/bad": "[data-metric=loss] canvas",
    "compare?run=well&run=bad": "[data-testid=differences]",
    "battle-log?range=all&live=1": "[data-event-id]",
    "battle-log?view=summary": ".summary td button",
    "alerts": "[data-rule]",
    "service-health": "[data-testid=log]",
}
"""Pages, and what says that they have all they show."""

ALWAYS = ("battle-log?range=all&live=1",)
"""The one that reads in a way of its own; the others are for the long tests."""

READ_ONCE = ("compare?run=well&run=bad", "battle-log?view=summary")
"""Runs that have ended and counts of days do not change."""


@pytest.fixture(scope="module")
def recovering_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two runs of one program, of which the newer failed, and a rule."""
    home: Path = tmp_path_factory.mktemp("recovery")
    write_settings(home, "http://127.0.0.1:9/SECRET", RULES)
    with running_lab(home) as made:
        runs = Runs()
        runs.training("well", 9_000)
        runs.ended("well", 8_950, "completed")
        runs.training("bad", 4_000, started={"git_commit": "e4f5a6b"})
        runs.ended("bad", 3_950, "failed", "exit code 1")
        runs.store(made)
        yield made


class Spoiled:
    """The answers to a page, which may be spoiled."""

    def __init__(self, page: Page) -> None:
        self.fault: Fault | None = None
        page.route(lambda url: "/api/" in url and "/stream" not in url, self._answer)

    def _answer(self, route: Route) -> None:
        fault = self.fault
        if fault is None:
            route.continue_()
        elif fault.status == 0:
            route.abort("connectionrefused")
        else:
            route.fulfill(status=fault.status, body=fault.body, headers=dict(fault.headers))


def later(page: Page) -> None:
    """A minute passes on the page."""
    page.clock.fast_forward("01:05")
    page.wait_for_timeout(100)


def says(page: Page, text: str) -> None:
    """Wait until the page says it, in the way that a screen reader reads at once."""
    alerts = page.locator("main [role=alert]")
    deadline = time.monotonic() + PATIENCE_S
    while text not in " ".join(" ".join(alerts.all_inner_texts()).split()):
        assert time.monotonic() < deadline, alerts.all_inner_texts()
        later(page)


def is_whole(page: Page, path: str) -> None:
    """Wait until a page shows all it has, and nothing that is wrong."""
    page.locator(WHOLE[path]).first.wait_for()
    deadline = time.monotonic() + PATIENCE_S
    while page.locator("main [role=alert]").count():
        assert time.monotonic() < deadline
        later(page)


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=[] if path in ALWAYS else pytest.mark.long) for path in WHOLE],
)
def test_a_page_says_what_is_wrong_and_recovers_alone(
    recovering_lab: Lab, page: Page, path: str
) -> None:
    """At load, without anything to show, and later, with what was known last."""
    page.clock.install()
    answers = Spoiled(page)
    answers.fault = FAULTS[0]
    page.goto(f"{recovering_lab.url}/{path}")
    for answers.fault in FAULTS:
        says(page, answers.fault.said)
        assert page.get_by_text("Loading …").count() == 0
    assert axe_findings(page, AXE) == []
    answers.fault = None
    is_whole(page, path)
    if path in READ_ONCE:
        return
    producer = f"{list(WHOLE).index(path) + 0x100:016x}"
    for number, answers.fault in enumerate(FAULTS, start=1):
        recovering_lab.post([note(number, run_id="bad", producer=producer)])
        says(page, answers.fault.said)
        assert page.locator(WHOLE[path]).first.is_visible()
    answers.fault = None
    is_whole(page, path)


@pytest.mark.parametrize(
    "fault",
    [Fault(404, "", '{"error": "run_not_found", "message": "There is no run"}'), FAULTS[2]],
    ids=["not yet there", "unavailable"],
)
def test_a_panel_that_failed_once_is_asked_for_again(
    recovering_lab: Lab, page: Page, fault: Fault
) -> None:
    """What changed since the run before, which is read once; the other panels are there already."""
    page.clock.install()
    asked: list[str] = []

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) == 1:
            route.fulfill(status=fault.status, body=fault.body)
        else:
            route.continue_()

    page.route("**/api/runs/bad/changes", answer)
    page.goto(f"{recovering_lab.url}/runs/bad")
    page.locator("[data-metric=loss] canvas").wait_for()
    page.get_by_test_id("timeline").wait_for()
    expect(page.get_by_test_id("changes")).to_have_count(0)
    later(page)
    page.get_by_test_id("changes").wait_for()
    # A read that had begun may still end; none begins by itself.
    once_more = len(asked) + 1
    for _ in range(3):
        later(page)
        page.wait_for_timeout(100)
    assert len(asked) <= once_more
