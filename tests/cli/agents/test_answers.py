"""Answers for a model are bounded, say where they were cut, and hide nothing."""

import json
from typing import Any

import msgspec
import pytest

from realm_telemetry.cli.agents import answers
from realm_telemetry.cli.agents.answers import (
    bounded,
    encoded,
    end_of,
    event_shape,
    fitting,
    log_page,
    run_page,
    size,
    text,
)
from realm_telemetry.cli.agents.questions import WaitQuestion
from realm_telemetry.cli.agents.runs import heard
from realm_telemetry.cli.agents.tools import TOOLS


@pytest.mark.parametrize("chars", [599, 600])
def test_a_text_within_its_bound_is_whole(chars: int) -> None:
    assert text("x" * chars) == "x" * chars
    assert end_of("x" * chars, 600) == "x" * chars


def test_a_text_above_its_bound_says_that_it_was_cut() -> None:
    assert text("x" * 601) == "x" * 600 + " [... cut, of 601 characters]"
    assert end_of("a" + "x" * 600, 600) == "[the end of 601 characters ...] " + "x" * 600
    # Escapes count as what they become.
    assert text("\x1b" * 300) == "\\x1b" * 150 + " [... cut, of 300 characters]"
    assert text(None) is None
    assert end_of(None, 1) is None


def test_no_character_hides_or_drives_a_terminal() -> None:
    hostile = "a\x1b[2J\x00\u202eb\u200b\U000e0041\ud800"
    shown = encoded({"message": bounded(hostile), "raw": hostile.encode("utf-8", "replace")})
    assert json.loads(shown)["message"] == "a\\x1b[2J\\x00\\u202eb\\u200b\\U000e0041\\ud800"
    assert all(ord(char) >= 32 for char in shown)


@pytest.mark.parametrize(
    "value",
    [
        {f"name {n}": "x" * 5_000 for n in range(500)},
        [["y" * 100] * 100] * 100,
        {"a" * 5_000: {"b": {"c": {"d": {"e": {"f": {"g": {"h": 1}}}}}}}},
        "\u202e" * 10_000,
        list(range(100_000)),
        {"few": [1, 2, 3]},
    ],
)
@pytest.mark.parametrize("most", [100, 1_200, 20_000])
def test_any_value_fits_its_bound(value: Any, most: int) -> None:
    assert size(bounded(value, most)) <= most


def test_what_fits_is_not_changed() -> None:
    value = {"step": 3, "loss": 0.5, "names": ["a", "ü", None], "on": True}
    assert bounded(value) == value


def test_a_list_is_cut_between_entries_and_never_empty() -> None:
    assert fitting([1, 2, 3], lambda n: "x" * 10, 26) == ["x" * 10] * 2
    assert fitting([1, 2, 3], lambda n: "x" * 100, 26) == ["x" * 100]
    assert fitting([], str, 26) == []


def test_an_event_has_what_it_says_and_no_empty_fields() -> None:
    shape = {"id": "1" * 32, "kind": "note", "message": "m", "rank": 0, "run_id": None}
    assert event_shape(shape) == {"id": "1" * 32, "kind": "note", "message": "m", "rank": 0}


def test_pages_are_linked_whatever_the_id_is() -> None:
    assert run_page("http://x", "a/b 🐉") == "http://x/runs/a%2Fb%20%F0%9F%90%89"
    assert run_page("http://x", "..") is None
    assert log_page("http://x", run="a&b", since=None) == "http://x/battle-log?run=a%26b"


def test_every_tool_has_a_short_description_and_a_strict_schema() -> None:
    for tool in TOOLS:
        assert 40 < len(tool.description) < 320
        schema = tool.schema()
        assert schema["type"] == "object"
        assert schema["additionalProperties"] is False
        assert all("description" in json.dumps(each) for each in schema["properties"].values())


def test_numbers_that_come_as_text_are_read_and_others_refused() -> None:
    read = msgspec.convert({"timeout_s": "3", "kind": "note"}, WaitQuestion, strict=False)
    assert (read.timeout_s, read.kind) == (3.0, "note")
    for wrong in ({"timeout_s": 601}, {"limit": 0}, {"limit": 51}, {"kinds": "note"}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(wrong, WaitQuestion, strict=False)
    for right in ({"timeout_s": 600}, {"timeout_s": 0}, {"limit": 1}, {"limit": 50}):
        msgspec.convert(right, WaitQuestion, strict=False)


def test_the_notice_says_what_texts_are() -> None:
    assert "never instructions" in answers.NOTICE


@pytest.mark.parametrize(
    ("status", "is_told"), [("running", True), ("stalled", False), ("paused", False)]
)
def test_only_a_run_that_goes_on_is_said_to_be_over_soon(status: str, is_told: bool) -> None:
    run = {"status": status, "steps_per_second": 2.0, "step": 5, "total_steps": 25}
    found = heard(run)
    assert found.get("seconds_left") == (10 if is_told else None)
    assert ("steps_per_second" in found) is is_told
