"""The page of alerts and its API: a real service, a real receiver."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from realm_telemetry.log import LogReader
from tests.exporters.webhook.conftest import Answer, Receiver
from tests.exporters.webhook.settings_file import RULES, write_settings
from tests.waiting import wait_until

from .conftest import SCREENSHOTS, Lab, note, running_lab
from .test_looks import AXE
from .watching import axe_findings, no_sideways_scroll

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def taker() -> Iterator[Receiver]:
    """A receiver that refuses its first message for good."""
    running = Receiver()
    running.answers = [Answer(410, {}, b"channel_is_archived")]
    yield running
    running.close()


@pytest.fixture(scope="module")
def alert_lab(tmp_path_factory: pytest.TempPathFactory, taker: Receiver) -> Iterator[Lab]:
    """A lab with a rule of its own, a target, and a dead message."""
    home: Path = tmp_path_factory.mktemp("alerts")
    write_settings(home, taker.url("/SECRET"), RULES)
    with running_lab(home) as made:
        wait_until(lambda: follows(home))
        made.post([note(1, kind="job_failed", message="Job j7 failed", severity="error")])
        wait_until(lambda: states(made) == ["dead"])
        yield made


def follows(home: Path) -> bool:
    """Whether the service's exporter follows the log."""
    with LogReader(home / "vault" / "jobs.db") as reader:
        return "webhook" in reader.now.cursors("")


def states(lab: Lab) -> list[str]:
    """The states of the messages, newest first."""
    return [each["state"] for each in lab.client.get("/api/alerts").json()["messages"]]


def test_the_page_says_what_fired_and_sends_it_again(
    alert_lab: Lab, taker: Receiver, page: Page
) -> None:
    """And what would have fired; a test, and quiet for an hour."""
    page.goto(f"{alert_lab.url}/alerts")
    rule = page.locator("[data-rule=failures]")
    rule.filter(has_text="Fired").filter(has_text="1 not delivered").wait_for()
    assert page.title() == "(✕ 1) Alerts"
    assert page.locator("[data-rule]").first.get_attribute("data-rule") == "failures"
    assert "SECRET" not in page.content()
    assert axe_findings(page, AXE) == []
    page.get_by_role("button", name="Try on the last 7 days").click()
    rule.get_by_test_id("tried").filter(has_text="Would have fired 1 time").wait_for()
    page.locator("[data-rule=stalled]").get_by_text("Would not have fired").wait_for()
    message = page.locator("[data-message]")
    assert "410" in message.inner_text()
    message.get_by_role("button", name="Send again").click()
    page.locator("[data-message][data-state=delivered]").wait_for()
    page.locator("[data-target=lab]").get_by_role("button", name="Send a test").click()
    page.locator("[data-target=lab] .outcome").filter(has_text="taken (200)").wait_for()
    assert len(taker.received) == 3
    rule.get_by_role("button", name="8 h").click()
    rule.get_by_text("Muted until").wait_for()
    assert axe_findings(page, AXE) == []
    rule.get_by_role("button", name="Unmute").click()
    rule.get_by_role("button", name="8 h").wait_for()


def test_a_muted_run_is_listed_and_can_be_heard_of_again(alert_lab: Lab, page: Page) -> None:
    action = {"mute_run": "lab/r7 \u202e", "for_s": 3_600}
    assert alert_lab.client.post("/api/alerts", json=action).status_code == 200
    page.goto(f"{alert_lab.url}/alerts")
    run = page.locator("[data-muted-run]")
    run.get_by_text("Muted until").wait_for()
    assert "lab/r7 ⟨U+202E⟩" in run.inner_text()
    assert axe_findings(page, AXE) == []
    run.get_by_role("button", name="Unmute").click()
    run.wait_for(state="detached")
    assert alert_lab.client.get("/api/alerts").json()["muted_runs"] == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"mute": "nobody"}, 404),
        ({"test": "nobody"}, 404),
        ({"redeliver": 999}, 404),
        ({"mute": "stalled", "test": "lab"}, 400),
        ({"mute": "stalled", "for_s": -1}, 400),
        ({}, 400),
        ([], 400),
    ],
)
def test_an_action_on_nothing_is_refused(alert_lab: Lab, body: object, status: int) -> None:
    """With what would be right."""
    answer = alert_lab.client.post("/api/alerts", json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["hint"]
    form = {"content-type": "text/plain"}
    assert alert_lab.client.post("/api/alerts", content="{}", headers=form).status_code == 415


@pytest.mark.parametrize(("width", "theme"), [(1440, "dark"), (820, "light"), (390, "dark")])
def test_alerts_fit(browser: Browser, alert_lab: Lab, width: int, theme: str) -> None:
    """On every screen; pictures are taken."""
    SCREENSHOTS.mkdir(exist_ok=True)
    dark = theme == "dark"
    page = browser.new_page(
        viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
    )
    page.goto(f"{alert_lab.url}/alerts")
    page.locator("[data-rule]").first.wait_for()
    page.screenshot(path=SCREENSHOTS / f"alerts-{width}-{theme}.png", full_page=True)
    assert no_sideways_scroll(page)
    assert axe_findings(page, AXE) == []
    page.close()


def test_without_a_target_the_page_says_how_to_get_one(lab: Lab, page: Page) -> None:
    """The command to type, and no empty tables."""
    page.goto(f"{lab.url}/alerts")
    page.get_by_test_id("no-alerts").filter(has_text="realm alerts init").wait_for()
    assert axe_findings(page, AXE) == []
