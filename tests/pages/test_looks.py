"""How the pages look: accessible, narrow screens, and pictures to look at."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from .conftest import SCREENSHOTS, Lab, environment, note
from .watching import axe_findings, no_sideways_scroll

pytestmark = pytest.mark.alone

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


def opened(browser: Browser, lab: Lab, name: str, theme: str, width: int = 1440) -> Page:
    """A page in a profile of its own."""
    context = browser.new_context(
        viewport={"width": width, "height": 1000 if width > 600 else 844},
        color_scheme="dark" if theme == "dark" else "light",
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.goto(lab.url + PATHS[name])
    page.wait_for_selector("[data-event-id]")
    page.wait_for_timeout(700)
    return page


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PATHS)
def test_axe_finds_nothing_serious(browser: Browser, demo: Lab, name: str, theme: str) -> None:
    """On the demo's data, in both themes; and a picture is taken."""
    page = opened(browser, demo, name, theme)
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}-{theme}.png")
    assert axe_findings(page, AXE) == []
    page.context.close()


@pytest.mark.parametrize("name", PATHS)
def test_a_phone_scrolls_only_down(browser: Browser, demo: Lab, name: str) -> None:
    """390 px wide."""
    page = opened(browser, demo, name, "light", width=390)
    page.screenshot(path=SCREENSHOTS / f"{name}-phone.png")
    assert no_sideways_scroll(page)
    page.context.close()


def test_an_open_event_is_accessible_too(browser: Browser, demo: Lab) -> None:
    """The details pane of the Battle Log."""
    page = opened(browser, demo, "battle-log", "light")
    page.locator("[data-event-id]").nth(2).click()
    page.wait_for_selector("[data-testid=details]")
    page.wait_for_timeout(500)
    page.screenshot(path=SCREENSHOTS / "battle-log-details.png")
    assert axe_findings(page, AXE) == []
    page.context.close()
