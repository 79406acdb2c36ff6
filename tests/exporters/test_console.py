"""The console exporter and its line: readable, coloured where wanted, safe for a terminal."""

import io
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from realm_exporter_console import ConsoleExporter

from realm_telemetry.errors import ConfigError
from realm_telemetry.event import Event
from realm_telemetry.kinds.line import format_line, printable, wants_colour
from realm_telemetry.plugins import ExporterContext

EVENT = Event(
    "checkpoint_saved",
    "checkpoint",
    "success",
    "Checkpoint 7 saved",
    {"step": 7},
    1_764_374_400_000_000_000,
    "ab" * 8,
    1,
    hero_id="dio",
)


def make(home: Path, **options: Any) -> ConsoleExporter:
    context = ExporterContext(home=home, log_path=home / "vault" / "jobs.db", options=options)
    return ConsoleExporter(context=context)


def test_a_line_has_time_icons_kind_message_and_hero() -> None:
    line = format_line(EVENT, colour=False)
    assert line[2] == line[5] == ":"
    assert line[8:] == " 💾 ✅ checkpoint_saved     Checkpoint 7 saved  hero=dio"


def test_colours_only_surround_the_same_text() -> None:
    coloured = format_line(EVENT, colour=True)
    assert "\x1b[32mCheckpoint 7 saved\x1b[0m" in coloured
    for code in ("\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[32m"):
        coloured = coloured.replace(code, "")
    assert coloured == format_line(EVENT, colour=False)


def test_details_follow_when_asked_for() -> None:
    assert format_line(EVENT, colour=False, details=True).endswith('hero=dio {"step":7}')


def test_control_characters_are_escaped() -> None:
    assert printable("a\nb\x1b]0;title\x07\x9b31m\u202e\u2028") == (
        "a\\nb\\x1b]0;title\\x07\\x9b31m\\u202e\\u2028"
    )
    assert printable("日本 🏰 é") == "日本 🏰 é"


@given(st.text(), st.text(), st.text(), st.text())
def test_no_text_of_an_event_reaches_the_terminal_as_a_control(
    kind: str, message: str, hero: str, key: str
) -> None:
    event = msgspec.structs.replace(
        EVENT, kind=kind, message=message, hero_id=hero, details={key: message}
    )
    line = format_line(event, colour=False, details=True)
    assert not [each for each in line if ord(each) < 32 or 127 <= ord(each) < 160]
    line.encode()


@pytest.mark.parametrize("time_unix_nano", [-(2**63), 0, 2**63 - 1])
def test_any_time_can_be_shown(time_unix_nano: int) -> None:
    assert format_line(msgspec.structs.replace(EVENT, time_unix_nano=time_unix_nano), colour=False)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environ", "wanted"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"NO_COLOR": ""}, True),
        (Terminal(), {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {}, False),
        (io.StringIO(), {"FORCE_COLOR": "1"}, True),
        (io.StringIO(), {"FORCE_COLOR": "0"}, False),
    ],
)
def test_colour_is_for_terminals_unless_the_environment_says_otherwise(
    stream: io.StringIO, environ: dict[str, str], wanted: bool
) -> None:
    assert wants_colour(stream, environ) is wanted


def test_events_are_printed_a_line_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    second = msgspec.structs.replace(EVENT, number=2)
    make(tmp_path, colour="never").export_events([EVENT, second])
    assert capsys.readouterr().out.count("Checkpoint 7 saved") == 2


def test_a_resent_batch_is_not_printed_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exporter = make(tmp_path)
    exporter.export_events([EVENT])
    exporter.export_events([EVENT])
    assert capsys.readouterr().out.count("Checkpoint 7 saved") == 1


def test_lines_go_to_a_file_or_standard_error_when_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exporter = make(tmp_path, path=str(tmp_path / "tty"), colour="always")
    exporter.export_events([EVENT])
    exporter.shutdown()
    assert "\x1b[32m" in (tmp_path / "tty").read_text()
    make(tmp_path, stream="stderr").export_events([EVENT])
    assert "Checkpoint 7 saved" in capsys.readouterr().err


def test_a_terminal_that_cannot_show_icons_gets_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "ascii"))
    make(tmp_path).export_events([EVENT])
    assert b"? ? checkpoint_saved" in raw.getvalue()


def test_a_closed_terminal_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    pipe = io.TextIOWrapper(io.FileIO(write_end, "w"), "utf-8", write_through=True)
    monkeypatch.setattr(sys, "stdout", pipe)
    exporter = make(tmp_path)
    exporter.export_events([EVENT])
    exporter.shutdown()
    monkeypatch.undo()
    pipe.close()


@pytest.mark.parametrize("options", [{"stream": "printer"}, {"colour": "pink"}])
def test_an_unknown_choice_is_refused(tmp_path: Path, options: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="Use one of"):
        make(tmp_path, **options)
