"""One event of the Battle Log: its details, what they filter by, and what can be copied."""

import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from .conftest import Lab, environment, note, watched_page
from .watching import has_total, pill, rows, until

pytestmark = pytest.mark.browser

LOST = 2**64 - 1
SEED = 2**53 + 1
"""Not the number that a browser reads by itself."""
EVERY = "?range=all"
Shape = dict[str, Any]


@pytest.fixture(scope="module")
def story_lab(shared_lab: Lab) -> Lab:
    """A log of two producers: one whose job fails after 30 notes, one that is lost after 25."""
    now_ns = time.time_ns() - 3600 * 1_000_000_000
    ours = {"hero_id": "dio", "campaign_id": "c1", "run_id": "r1", "producer": "aa" * 8}
    ours["source"] = "trainer"
    theirs = {"hero_id": "ada", "run_id": "r2", "producer": "bb" * 8}
    shapes = [note(n, details={"n": n, "tags": ["cold"]}, **ours) for n in range(1, 31)]
    shapes.append(
        note(
            31,
            kind="job_failed",
            channel="jobs",
            severity="error",
            message="Job j7 failed",
            details={
                "job_id": "j7",
                "error": "CUDA out of memory",
                "tags": ["cold", "retry"],
                "gpus": [{"name": "A100"}],
                "seed": SEED,
            },
            trace_id="ab" * 16,
            span_id="cd" * 8,
            **ours,
        )
    )
    shapes += [note(n, channel="eval", **theirs) for n in range(1, 26)]
    shapes.append(note(LOST, kind="process_lost", severity="error", message="Gone", **theirs))
    for place, shape in enumerate(shapes):
        shape["time_unix_nano"] = str(now_ns + place * 1_000_000_000)
    shared_lab.post(shapes)
    return shared_lab


def stored(lab: Lab) -> list[Shape]:
    """All events, newest first."""
    found: list[Shape] = lab.client.get("/api/battle_log", params={"limit": 1000}).json()
    return found


def open_event(page: Page, lab: Lab, kind: str, query: str = EVERY) -> Shape:
    """Open the only event of a kind."""
    (event,) = lab.client.get("/api/battle_log", params={"kind": kind}).json()
    page.goto(f"{lab.url}/battle-log{query}&event={event['id']}")
    page.locator("realm-json").first.wait_for()
    until(page, "document.querySelector('[data-testid=total]').dataset.total > 0")
    return dict(event)


def unfold(page: Page, *keys: str) -> None:
    """Open branches of the tree."""
    for key in keys:
        fold = page.locator(f".json-fold:has(.json-key:text-is('{key}'))").first
        if fold.get_attribute("aria-expanded") == "false":
            fold.click()


Has = Callable[[Shape], bool]
VALUES: dict[str, Has] = {
    "kind": lambda event: event["kind"] == "job_failed",
    "channel": lambda event: event["channel"] == "jobs",
    "severity": lambda event: event["severity"] == "error",
    "hero_id": lambda event: event["hero_id"] == "dio",
    "campaign_id": lambda event: event["campaign_id"] == "c1",
    "run_id": lambda event: event["run_id"] == "r1",
    "producer": lambda event: event["producer"] == "aa" * 8,
    "source": lambda event: event["source"] == "trainer",
    "trace_id": lambda event: event["trace_id"] == "ab" * 16,
    "details.job_id": lambda event: event["details"].get("job_id") == "j7",
    "details.tags[0]": lambda event: "cold" in event["details"].get("tags", ()),
    "details.tags[1]": lambda event: "retry" in event["details"].get("tags", ()),
    "details.gpus[0].name": lambda event: "gpus" in event["details"],
    "details.seed": lambda event: event["details"].get("seed") == SEED,
}


@pytest.mark.parametrize("word", ["Only", "Exclude"])
def test_any_value_filters_and_excludes(story_lab: Lab, page: Page, word: str) -> None:
    """Fields of the event, details and entries of lists; Back undoes each."""
    events = stored(story_lab)
    open_event(page, story_lab, "job_failed")
    has_total(page, len(events))
    unfold(page, "tags", "gpus", "0")
    for name, has in VALUES.items():
        wanted = [event["id"] for event in events if has(event) is (word == "Only")]
        page.get_by_label(f"{word} events where {name} has this value").click()
        has_total(page, len(wanted))
        until(page, "!document.querySelector('.stale')")
        assert set(rows(page)) <= set(wanted), name
        page.go_back()
        has_total(page, len(events))


FIELDS = {
    "kind": "note",
    "hero": "ada",
    "campaign": "c1",
    "run": "r2",
    "producer": "aa" * 8,
    "source": "trainer",
    "trace": "ab" * 16,
}


def test_each_field_of_the_filters_narrows(story_lab: Lab, page: Page) -> None:
    """Typed by hand, where the fields offer what occurs; severities and ranges by buttons."""
    everything = len(stored(story_lab))
    page.goto(f"{story_lab.url}/battle-log{EVERY}")
    has_total(page, everything)
    page.get_by_role("button", name="More filters").click()
    for name, value in FIELDS.items():
        wanted = story_lab.client.get("/api/battle_log", params={name: value, "limit": 1})
        field = page.locator(f"#more-filters input[name={name}]")
        offered = page.locator(f"#known-{name} option[value='{value}']")
        offered.wait_for(state="attached")
        field.fill(value)
        field.press("Enter")
        has_total(page, int(wanted.headers["x-total-count"]))
        page.go_back()
        has_total(page, everything)
    page.locator("[data-testid=severity-error]").click()
    has_total(page, 2)
    page.get_by_role("button", name="7 d").click()
    until(page, "location.search.includes('since=7d')")
    has_total(page, 2)


def test_an_excluded_value_is_a_chip(story_lab: Lab, page: Page) -> None:
    """With a button that removes it."""
    open_event(page, story_lab, "job_failed")
    page.get_by_label("Exclude events where hero_id has this value").click()
    chip = page.locator(".filter-chip").filter(has_text="hero ≠ dio")
    chip.wait_for()
    assert "hero=!dio" in page.url
    chip.get_by_role("button").click()
    has_total(page, len(stored(story_lab)))


def test_a_hit_that_is_only_in_the_details_shows_in_the_row(story_lab: Lab, page: Page) -> None:
    """With its path, and marked."""
    page.goto(f"{story_lab.url}/battle-log?range=all&q=a100")
    snippet = page.locator("[data-event-id] .row-snippet")
    snippet.wait_for()
    assert snippet.inner_text() == "gpus[0].name: A100"
    assert snippet.locator("mark").inner_text() == "A100"


@pytest.mark.parametrize("kind", ["job_failed", "process_lost"])
def test_a_failure_shows_the_last_twenty_events_of_its_producer(
    story_lab: Lab, page: Page, kind: str
) -> None:
    """Newest first, none of another producer; one of them opens by a click."""
    end = open_event(page, story_lab, kind)
    mine = [event for event in stored(story_lab) if event["producer"] == end["producer"]][1:21]
    lines = page.locator(".neighbours .neighbour-text")
    lines.nth(19).wait_for()
    assert (
        page.locator(".neighbours h3").inner_text() == "Last 20 events of this producer before it"
    )
    assert lines.all_inner_texts() == [event["message"] for event in mine]
    lines.first.click()
    page.locator("[data-testid=details] h2", has_text="note").wait_for()


def test_context_ignores_the_filters(story_lab: Lab, page: Page) -> None:
    """What happened around it, also in other runs when they are asked for."""
    end = open_event(page, story_lab, "job_failed", "?range=all&kind=job_failed")
    assert rows(page) == [end["id"]]
    page.get_by_role("button", name="Context").click()
    page.locator(".neighbour[aria-current]").wait_for()
    page.get_by_role("button", name="Other runs too").click()
    messages = page.locator(".neighbours").first.locator(".neighbour-text").all_inner_texts()
    assert {"Note 15", "Note 30", "Job j7 failed", "Note 1"} <= set(messages)


def test_the_trace_is_named(story_lab: Lab, page: Page) -> None:
    """With its span."""
    open_event(page, story_lab, "job_failed")
    facts = page.locator(".internals .facts").inner_text()
    assert "ab" * 16 in facts
    assert "cd" * 8 in facts


@pytest.fixture
def copied(page: Page) -> Callable[[str], str]:
    """Click a button by its name; returns what it put on the clipboard."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])

    def click(name: str) -> str:
        page.evaluate("navigator.clipboard.writeText('')")
        page.get_by_role("button", name=name, exact=True).click()
        page.locator(".toast.shown", has_text="copied").wait_for()
        return str(page.evaluate("navigator.clipboard.readText()"))

    return click


def test_values_and_paths_can_be_copied(
    story_lab: Lab, page: Page, copied: Callable[[str], str]
) -> None:
    """A text as it is, everything else as JSON."""
    end = open_event(page, story_lab, "job_failed")
    unfold(page, "gpus", "0")
    assert copied("Copy the value of details.error") == "CUDA out of memory"
    assert copied("Copy the path details.error") == "details.error"
    assert json.loads(copied("Copy the value of details.gpus")) == [{"name": "A100"}]
    assert copied("Copy the path details.gpus[0].name") == "details.gpus[0].name"
    assert copied("Copy the value of details.seed") == str(SEED)
    assert json.loads(copied("Copy JSON")) == end


def test_a_large_integer_is_exact_in_the_live_tail(lab: Lab, page: Page) -> None:
    """What arrives over the stream is shown and filtered as what the history has."""
    page.goto(f"{lab.url}/battle-log?live=1&has=seed:{SEED}")
    pill(page, "Live")
    lab.post([note(1, details={"seed": SEED - 1}), note(2, details={"seed": SEED})])
    until(page, "document.querySelector('[data-event-id]')")
    page.locator("[data-event-id]").first.click()
    value = page.locator(".json-line", has_text="seed").locator(".json-value")
    value.wait_for()
    assert value.inner_text() == str(SEED)
    assert len(rows(page)) == 1


QUERY = "?range=all&hero=!ada&severity=info&has=tags:cold&q=note&not=n:7"


def test_a_copied_link_shows_the_same_rows(
    story_lab: Lab, page: Page, browser: Browser, copied: Callable[[str], str]
) -> None:
    """In another profile, with nothing newer."""
    page.goto(f"{story_lab.url}/battle-log{QUERY}")
    has_total(page, 29)
    link = copied("Copy link")
    stranger = browser.new_context()
    with watched_page(stranger) as other:
        other.goto(link)
        has_total(other, 29)
        assert rows(other) == rows(page)
        cursors = [one.locator("[data-as-of]").get_attribute("data-as-of") for one in (page, other)]
        assert cursors[0] == cursors[1]
        assert "as of when the link was copied" in other.inner_text(".result-line")
    stranger.close()


def test_a_copied_command_answers_the_same_events(
    story_lab: Lab, page: Page, copied: Callable[[str], str]
) -> None:
    """`curl` and `realm query` are run as they are."""
    page.goto(f"{story_lab.url}/battle-log{QUERY}")
    has_total(page, 29)
    expected = rows(page)
    if shutil.which("curl"):
        answer = run(shlex.split(copied("curl")), story_lab)
        assert [event["id"] for event in json.loads(answer)] == expected
    program, *arguments = shlex.split(copied("realm query"))
    assert program == "realm"
    command = [sys.executable, "-m", "realm_telemetry", *arguments, "--jsonl", "-n", "1000"]
    answer = run(command, story_lab)
    assert [json.loads(line)["id"] for line in answer.splitlines()] == expected


def run(command: list[str], lab: Lab) -> str:
    """The output of a command in the environment of the lab."""
    done = subprocess.run(command, env=environment(lab.home), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
