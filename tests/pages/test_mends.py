"""What people stumbled over: each of these was wrong once, and is looked at where it was seen."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from .conftest import Lab, note, running_lab
from .run_stories import TRACEBACK, Runs
from .test_looks import AXE
from .watching import axe_findings, has_total, no_sideways_scroll, pill

pytestmark = pytest.mark.browser

OVERRIDE = "\u202e"


@pytest.fixture(scope="module")
def odd_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Ranks that say the same, many workers, a resumed run, and messages with odd characters."""
    with running_lab(tmp_path_factory.mktemp("mends")) as made:
        runs = Runs()
        for rank in range(8):
            if rank != 5:
                runs.add("ranks", "checkpoint_saved", 100 + rank / 10, rank, message="Saved step 9")
            runs.add("ranks", "run_started", 200 - rank / 10, rank)
        runs.training("resumed", 3_000, steps=40)
        runs.ended("resumed", 2_950, "killed", "SIGKILL")
        for step in range(21, 26):
            details = {"step": step, "loss": 3.0, "total_steps": 100}
            runs.add("resumed", "training_step", 60 - step, 1, details=details)
        runs.training("bad", 5_000, steps=20, not_finite_from=12)
        runs.add("bad", "uncaught_exception", 4_900, severity="error",
                 message="Uncaught IndexError",
                 details={"error": "no 4096", "error_type": "IndexError",
                          "traceback": TRACEBACK})  # fmt: skip
        runs.store(made)
        made.post([
            note(1, kind="worker_heartbeat", producer=f"{worker:016x}", message="beat",
                 details={"worker_id": f"w-{worker}", "role": "scout"})
            for worker in range(0x100, 0x100 + 30)
        ])  # fmt: skip
        made.post([note(1, message=f"Run `realm doctor` on {OVERRIDE}exe.txt")])
        made.post([note(2, message="Test note", source="realm.doctor", channel="debug")])
        yield made


def opened(page: Page, lab: Lab, query: str) -> Page:
    """The Battle Log with some events."""
    page.goto(f"{lab.url}/battle-log{query}")
    page.locator("[role=option]").first.wait_for()
    return page


def test_the_same_event_of_all_ranks_is_one_row(odd_lab: Lab, page: Page) -> None:
    """It names the rank that has none, and a click opens the others."""
    opened(page, odd_lab, "?run=ranks&range=all")
    rows = page.locator("[role=option]").all_inner_texts()
    assert len(rows) == 2
    assert "× 7" in rows[0]
    assert "rank 5 missing" in rows[0]
    assert "of 8 ranks" in rows[1]
    page.locator("[data-group=checkpoint_saved]").click()
    page.locator("[data-event-id]").nth(6).wait_for()


def test_heartbeats_of_many_workers_are_one_row(odd_lab: Lab, page: Page) -> None:
    """And in the War Room they are names, as long as all is well with them."""
    opened(page, odd_lab, "?kind=worker_heartbeat&range=all")
    text = page.locator("[data-group=worker_heartbeat]").inner_text()
    assert "× 30" in text
    assert "of 30 processes" in text
    page.goto(odd_lab.url)
    page.locator(".worker-grid li").nth(29).wait_for()
    box = page.locator(".workers").bounding_box()
    assert box is not None
    assert box["height"] < 500


def test_a_folded_row_says_from_which_step_it_was_nan(odd_lab: Lab, page: Page) -> None:
    """It would look healthy otherwise."""
    opened(page, odd_lab, "?run=bad&kind=training_step&range=all")
    assert "NaN from step 12" in page.locator("[data-group]").inner_text()


def test_messages_have_no_backticks_and_turn_no_text(odd_lab: Lab, page: Page) -> None:
    """What turns the direction is a mark."""
    opened(page, odd_lab, "?kind=note&q=exe&range=all")
    page.get_by_text("Run realm doctor on ⟨U+202E⟩exe.txt", exact=True).wait_for()
    assert page.locator(".row.day").count() == 1, "a search has dates too"


def test_details_begin_with_what_a_person_needs(odd_lab: Lab, page: Page) -> None:
    """Message, run and traceback; what only the log needs is last."""
    opened(page, odd_lab, "?kind=uncaught_exception&range=all")
    page.locator("[data-event-id] .row-kind").first.click()
    details = page.get_by_test_id("details")
    details.get_by_test_id("traceback").wait_for()
    text = details.inner_text()
    order = [text.index(part) for part in ("Uncaught IndexError", "bad", "IndexError:", "Producer")]
    assert order == sorted(order)
    details.get_by_role("button", name="Context").click()
    details.get_by_role("button", name="Other runs too").wait_for()
    assert axe_findings(page, AXE) == []
    page.get_by_test_id("search").fill("doctor")
    has_total(page, 1)
    details.wait_for(state="detached")


def test_a_run_that_resumed_is_at_the_step_of_now(odd_lab: Lab, page: Page) -> None:
    """On its page, in the War Room, and in the API."""
    assert odd_lab.client.get("/api/runs/resumed").json()["step"] == 25
    page.goto(f"{odd_lab.url}/runs/resumed")
    page.get_by_test_id("cause").filter(has_text="25 of 100").wait_for()
    page.goto(odd_lab.url)
    page.locator(".progress").filter(has_text="resumed").filter(has_text="step 25 of").wait_for()
    page.locator("[data-testid=loss-graph] canvas").wait_for()
    assert "Test note" not in page.locator("realm-graph-panel").inner_text()


@pytest.mark.parametrize("width", [820, 720])
def test_a_message_has_room_on_a_narrow_window(odd_lab: Lab, browser: Browser, width: int) -> None:
    """A tablet, and a laptop at 200 %."""
    page = browser.new_page(viewport={"width": width, "height": 700})
    opened(page, odd_lab, "?kind=uncaught_exception&range=all")
    box = page.locator("[data-event-id] .row-message").first.bounding_box()
    assert box is not None
    assert box["width"] > width * 0.7
    assert no_sideways_scroll(page)
    page.close()


def test_controls_say_their_state(odd_lab: Lab, page: Page) -> None:
    """The zone is named, and channels without events say zero."""
    opened(page, odd_lab, "?range=all")
    zone = page.get_by_test_id("zone")
    assert zone.inner_text().startswith("Local (")
    assert "( " not in zone.inner_text()
    vault = page.get_by_test_id("channel-vault")
    vault.filter(has_text="0").wait_for()
    assert "none" in (vault.get_attribute("class") or "")
    assert page.locator("[data-testid^=channel-]").count() == 9


def test_words_are_plain_outside_a_guild_and_have_their_meaning(odd_lab: Lab, page: Page) -> None:
    """A hero is a model here; the words are listed for those without a pointer."""
    opened(page, odd_lab, "?range=all")
    page.get_by_role("button", name="More filters").click()
    page.locator(".more-filters").get_by_text("Model", exact=True).wait_for()
    hint = page.locator(".more-filters .term").filter(has_text="Rank").get_attribute("title")
    assert hint == "The number of a process among those of its run, from 0."
    page.get_by_role("button", name="Keys and words").click()
    page.locator("dialog[open]").get_by_text("One start of all processes").wait_for()
    assert axe_findings(page, AXE) == []


def test_new_events_are_readable_and_print_has_no_buttons(odd_lab: Lab, page: Page) -> None:
    """The pill was white on white; paper needs nothing to click."""
    opened(page, odd_lab, "?kind=note&range=all")
    pill(page, "Live")
    odd_lab.post([note(3)])
    found = page.get_by_test_id("new-pill")
    found.wait_for()
    colours = found.evaluate(
        "it => [getComputedStyle(it).color, getComputedStyle(it).backgroundColor]"
    )
    assert colours[0] != colours[1]
    assert axe_findings(page, AXE) == []
    page.emulate_media(media="print")
    assert not page.get_by_test_id("live-tail").is_visible()
    assert page.locator("[data-event-id]").first.is_visible()


def test_an_empty_log_says_how_to_fill_it_and_shows_the_first_event(lab: Lab, page: Page) -> None:
    """With the address of this very service; and it comes back after the service was away."""
    page.goto(lab.url)
    page.locator(".feed").filter(has_text=f"REALM_SERVICE_URL={lab.url}").wait_for()
    assert axe_findings(page, AXE) == []
    page.goto(f"{lab.url}/battle-log")
    page.get_by_test_id("empty-log").filter(has_text=lab.url).wait_for()
    assert axe_findings(page, AXE) == []
    pill(page, "Live")
    lab.notes(1, 1)
    page.locator("[data-event-id]").first.wait_for()
    lab.kill()
    pill(page, "Reconnecting")
    page.get_by_test_id("search").fill("note")
    page.get_by_role("alert").filter(has_text="does not answer").wait_for()
    lab.start()
    page.locator("[data-event-id]").first.wait_for()
