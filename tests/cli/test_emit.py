"""`realm emit`: an event by way of spool and shipper."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st

from realm_telemetry.cli.emit import parse_value, parse_words
from realm_telemetry.errors import LogError
from realm_telemetry.log import LogReader, LogRow

from .conftest import run_realm

Invoke = Callable[..., Result]


def wait_for_row(home: Path, event_id: str, timeout_s: float) -> LogRow:
    deadline_s = time.monotonic() + timeout_s
    while True:
        try:
            with LogReader(home / "vault" / "jobs.db") as reader:
                row = reader.now.get(event_id)
                if row is not None:
                    return row
        except LogError:
            pass
        assert time.monotonic() < deadline_s, "the event did not arrive"
        time.sleep(0.02)


def test_an_event_reaches_the_log_through_spool_and_shipper(home: Path) -> None:
    result = run_realm("emit", "checkpoint_saved", "step=183000", "loss=0.234", "path=ckpt/1")
    assert result.returncode == 0
    row = wait_for_row(home, result.stdout.strip(), 60.0)
    assert row.event.message == "Checkpoint 183,000 saved (loss: 0.2340)"
    assert row.event.details == {"step": 183000, "loss": 0.234, "path": "ckpt/1"}
    assert row.event.source is None or isinstance(row.event.source, str)


def test_with_wait_the_event_is_in_the_log_when_the_command_ends(home: Path) -> None:
    result = run_realm(
        "emit", "note", "Changed", "the", "cooling", "--wait", "--timeout", "60", "--json"
    )
    assert result.returncode == 0, result.stderr
    shape = json.loads(result.stdout)
    assert shape["message"] == "Changed the cooling"
    with LogReader(home / "vault" / "jobs.db") as reader:
        assert reader.now.get(shape["id"]) is not None


def test_an_event_that_is_not_delivered_in_time_is_reported_with_the_reason(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REALM_SHIPPER", "none")
    result = run_realm("emit", "note", "x", "--wait", "--timeout", "0.1")
    assert result.returncode == 1
    assert "not delivered within 0.1 s: 1 of 1 events are in the spool" in result.stderr
    assert len(result.stdout.strip()) == 32, "it is safe all the same"


def test_options_and_words_set_the_fields_of_the_event(home: Path) -> None:
    result = run_realm(
        *("emit", "note", "hero_id=dio", "severity=warning", "kind=detail", "message=Careful"),
        *("--channel", "guild", "--campaign", "c1", "--source", "hand", "--json"),
    )
    shape = json.loads(result.stdout)
    fields = ("hero_id", "campaign_id", "channel", "severity", "source", "message")
    expected = ["dio", "c1", "guild", "warning", "hand", "Careful"]
    assert [shape[name] for name in fields] == expected
    assert shape["details"] == {"kind": "detail"}
    wait_for_row(home, shape["id"], 10.0)


def test_an_unknown_kind_is_taken_and_a_misspelt_one_remarked_on(home: Path) -> None:
    result = run_realm("emit", "checkpont_saved", "--wait")
    assert result.returncode == 0
    assert "did you mean checkpoint_saved?" in result.stderr
    assert "did you mean" not in run_realm("emit", "dragon_slain", "--wait").stderr


@pytest.mark.parametrize(
    "words", [("",), ("step=1",), ("note", "severity=loud"), ("note", "--channel", "x")]
)
def test_a_mistake_is_refused_before_anything_is_emitted(
    words: tuple[str, ...], home: Path, invoke: Invoke
) -> None:
    assert invoke("emit", *words).exit_code == 2
    assert not (home / "spool").exists()


def test_a_disabled_sdk_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    result = run_realm("emit", "note", "x")
    assert result.returncode == 1
    assert result.stdout == ""
    assert "OTEL_SDK_DISABLED" in result.stderr


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("1e-3", 0.001),
        ("true", True),
        ("null", None),
        ('["lr", 2]', ["lr", 2]),
        ('"7"', "7"),
        ("007", "007"),
        ("NaN", "NaN"),
        ("", ""),
        ("a b", "a b"),
        ("\udcff", "\udcff"),
    ],
)
def test_a_value_is_json_where_it_parses_and_text_otherwise(text: str, value: object) -> None:
    assert parse_value(text) == value


@given(st.dictionaries(st.text("abcxyz_.", min_size=1), st.text()))
def test_json_text_always_comes_back_as_the_text(details: dict[str, str]) -> None:
    words = tuple(f"{name}={json.dumps(value)}" for name, value in details.items())
    assert parse_words(words) == (details, {})


def test_arguments_that_are_not_utf_8_are_mended(home: Path) -> None:
    words = [os.fsdecode(b"note"), os.fsdecode(b"J\xf6rg"), os.fsdecode(b"who=J\xf6rg"), "loss=NaN"]
    result = run_realm("emit", *words, "--wait", "--json")
    assert result.returncode == 0, result.stderr
    shape = json.loads(result.stdout)
    assert (shape["message"], shape["details"]) == (
        "J\ufffdrg",
        {"who": "J\ufffdrg", "loss": "NaN"},
    )
    assert run_realm("query", "--run", os.fsdecode(b"J\xf6rg")).returncode == 0


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 5_000, "{} x", ""])
def test_a_value_that_is_no_json_is_text(text: str) -> None:
    assert parse_value(text) == text


def test_a_note_about_a_run_changes_nothing_of_it(home: Path) -> None:
    run_realm("run", "--run-id", "r 7", "--", "true")
    before = json.loads(run_realm("show", "r 7", "--json", "--log").stdout)
    noted = run_realm("emit", "note", "seen", "--run", "r 7", "--wait", "--json")
    assert json.loads(noted.stdout)["run_id"] == "r 7"
    after = json.loads(run_realm("show", "r 7", "--json", "--log").stdout)
    names = ("status", "ended_at", "duration_s", "processes", "command")
    assert {name: after[name] for name in names} == {name: before[name] for name in names}
    assert "seen" in run_realm("query", "--run", "r 7", "--kind", "note").stdout
    empty = run_realm("emit", "note", "x", "--run", " ")
    assert (empty.returncode, "run_id" in empty.stderr) == (2, True)


def test_a_run_that_is_new_is_remarked_with_those_that_are_near(home: Path) -> None:
    run_realm("run", "--run-id", "train-7", "--", "true")
    mistyped = run_realm("emit", "note", "seen", "--run", "trian-7")
    assert (mistyped.returncode, len(mistyped.stdout.strip())) == (0, 32)
    assert "no event was of this run before. Did you mean train-7?" in mistyped.stderr
    again = run_realm("emit", "note", "seen", "--run", "train-7", "--wait")
    assert "before" not in again.stderr
