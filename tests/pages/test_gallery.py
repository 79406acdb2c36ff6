"""Every page in every state, in both themes, on every width: axe-core, and no sideways scroll.

`make screenshots` is for the pictures that it takes.
"""

import os
import re
import signal
import socket
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable, Iterator
from typing import NamedTuple
from urllib.parse import quote, urlencode

import pytest
from playwright.sync_api import Browser, Page

from tests.ports import free_port
from tests.waiting import wait_until

from .conftest import SCREENSHOTS, Lab, running_lab
from .full_lab import SWEEP, fill, write_settings
from .run_stories import LONG_ID, RTL_ID
from .test_build import WEB
from .test_looks import AXE
from .watching import axe_findings, no_sideways_scroll

pytestmark = [pytest.mark.browser, pytest.mark.screenshots, pytest.mark.timeout(600)]

PICTURES = SCREENSHOTS / "gallery"
OF_DOCUMENTS = SCREENSHOTS / "docs"
DOCUMENTED = {"war-room": "war-room", "run": "run-failed", "compare": "compare"}
"""The pictures of README and docs, by their views."""
THEMES = ("light", "dark")
SIZES = {"1440": (1440, 900), "1920": (1920, 1000), "820": (820, 1100), "390": (390, 844)}
ZOOMED = {"zoom": (720, 450)}
"""A window of 1440 by 900 at 200 %."""


class View(NamedTuple):
    """A page in a state. shown: what says that it is drawn; then: what is done after that."""

    path: str
    shown: str
    then: Callable[[Page], None] = lambda page: None


def _details(page: Page) -> None:
    page.locator("[data-event-id] .row-kind").first.click()
    page.get_by_test_id("traceback").wait_for()


def _filters(page: Page) -> None:
    page.get_by_role("button", name="More filters").click()


def _chosen(page: Page) -> None:
    for name in SWEEP[:2]:
        page.get_by_label(f"Compare {name}").check()


def _keys(page: Page) -> None:
    page.keyboard.press("?")
    page.locator("dialog[open]").wait_for()


def _run(name: str) -> str:
    return f"runs/{quote(name, safe='')}"


def _compare(*names: str) -> str:
    return f"compare?{urlencode([('run', name) for name in names])}"


LOG = "battle-log?range=all"
VIEWS = {
    "war-room": View("", "[data-open-run] .sparkline, .worker-grid li"),
    "war-room-keys": View("", "[data-open-run]", _keys),
    "runs": View("runs", "[data-run]"),
    "runs-chosen": View("runs?q=gpt-small", "[data-run]", _chosen),
    "runs-no-match": View("runs?q=nothing+has+this", ".empty-state"),
    "run-failed": View(_run(SWEEP[3]), "[data-metric=loss] canvas"),
    "run-ranks": View(_run("gpt-8-ranks"), "[data-metric=loss] canvas"),
    "run-512-ranks": View(_run("wide-512-ranks"), "[data-testid=rank-grid]"),
    "run-40-metrics": View(_run("pretrain-40-metrics"), "[data-metric=loss] canvas"),
    "run-nan": View(_run("nan-run"), "[data-metric=loss] canvas"),
    "run-stalled": View(_run("stalled-run"), "[data-metric=loss] canvas"),
    "run-long": View(_run(LONG_ID), "[data-metric=loss] canvas"),
    "run-rtl": View(_run(RTL_ID), "[data-metric=loss] canvas"),
    "run-missing": View(_run("no such run"), "[data-testid=no-run]"),
    "compare": View(_compare(*SWEEP), "[data-metric=loss] canvas"),
    "compare-too-few": View("compare?run=a", "[data-testid=too-few]"),
    "battle-log": View(LOG, "[data-event-id]"),
    "battle-log-details": View(f"{LOG}&kind=uncaught_exception", "[data-event-id]", _details),
    "battle-log-filters": View(f"{LOG}&severity=error&channel=data", "[data-event-id]", _filters),
    "battle-log-search": View(f"{LOG}&q=shard", "[data-event-id] mark"),
    "battle-log-no-match": View("battle-log?channel=guild&hero=nobody", ".removals li"),
    "battle-log-summary": View("battle-log?view=summary", ".summary td button"),
    "alerts": View("alerts", "[data-rule]"),
    "health": View("service-health", "[data-level=warning]"),
}  # fmt: skip

EMPTY = {
    "war-room": View("", ".feed .snippet"),
    "runs": View("runs", "[data-testid=no-runs]"),
    "battle-log": View("battle-log", "[data-testid=empty-log]"),
    "alerts": View("alerts", "[data-testid=no-alerts]"),
    "health": View("service-health", "[data-testid=verdict]"),
}

READ = ("war-room", "runs", "run-failed", "compare", "battle-log", "alerts", "health")
"""Pages that keep what they have read while the service is away."""

SERVE = """
import build, subprocess, sys
command = ["npx", "vite", "--strictPort", "--host", "127.0.0.1", "--port", sys.argv[1]]
sys.exit(subprocess.call(command, env=build.node_environment()))
"""

HELD = re.compile(r"/api/(?!.*stream)")
"""Requests that do not return while a page loads."""

LOADING = {
    "war-room": View("", "main"),
    "runs": View("runs", ".loading"),
    "run": View(_run(SWEEP[3]), ".loading"),
    "compare": View(_compare(*SWEEP[:2]), ".loading"),
    "battle-log": View("battle-log", ".skeleton-row"),
    "alerts": View("alerts", ".loading"),
    "health": View("service-health", ".loading"),
}


@pytest.fixture(scope="module")
def full_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab with everything."""
    home = tmp_path_factory.mktemp("gallery")
    write_settings(home)
    with running_lab(home) as made:
        fill(made)
        wait_until(lambda: made.client.get("/api/runs").json()["runs"])
        yield made


@pytest.fixture(scope="module")
def empty_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab with nothing."""
    with running_lab(tmp_path_factory.mktemp("empty")) as made:
        yield made


@pytest.fixture(scope="module")
def documented_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """As `full_lab`, just filled, and nothing wrong with the service."""
    with running_lab(tmp_path_factory.mktemp("documented")) as made:
        fill(made)
        yield made


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    """A tab without motion."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    context = browser.new_context(reduced_motion="reduce")
    context.set_default_timeout(60_000)
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("name", VIEWS)
def test_a_page_is_fit_to_be_seen(full_lab: Lab, tab: Page, name: str) -> None:
    """With as much as there can be."""
    show(tab, full_lab, VIEWS[name])
    look(tab, name)


@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_page_is_fit_to_be_seen(empty_lab: Lab, tab: Page, name: str) -> None:
    """It says how to fill it."""
    show(tab, empty_lab, EMPTY[name])
    look(tab, f"{name}-empty")


@pytest.mark.parametrize("name", LOADING)
def test_a_page_that_loads_is_fit_to_be_seen(full_lab: Lab, tab: Page, name: str) -> None:
    """While the service has not answered."""
    tab.route(HELD, lambda route: None)
    show(tab, full_lab, LOADING[name])
    look(tab, f"{name}-loading")


def test_the_components_are_fit_to_be_seen(tab: Page) -> None:
    """As `make pages-dev` serves them."""
    port = free_port()
    command = [sys.executable, "-c", SERVE, str(port)]
    served = subprocess.Popen(command, cwd=WEB, process_group=0, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: answers(port))
        tab.goto(f"http://127.0.0.1:{port}/components.html")
        tab.get_by_test_id("rank-grid").wait_for()
        look(tab, "components")
    finally:
        os.killpg(served.pid, signal.SIGTERM)
        served.wait(60)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_pictures_of_the_documents(documented_lab: Lab, browser: Browser, name: str) -> None:
    """Sharp on large screens; `make screenshots` copies them to docs/images."""
    OF_DOCUMENTS.mkdir(parents=True, exist_ok=True)
    context = browser.new_context(device_scale_factor=2, reduced_motion="reduce")
    page = context.new_page()
    show(page, documented_lab, VIEWS[DOCUMENTED[name]])
    page.wait_for_timeout(1_500)
    wanted = {"format": "webp", "quality": 75}
    taken = context.new_cdp_session(page).send("Page.captureScreenshot", wanted)
    (OF_DOCUMENTS / f"{name}.webp").write_bytes(b64decode(taken["data"]))
    assert no_sideways_scroll(page)
    context.close()


# Last: it ends the service of `full_lab`.
@pytest.mark.timeout(900)
def test_pages_without_their_service_are_fit_to_be_seen(full_lab: Lab, tab: Page) -> None:
    """What was read stays, after it was killed."""
    tabs = {name: tab.context.new_page() for name in READ}
    for name, page in tabs.items():
        page.bring_to_front()
        show(page, full_lab, VIEWS[name])
    full_lab.kill()
    for name, page in tabs.items():
        page.bring_to_front()
        page.get_by_text("Reconnecting").first.wait_for()
        look(page, f"{name}-offline")


def answers(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def show(page: Page, lab: Lab, view: View) -> None:
    """Open a page and bring it into its state."""
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(f"{lab.url}/{view.path}")
    page.locator(view.shown).first.wait_for()
    view.then(page)
    page.wait_for_timeout(500)


def look(page: Page, name: str) -> None:
    """Take pictures on each width in both themes, and judge what is there."""
    problems: list[object] = []
    for theme in THEMES:
        page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
        for size, (width, height) in (SIZES | ZOOMED).items():
            page.set_viewport_size({"width": width, "height": height})
            page.wait_for_timeout(120)
            page.screenshot(path=PICTURES / f"{name}-{size}-{theme}.png", full_page=width < 600)
            if not no_sideways_scroll(page):
                problems.append((theme, size, "wider than its window"))
            # What lies over a page makes unknown to axe-core what is below.
            is_flat = page.locator("dialog[open], .compare-bar").count() == 0
            found = axe_findings(page, AXE, unjudged=is_flat)
            problems += [(theme, size, one) for one in found]
    assert not problems
