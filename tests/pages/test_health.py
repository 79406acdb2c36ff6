"""The page of the service's health: a real service, degraded and down."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.exporters.webhook.settings_file import RULES, write_settings
from tests.waiting import wait_until

from .conftest import Lab, note, running_lab
from .test_alerts import follows
from .test_looks import AXE
from .watching import axe_findings, no_sideways_scroll, pill

pytestmark = pytest.mark.browser

PAGES = ("", "runs", "runs/r1", "battle-log", "alerts", "compare?run=a&run=b")


@pytest.fixture(scope="module")
def degraded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab whose alerts go where nobody listens, with a run that has ended."""
    home: Path = tmp_path_factory.mktemp("degraded")
    write_settings(home, "http://127.0.0.1:9/SECRET", RULES)
    with running_lab(home) as made:
        wait_until(lambda: follows(home))
        made.post(
            [
                note(1, kind="run_started", run_id="r1"),
                note(2, kind="run_ended", run_id="r1", details={"status": "completed"}),
                note(3, kind="job_failed", message="Job j7 failed", severity="error"),
            ]
        )
        wait_until(lambda: made.client.get("/api/health").json()["status"] == "warning")
        yield made


@pytest.mark.parametrize("path", PAGES)
def test_every_page_says_that_something_is_wrong_and_leads_there(
    degraded: Lab, page: Page, path: str
) -> None:
    """Also those of what has ended, which have no pill."""
    page.goto(f"{degraded.url}/{path}")
    page.get_by_test_id("health-link").filter(has_text="1 warning").click()
    page.get_by_test_id("verdict").filter(has_text="with 1 warning").wait_for()


def test_a_page_that_is_well_leads_there_by_its_pill(lab: Lab, page: Page) -> None:
    """And from there on by keyboard."""
    page.goto(f"{lab.url}/runs")
    pill(page, "Live")
    page.get_by_test_id("status-pill").focus()
    page.keyboard.press("Enter")
    page.get_by_test_id("verdict").filter(has_text="all is well").wait_for()
    assert page.title() == "Service health"
    assert axe_findings(page, AXE) == []


def test_what_is_wrong_comes_first_with_its_fix(degraded: Lab, page: Page) -> None:
    """And no secret of an address."""
    page.goto(f"{degraded.url}/service-health")
    wrong = page.locator("[data-check=alerts][data-level=warning]")
    wrong.filter(has_text="1 message to lab could not be sent yet").wait_for()
    assert "send a test" in wrong.inner_text()
    assert page.title() == "(1 warning) Service health"
    assert page.locator("[data-exporter=webhook]").filter(has_text="all sent").count() == 1
    assert "SECRET" not in page.content()
    page.set_viewport_size({"width": 390, "height": 844})
    box = wrong.bounding_box()
    assert box is not None
    assert box["y"] < 300
    assert no_sideways_scroll(page)
    assert axe_findings(page, AXE) == []
    wrong.get_by_role("link", name="Open Alerts").click()
    page.locator("[data-rule]").first.wait_for()


@pytest.mark.long
def test_the_page_keeps_what_it_knew_while_the_service_is_down(lab: Lab, page: Page) -> None:
    """And says how to start it; afterwards it is live again without a click."""
    lab.notes(1, 3)
    page.goto(f"{lab.url}/service-health")
    page.get_by_test_id("verdict").wait_for()
    lab.kill()
    down = page.get_by_test_id("down")
    down.filter(has_text="realm up").wait_for()
    assert "Below is what was known at" in down.inner_text()
    assert "jobs.db" in page.get_by_test_id("log").inner_text()
    assert page.title() == "(✕) Service health"
    assert axe_findings(page, AXE) == []
    lab.start()
    page.get_by_test_id("verdict").filter(has_text="all is well").wait_for()


def test_a_program_that_emits_has_a_shipper_and_a_receipt(lab: Lab, page: Page) -> None:
    """By their words for people."""
    running = lab.emitting("note", "6000", "100")
    wait_until(lambda: any(each["running"] for each in shippers(lab)))
    page.goto(f"{lab.url}/service-health")
    page.locator("[data-pipeline]").filter(has_text="at work").wait_for()
    page.get_by_test_id("receipts").filter(has_text="1 still running").wait_for()
    running.terminate()
    running.wait(60)


def shippers(lab: Lab) -> list[dict[str, Any]]:
    """What the service knows of shippers."""
    found: list[dict[str, Any]] = lab.client.get("/api/health").json()["shippers"]
    return found
