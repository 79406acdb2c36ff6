"""What the War Room shows: each panel, and its links to the Battle Log."""

import re
import subprocess
import sys
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page

from realm_telemetry.wire.codec import encode_batch
from realm_telemetry.wire.messages import BatchProducer

from .conftest import Lab, environment, note
from .watching import pill, rows, until

pytestmark = pytest.mark.browser

TRAINER, WORKER = "aa" * 8, "bb" * 8
S = 1_000_000_000
Shape = dict[str, Any]


class Story:
    """Events of two producers, one second apart, the last of them now."""

    def __init__(self) -> None:
        self.shapes: list[Shape] = []

    def add(self, kind: str, producer: str = TRAINER, **fields: Any) -> None:
        """One more event."""
        number = 1 + sum(shape["producer"] == producer for shape in self.shapes)
        given = {"message": kind, "run_id": "r1" if producer == TRAINER else None}
        self.shapes.append(note(number, kind=kind, producer=producer, **(given | fields)))

    def timed(self) -> list[Shape]:
        """With their times."""
        first = time.time_ns() - len(self.shapes) * S
        for place, shape in enumerate(self.shapes):
            shape["time_unix_nano"] = str(first + place * S)
        return self.shapes


def loss_of(step: int) -> float | str:
    """A curve that falls, with a value that is none."""
    return "NaN" if step == 30 else 2.0 / step


@pytest.fixture(scope="module")
def story_lab(shared_lab: Lab) -> Lab:
    """A run of 40 steps, a worker, jobs, evals, a champion, a title, and a clock that is ahead."""
    story = Story()
    story.add("training_started", details={"model": "mlp", "total_steps": 80})
    joined = {"worker_id": "w1", "role": "eval_worker", "device": "cuda:0", "rank": 3}
    story.add("worker_joined", WORKER, details=joined)
    for step in range(1, 41):
        details = {"step": step, "loss": loss_of(step), "learning_rate": 0.01, "total_steps": 80}
        story.add("training_step", details=details | {"tokens_per_second": 1_000 + step})
        if step == 20:
            story.add("checkpoint_saved", details={"step": 20, "loss": 0.1, "path": "ckpt/20"})
    story.add("checkpoint_promoted", details={"step": 20, "accuracy": 0.75, "path": "ckpt/20"})
    for accuracy in (0.5, 0.75):
        details = {"skill": "sums", "level": 2, "accuracy": accuracy, "step": 20}
        story.add("eval_completed", details=details)
    story.add("title_earned", hero_id="dio", details={"title": "Master of Sums"})
    story.add("job_started", details={"job_id": "j1", "job_type": "eval", "worker_id": "w1"})
    story.add("job_failed", severity="error", details={"job_id": "j2", "error": "torn file"})
    shared_lab.post(story.timed())
    ahead = BatchProducer(WORKER, "main", history=True, clock_offset_ns=-3 * S)
    body = encode_batch([], [ahead])
    answer = shared_lab.client.post(
        "/api/v1/events", content=body, headers={"content-type": "application/x-protobuf"}
    )
    assert answer.status_code == 200, answer.text
    return shared_lab


@pytest.fixture
def room(story_lab: Lab, page: Page) -> Page:
    """The War Room of that lab, with its state."""
    page.goto(story_lab.url)
    pill(page, "Live")
    page.locator(".progress").wait_for()
    return page


def test_a_run_shows_progress_pace_and_time_left(room: Page) -> None:
    """40 of 80 steps, about one a second: about 40 s more."""
    panel = room.locator(".progress")
    panel.filter(has_text="50.0 %").wait_for()
    text = panel.inner_text()
    assert "step 40 of 80" in text
    assert "done at" in text
    assert "mlp" in text
    figures = dict(
        zip(
            panel.locator("dt").all_inner_texts(),
            panel.locator("dd").all_inner_texts(),
            strict=True,
        )
    )
    assert figures["loss"] == "0.05000"
    assert figures["learning rate"] == "0.01000"
    assert figures["speed"] == "1,040/s"
    assert re.fullmatch(r"4[0-3](\.\d)? s", figures["time left"])
    assert panel.locator(".rate svg").count() == 1
    until(room, "document.title.endsWith(' · loss 0.05000 · War Room')")
    assert "NaN" in room.title(), "problems first"


def test_a_worker_tile_shows_role_device_and_clock_offset(room: Page) -> None:
    """The offset is that of its receipt until a heartbeat gives another."""
    tile = room.locator("[data-worker=w1]")
    tile.filter(has_text="clock 3.0 s ahead").wait_for()
    for text in ("eval_worker", "cuda:0", "rank 3"):
        assert text in tile.inner_text()


def test_the_panels_show_the_state(room: Page) -> None:
    """Champion, evals with their change, titles, jobs, severities."""
    assert "👑 step 20" in room.locator(".champion").inner_text()
    assert "75.0 %" in room.locator(".champion").inner_text()
    assert "▲ +25.0 %" in room.locator(".evals").inner_text()
    assert "Master of Sums" in room.locator(".guild").inner_text()
    assert "j1" in room.locator(".lane", has_text="running").inner_text()
    assert "j2" in room.locator(".lane", has_text="failed").inner_text()
    errors = room.locator(".severity-count", has_text="Error")
    assert errors.inner_text().split()[-1] == "1"
    assert "severity=error" in (errors.get_attribute("href") or "")


def test_markers_open_their_events(room: Page) -> None:
    """Also as links, for users without a mouse."""
    summary = room.locator(".marks summary")
    assert summary.inner_text() == "3 markers on the graph"
    summary.click()
    mark = room.locator(".marks a", has_text="checkpoint_promoted")
    mark.click()
    room.locator(".details-title", has_text="checkpoint_promoted").wait_for()


def test_the_graph_has_settings_that_are_kept(room: Page) -> None:
    """Time and logarithm by keys, smoothing by a list, runs by their names; kept on a reload."""
    room.keyboard.press("t")
    room.keyboard.press("l")
    room.get_by_label("Smoothing").select_option("0.9")
    pressed = room.locator(".graph .controls button[aria-pressed=true]")
    assert pressed.all_inner_texts() == ["By time", "Log scale"]
    room.reload()
    room.locator(".legend button").wait_for()
    assert pressed.all_inner_texts() == ["By time", "Log scale"]
    assert room.get_by_label("Smoothing").input_value() == "0.9"
    run = room.locator(".legend button", has_text="r1")
    assert run.get_attribute("aria-pressed") == "true"
    run.click()
    room.locator(".graph", has_text="No run selected").wait_for()
    run.click()
    room.locator("[data-testid=loss-graph] canvas").wait_for()


def test_space_pauses_and_resumes(room: Page) -> None:
    """As the button does."""
    room.keyboard.press(" ")
    pill(room, "Paused")
    room.keyboard.press(" ")
    pill(room, "Live")


def test_a_replayed_run_looks_the_same(story_lab: Lab, lab: Lab, page: Page, room: Page) -> None:
    """On a second service that got it by `realm replay`."""
    command = [sys.executable, "-m", "realm_telemetry", "replay", "--to", lab.url]
    done = subprocess.run(command, env=environment(story_lab.home), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    panels = (".champion", ".evals", ".jobs", ".guild", ".severities", ".legend")
    original = [room.locator(panel).inner_text() for panel in panels]
    page.goto(lab.url)
    page.locator(".progress").filter(has_text="step 40 of 80").wait_for()
    assert [page.locator(panel).inner_text() for panel in panels] == original


def test_a_click_on_the_loss_opens_the_battle_log_around_that_time(
    room: Page, story_lab: Lab
) -> None:
    """Five minutes to both sides of the step under the pointer."""
    over = room.locator("[data-testid=loss-graph] .plot-over")
    box = over.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    for _ in range(100):  # the curve of before comes a moment after the last step
        room.mouse.move(x + 1, y)
        room.mouse.move(x, y)
        if room.get_by_text(re.compile(r"step (20|21) ·")).count():
            break
        room.wait_for_timeout(50)
    room.mouse.click(x, y)
    room.wait_for_url(re.compile(r"/battle-log\?"))
    range_ = parse_qs(urlsplit(room.url).query)
    steps = story_lab.client.get("/api/battle_log?kind=training_step&has=step:20").json()
    middle = int(steps[0]["time_unix_nano"]) / 1e9
    since, until_ = (_seconds(range_[name][0]) for name in ("since", "until"))
    assert until_ - since == pytest.approx(600)
    assert abs((since + until_) / 2 - middle) < 3


def _seconds(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


def test_a_note_stays_pinned_on_the_graph(room: Page, story_lab: Lab) -> None:
    """With the run and the step it was written at, after a reload too."""
    room.keyboard.press("n")
    room.get_by_label("Note for this point").fill("Doubled the batch")
    room.get_by_role("button", name="Save note").click()
    pin = room.locator(".notes a", has_text="Doubled the batch")
    pin.wait_for()
    room.reload()
    pin.wait_for()
    (stored,) = story_lab.client.get("/api/battle_log", params={"q": "Doubled"}).json()
    assert (stored["kind"], stored["run_id"], stored["details"]) == ("note", "r1", {"step": 40})
    pin.click()
    room.locator(".details-message", has_text="Doubled the batch").wait_for()


def test_events_while_away_are_links(story_lab: Lab, browser: Browser) -> None:
    """After an hour away: errors, promotions, each with its rows."""
    context = browser.new_context()
    context.add_init_script(
        "if (!localStorage.getItem('realm-last-seen'))"
        " localStorage.setItem('realm-last-seen', String(Date.now() - 3_600_000))"
    )
    page = context.new_page()
    page.goto(story_lab.url)
    strip = page.locator(".away")
    strip.wait_for()
    assert strip.inner_text().split("\n")[:2] == ["While you were away", "(1 h)"]
    assert "1 error" in strip.inner_text()
    assert "1 promotion" in strip.inner_text()
    strip.get_by_text("1 promotion").click()
    until(page, "document.querySelector('[data-testid=total]')?.dataset.total === '1'")
    assert page.locator("[data-event-id] .row-kind").inner_text() == "checkpoint_promoted"
    page.go_back()
    page.locator(".feed [data-event-id]").first.wait_for()
    assert page.locator(".away").count() == 0
    context.close()


def test_late_events_are_one_ribbon(lab: Lab, page: Page) -> None:
    """They are not among the last events, and the newest of them is a link."""
    page.goto(lab.url)
    pill(page, "Live")
    lab.notes(1, 1)
    before = str(time.time_ns() - 600 * S)
    lab.notes(2, 3, time_unix_nano=before)
    ribbon = page.get_by_label("Late events")
    ribbon.filter(has_text="2 events arrived late").wait_for()
    assert "10 min" in ribbon.inner_text()
    assert len(rows(page)) == 1
    ribbon.get_by_role("link").click()
    page.locator(".details-message", has_text="Note 3").wait_for()


def test_dropped_events_are_an_alert(lab: Lab, page: Page) -> None:
    """In the receipts, with a link to the events that give the reason."""
    lab.notes(1, 2)
    lost = BatchProducer("cc" * 8, "main", history=True, emitted=0, dropped=7, ended=True)
    headers = {"content-type": "application/x-protobuf"}
    lab.client.post("/api/v1/events", content=encode_batch([], [lost]), headers=headers)
    page.goto(lab.url)
    loud = page.get_by_role("alert").filter(has_text="7 events were dropped")
    loud.wait_for(timeout=20_000)
    assert "kind=events_dropped" in (loud.get_by_role("link").get_attribute("href") or "")


def test_a_lost_worker_turns_without_a_reload(lab: Lab, page: Page) -> None:
    """The tile shows lost after process_lost; the title counts the error."""
    lab.post([note(1, kind="worker_joined", producer=WORKER, details={"worker_id": "w1"})])
    page.goto(lab.url)
    tile = page.locator("[data-worker=w1]")
    tile.filter(has_text="active").wait_for()
    assert page.title() == "War Room"
    lab.post([note(2**64 - 1, kind="process_lost", severity="error", producer=WORKER)])
    tile.filter(has_text="lost").wait_for()
    until(page, "document.title === '(✕ 1) War Room'")
    assert page.locator("link[rel=icon]").get_attribute("href") != ""
