"""The page of a run: why it ended, its curves, ranks, configuration and events."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from realm_telemetry.spool.output import KeptOutput
from tests.waiting import wait_until

from .conftest import SCREENSHOTS, Lab, environment, running_lab
from .run_stories import LONG_ID, MARKUP_ID, RTL_ID, TRACEBACK, Runs, every_kind
from .watching import axe_findings, has_total, no_sideways_scroll, pill, until

pytestmark = pytest.mark.browser

AXE = Path(__file__).parents[2] / "realm_telemetry/service/web/node_modules/axe-core/axe.min.js"
ENDINGS = {
    "completed": ("Completed", "It ended as planned."),
    "exception": ("Failed", "KeyError: \"'labels' is not among ['pixels']\""),
    "exit-code": ("Failed", "exit code 3"),
    "sigkill": ("Killed", "SIGKILL, sender unknown"),
    "stall": ("Killed", "SIGKILL, sender unknown"),
    "nan": ("Completed", "loss was Infinity from step"),
}
"""The endings demo kills the training that hangs at its own end."""


@pytest.fixture(scope="module")
def runs_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab with one run of each kind."""
    with running_lab(tmp_path_factory.mktemp("run")) as made:
        every_kind(made)
        yield made


def address(lab: Lab, run: str) -> str:
    """Where the page of a run is."""
    return f"{lab.url}/runs/{quote(run, safe='')}"


def opened(page: Page, lab: Lab, run: str) -> Page:
    """The page of a run, drawn."""
    page.goto(address(lab, run))
    page.get_by_test_id("cause").wait_for()
    page.locator("[data-metric=loss] canvas").wait_for()
    return page


def cause(page: Page) -> str:
    """What the first card says."""
    return page.get_by_test_id("cause").inner_text()


def test_a_failed_run_says_why_where_and_what_is_left(runs_lab: Lab, page: Page) -> None:
    """Status, reason, the rank, the last step, the checkpoint; evidence on a click."""
    text = cause(opened(page, runs_lab, "gpt-8-ranks"))
    for part in ("Failed", "ended ", "IndexError: index 4096", "Rank 5 failed first."):
        assert part in text
    for part in ("40 of 100", "step 20", "/ckpt/20.pt", "8 ranks"):
        assert part in text
    assert "running" not in page.inner_text("main").lower()
    assert page.get_by_test_id("status-pill").count() == 0
    evidence = page.locator(".evidence dd")
    assert not evidence.first.is_visible()
    page.locator(".evidence summary").click()
    assert "IndexError" in evidence.first.inner_text()
    assert page.title() == "Failed · gpt-8-ranks"


def test_a_traceback_has_its_message_first_and_libraries_folded(
    runs_lab: Lab, page: Page, context: BrowserContext
) -> None:
    """All of it can be copied."""
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    card = opened(page, runs_lab, "gpt-8-ranks").get_by_test_id("traceback")
    assert card.locator(".exception-title").inner_text().startswith("IndexError: index 4096")
    assert [fold.inner_text() for fold in card.locator("summary").all()] == [
        "1 library frame",
        "2 library frames",
    ]
    own = card.locator(".frame.own")
    assert ["train.py" in one or "data.py" in one for one in own.all_inner_texts()] == [True] * 3
    assert not card.get_by_text("lightning/call.py").is_visible()
    card.locator("summary").last.click()
    assert card.get_by_text("lightning/call.py").is_visible()
    card.get_by_role("button", name="Copy").click()
    page.locator(".toast", has_text="Traceback copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == TRACEBACK


def test_a_run_says_how_to_go_on_and_how_often_its_error_was_seen(
    lab: Lab, page: Page, tmp_path: Path
) -> None:
    """Its checkpoint is a file of this machine; the same error ended three other runs."""
    saved = tmp_path / "20.pt"
    saved.write_bytes(b"weights")
    runs = Runs()
    started = {"cwd": "/home/ada/my lab", "host": socket.gethostname()}
    for name in ("r1", "r2", "r3", "r4"):
        runs.training(name, 90, started=started)
        details = {"step": 30, "loss": 0.2, "path": str(saved), "size_bytes": 7}
        runs.add(name, "checkpoint_saved", 60, details=details)
        runs.raised(name, 50)
        runs.ended(name, 49, "failed", "IndexError: index 4096")
    runs.store(lab)
    opened(page, lab, "r1")
    text = page.get_by_test_id("resume").inner_text()
    assert "cd '/home/ada/my lab' && python train.py --lr 3e-4" in text
    assert "The original command: whether it goes on" in text
    assert "step 30" in cause(page)
    assert "✓ there with its recorded size" in cause(page)
    seen = page.get_by_test_id("seen")
    assert seen.inner_text() == "seen 4 times this week, in 4 runs"
    seen.click()
    has_total(page, 4)


def test_the_last_lines_of_the_output_are_in_sight(runs_lab: Lab, page: Page) -> None:
    """As text, whatever they hold; a run whose output nobody kept has no such card."""
    kept = KeptOutput(runs_lab.home, "gpt-8-ranks")
    kept.append([*(f"line {number}" for number in range(300)), "<b>the last</b>"])
    kept.close()
    output = opened(page, runs_lab, "gpt-8-ranks").get_by_test_id("output").locator("pre")
    text = output.inner_text()
    assert text.startswith("line 201\n")
    assert text.rstrip().endswith("<b>the last</b>")
    assert output.evaluate("it => it.scrollTop + it.clientHeight >= it.scrollHeight - 2")
    assert opened(page, runs_lab, "nan-run").get_by_test_id("output").count() == 0


def test_the_ranks_begin_with_the_one_that_failed_first(runs_lab: Lab, page: Page) -> None:
    """The others have their own reasons."""
    rows = opened(page, runs_lab, "gpt-8-ranks").locator("[data-rank]")
    assert [row.get_attribute("data-rank") for row in rows.all()] == [*"50123467"]
    assert "first" in rows.first.inner_text()
    assert "Connection closed by peer" in rows.nth(1).inner_text()


def test_every_number_is_a_graph_and_loss_is_the_first(runs_lab: Lab, page: Page) -> None:
    """NaN is said with its step, also to those who do not see the graph."""
    metrics = opened(page, runs_lab, "nan-run").locator("[data-metric]")
    names = [one.get_attribute("data-metric") for one in metrics.all()]
    assert names[:4] == ["loss", "learning_rate", "train/accuracy", "eval/loss"]
    assert "NaN from step 30" in metrics.first.inner_text()
    label = metrics.first.locator("realm-line-graph").get_attribute("aria-label") or ""
    assert "NaN from step 30" in label
    assert "loss was NaN from step 30" in cause(page)
    assert "step 20" in cause(page)
    over = page.locator("[data-metric=loss] .plot-over")
    over.hover()
    accuracy = page.locator("[data-metric='train/accuracy'] .metric-value")
    accuracy.filter(has_text="step 2").wait_for()


def test_curves_are_those_of_the_chosen_rank(runs_lab: Lab, page: Page) -> None:
    """The lowest at first; the machine of a run has graphs too."""
    opened(page, runs_lab, "gpt-8-ranks")
    with page.expect_response("**/metrics?*rank=5*") as answer:
        page.locator("[data-testid=metrics] select").first.select_option("5")
    assert {one["rank"] for one in answer.value.json()["series"]} == {5}
    page.locator("[data-metric=loss] canvas").wait_for()
    with page.expect_response("**/metrics?*rank=all*") as answer:
        page.locator("[data-testid=metrics] select").first.select_option("all")
    assert {one["rank"] for one in answer.value.json()["series"]} == {*range(8)}
    page.locator("[data-metric=loss] canvas").wait_for()
    opened(page, runs_lab, "llama-ft-running")
    page.locator("[data-metric='cpu/percent'] canvas").wait_for()


def test_a_running_run_shows_progress_and_follows_its_events(lab: Lab, page: Page) -> None:
    """And when it ends, nothing of it goes on: no pill, no time left, no running."""
    runs = Runs()
    runs.training("r1", 41)
    runs.sampled("r1", 30)
    runs.store(lab)
    text = cause(opened(page, lab, "r1"))
    for part in ("Running", "40.0 %", "Time left", "Speed", "last event"):
        assert part in text
    pill(page, "Live")
    machine = page.get_by_test_id("machine")
    for part in ("memory of its processes", "6.00 GiB", "182", "60.0 GiB"):
        assert part in machine.inner_text()
    runs.add("r1", "training_step", 0, details={"step": 41, "loss": 0.25, "total_steps": 100})
    runs.store(lab)
    page.get_by_test_id("cause").filter(has_text="41 of 100").wait_for()
    runs.raised("r1", 0)
    runs.ended("r1", 0, "failed", "IndexError: index 4096")
    runs.store(lab)
    page.get_by_test_id("cause").filter(has_text="Failed").wait_for()
    page.get_by_test_id("traceback").wait_for()
    page.get_by_test_id("status-pill").wait_for(state="detached")
    text = page.inner_text("main")
    for word in ("Running", "Time left", "last event"):
        assert word not in text


def test_configuration_is_exact_and_its_events_are_a_click_away(runs_lab: Lab, page: Page) -> None:
    """A seed beyond 2^53; the newest warnings and errors; all events in the Battle Log."""
    opened(page, runs_lab, "gpt-8-ranks")
    settings = page.get_by_test_id("configuration")
    assert "9007199254740993" in settings.inner_text()
    assert "python train.py --lr 3e-4" in settings.inner_text()
    loud = page.get_by_test_id("loud")
    loud.locator("li").first.wait_for()
    assert loud.locator("li").count() == 9
    loud.get_by_role("link", name="All 353 events").click()
    until(page, "document.querySelector('[data-testid=total]')?.dataset.total === '353'")


def test_the_report_is_copied_as_markdown(
    runs_lab: Lab, page: Page, context: BrowserContext
) -> None:
    """By the button, and by its key."""
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened(page, runs_lab, "oom-run").get_by_role("button", name="Copy report").click()
    page.locator(".toast", has_text="Report copied").wait_for()
    text = page.evaluate("navigator.clipboard.readText()")
    assert text.startswith("# Run oom-run")
    assert "the container reached its memory limit" in text


@pytest.mark.parametrize("run", [LONG_ID, RTL_ID, MARKUP_ID, "50% done", "a,b", "q?x=1#y"])
def test_a_run_with_an_odd_id_has_its_page(lab: Lab, page: Page, run: str) -> None:
    """Its id is a text there, and its own events are shown."""
    runs = Runs()
    for name in (run, "a", "other"):
        runs.training(name, 50, steps=5)
        runs.add(name, "loss_spiked", 40, severity="warning", message=f"Spike of {name[:20]}")
        runs.ended(name, 30, "killed", "SIGKILL, sender unknown")
    runs.store(lab)
    opened(page, lab, run)
    assert page.locator("h1").inner_text() == run
    assert page.locator("main img").count() == 0
    spikes = page.get_by_test_id("loud").locator("li a").filter(has_text="Spike")
    spikes.first.wait_for()
    loud = spikes.all_inner_texts()
    assert [text for text in loud if text.startswith("Spike")] == [f"Spike of {run[:20]}"]
    assert no_sideways_scroll(page)
    page.get_by_role("link", name="All events").click()
    until(page, "document.querySelector('[data-testid=total]')?.dataset.total === '10'")


def test_an_unknown_run_is_a_page_with_a_way_back(runs_lab: Lab, page: Page) -> None:
    """And the status is 404, for programs."""
    answer = page.goto(address(runs_lab, "no/such <b>run</b>"))
    assert answer is not None
    assert answer.status == 404
    page.get_by_test_id("no-run").wait_for()
    assert "no/such <b>run</b>" in page.inner_text("main")
    assert page.title() == "No such run"
    assert axe_findings(page, AXE) == []
    page.get_by_role("link", name="All runs").click()
    page.locator("[data-run]").first.wait_for()
    known = httpx.get(address(runs_lab, RTL_ID))
    assert known.status_code == 200


def test_a_page_outlives_its_service(lab: Lab, page: Page) -> None:
    """It says so, keeps what it has, and goes on."""
    runs = Runs()
    runs.training("r1", 10, steps=5)
    runs.store(lab)
    opened(page, lab, "r1")
    lab.kill()
    page.get_by_role("alert").filter(has_text="The service does not answer").wait_for()
    pill(page, "Reconnecting")
    assert "5 of 100" in cause(page)
    lab.start()
    page.get_by_role("alert").wait_for(state="detached")
    runs.ended("r1", 0, "completed")
    runs.store(lab)
    page.get_by_test_id("cause").filter(has_text="Completed").wait_for()


def test_a_link_of_another_site_leads_to_a_run(runs_lab: Lab) -> None:
    """As from a chat message; nothing else of the service answers it."""
    link = {
        "sec-fetch-site": "cross-site",
        "sec-fetch-mode": "navigate",
        "sec-fetch-dest": "document",
    }
    assert httpx.get(address(runs_lab, LONG_ID), headers=link).status_code == 200
    assert httpx.get(f"{runs_lab.url}/api/runs", headers=link).status_code == 403


@pytest.mark.parametrize(
    ("width", "theme"),
    [
        (1440, "dark"),
        (390, "light"),
        *(
            pytest.param(*each, marks=pytest.mark.long)
            for each in [(1440, "light"), (820, "light"), (820, "dark"), (390, "dark")]
        ),
    ],
)
def test_a_run_fits_and_axe_finds_nothing(
    browser: Browser, runs_lab: Lab, width: int, theme: str
) -> None:
    """For a run that failed, one that goes on, and one with a long name; pictures are taken."""
    SCREENSHOTS.mkdir(exist_ok=True)
    context = browser.new_context(
        viewport={"width": width, "height": 844 if width < 600 else 1000},
        color_scheme="dark" if theme == "dark" else "light",
        reduced_motion="reduce",
    )
    page = context.new_page()
    for name, run in {
        "failed": "gpt-8-ranks",
        "running": "llama-ft-running",
        "nan": "nan-run",
        "long": LONG_ID,
    }.items():
        opened(page, runs_lab, run)
        page.wait_for_timeout(300)
        page.screenshot(path=SCREENSHOTS / f"run-{name}-{width}-{theme}.png", full_page=True)
        assert no_sideways_scroll(page)
        assert axe_findings(page, AXE) == []
    context.close()


@pytest.mark.slow
@pytest.mark.processes
def test_each_ending_says_its_cause_above_the_fold_of_a_phone(
    tmp_path: Path, browser: Browser
) -> None:
    """The six trainings of `realm demo --endings`, on a screen of 390 by 844."""
    with running_lab(tmp_path) as lab:
        ports = ["--port", str(lab.port), "--battle-log-port", "0", "--ui-port", "0"]
        command = [sys.executable, "-m", "realm_telemetry", "demo", "--endings", *ports]
        command += ["--home", str(lab.home)]
        subprocess.run(command, env=environment(lab.home), check=False, capture_output=True)
        names = [run["run_id"] for run in lab.client.get("/api/runs").json()["runs"]]
        context = browser.new_context(viewport={"width": 390, "height": 844})
        page = context.new_page()
        for way, (status, reason) in ENDINGS.items():
            run = next(name for name in names if name.startswith(way))
            opened(page, lab, run)
            for text in (status, reason):
                place = page.get_by_test_id("cause").get_by_text(text).first
                box = place.bounding_box()
                assert box is not None, (way, text)
                assert box["y"] + box["height"] <= 844, (way, text)
        context.close()


@pytest.mark.long
@pytest.mark.alone
@pytest.mark.timeout(300)
def test_forty_metrics_are_drawn_within_a_second(lab: Lab, page: Page) -> None:
    """From the request to the loss. A curve has 512 buckets at most, after a million steps too."""
    runs = Runs()
    for step in range(1, 20_001):
        values = {f"train/number_{number}": step % (7 + number) for number in range(39)}
        details = {"step": step, "loss": 9 / step} | values
        runs.add("large", "training_step", 20_001 - step, details=details)
    runs.store(lab)
    metrics = f"{lab.url}/api/runs/large/metrics?name=*"
    wait_until(lambda: httpx.get(metrics, timeout=60).json()["building"] is None)
    took_s = []
    for _ in range(4):
        began_s = time.perf_counter()
        page.goto(f"{lab.url}/runs/large", wait_until="commit")
        page.locator("[data-metric=loss] canvas").wait_for()
        took_s.append(time.perf_counter() - began_s)
    print([round(each, 2) for each in took_s])
    assert min(took_s) <= 1


def test_the_other_pages_lead_to_the_run(runs_lab: Lab, page: Page) -> None:
    """The War Room by its name; the Battle Log in a row and in the details."""
    page.goto(runs_lab.url)
    page.locator(".progress").get_by_role("link", name="llama-ft-running").click()
    page.get_by_test_id("cause").wait_for()
    page.goto(f"{runs_lab.url}/battle-log?range=all&kind=uncaught_exception")
    page.locator("[data-event-id] .row-run").first.click()
    page.wait_for_url("**/runs/gpt-8-ranks")
    page.go_back()
    page.locator("[data-event-id] .row-kind").first.click()
    page.get_by_test_id("details").get_by_role("link", name="gpt-8-ranks").click()
    page.get_by_test_id("traceback").wait_for()
