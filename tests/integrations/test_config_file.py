"""A configuration file of OpenTelemetry's that names exporters of ours."""

import importlib.util
import json
import os
from pathlib import Path
from textwrap import dedent

import pytest

from realm_telemetry.errors import ConfigError
from realm_telemetry.otel.auto.choice import chosen
from realm_telemetry.otel.auto.config_file import file_resource, read_file

from .no_code import instrument

FILE = """
    # As in OpenTelemetry's documentation, with exporters of ours among others.
    file_format: "1.0"
    resource:
      attributes:
        - name: service.name
          value: ${SERVICE:-from-the-file}
        - name: realm.run.id
          value: r42
      attributes_list: realm.run.id=other,deployment.environment=lab%20one
    logger_provider:
      processors:
        - batch:
            exporter:
              battle_log:
        - simple:
            exporter:
              realm_jsonl:
                path: ${OUT}/events.jsonl
                format: event
        - simple:
            exporter:
              console:
"""
PROGRAM = """
    import logging
    import realm_telemetry as realm
    from opentelemetry._logs import LogRecord, get_logger

    realm.emit("note", "own")
    logging.getLogger("lab").warning("logged")
    get_logger("other").emit(LogRecord(body="foreign"))
"""


def write(directory: Path, text: str = FILE) -> Path:
    path = directory / "otel.yaml"
    path.write_text(dedent(text))
    return path


def without_their_package(site: Path) -> Path:
    """A directory in which `opentelemetry.configuration` cannot be imported."""
    package = site / "opentelemetry" / "configuration"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('as if it were not installed')")
    return site


@pytest.mark.parametrize("variable", ["OTEL_CONFIG_FILE", "OTEL_EXPERIMENTAL_CONFIG_FILE"])
@pytest.mark.parametrize("theirs", [True, False])
def test_the_file_is_in_force(variable: str, theirs: bool, tmp_path: Path) -> None:
    """Ours through our spool, whichever processor the file says; the rest by their package."""
    if theirs and importlib.util.find_spec("opentelemetry.configuration") is None:
        pytest.skip("opentelemetry-configuration needs SDK 1.44")
    site = () if theirs else (without_their_package(tmp_path / "site"),)
    run = instrument(
        tmp_path / "home",
        PROGRAM,
        *site,
        **{variable: str(write(tmp_path)), "OUT": str(tmp_path)},
        OTEL_LOGS_EXPORTER="otlp",  # the file alone counts
    )
    assert run.returncode == 0, run.err
    events = run.events()
    assert [event.message for event in events] == ["own", "logged", "foreign"]
    assert events[0].source == "from-the-file"
    assert {event.run_id for event in events} == {"r42"}
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    assert len(lines) == 3
    for line, event in zip(lines, events, strict=True):
        assert json.loads(line)["id"] == event.id
    assert ('"body": "foreign"' in run.out) == theirs
    assert ("pip install opentelemetry-configuration" in run.err) == (not theirs)


def test_a_file_without_ours_sets_nothing_of_ours_up(tmp_path: Path) -> None:
    text = FILE.replace("battle_log:", "console:").replace("realm_jsonl:", "otlp_file:")
    path = write(tmp_path, text)
    assert chosen({"OTEL_CONFIG_FILE": str(path)}).exporters == []


def test_the_choice_has_our_shippers_names_and_options(tmp_path: Path) -> None:
    choice = chosen({"OTEL_CONFIG_FILE": str(write(tmp_path)), "OUT": "/o"})
    assert choice.exporters == ["battle_log", "jsonl"]
    assert choice.options == {"jsonl": {"path": "/o/events.jsonl", "format": "event"}}


def test_variables_are_filled_in_as_the_specification_says(tmp_path: Path) -> None:
    """Quoted or not, with a default, escaped, and with a type of their own."""
    path = write(
        tmp_path,
        """
        plain: ${A}
        named: ${env:A}
        default: ${MISSING:-fall back}
        empty: ${MISSING}
        escaped: $${A}
        number: ${N}
        quoted: "${N}"
        inside: a${A}b
        """,
    )
    assert read_file(str(path), {"A": "x", "N": "7"}) == {
        "plain": "x",
        "named": "x",
        "default": "fall back",
        "empty": None,
        "escaped": "${A}",
        "number": 7,
        "quoted": "7",
        "inside": "axb",
    }


def test_named_attributes_win_over_the_list(tmp_path: Path) -> None:
    config = read_file(str(write(tmp_path)), {"OUT": "x"})
    assert file_resource(config) == {
        "realm.run.id": "r42",
        "deployment.environment": "lab one",
        "service.name": "from-the-file",
    }


def test_a_disabled_file_names_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, f"{dedent(FILE)}\ndisabled: true\n")
    assert chosen({"OTEL_CONFIG_FILE": str(path)}).exporters == []


@pytest.mark.parametrize("text", ["a: [", "- 1", "", "logger_provider: 7", "\x00"])
def test_a_broken_file_is_an_error_or_names_nothing(text: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    try:
        assert chosen({"OTEL_CONFIG_FILE": str(path)}).exporters == []
    except ConfigError as error:
        assert str(path) in str(error)  # noqa: PT017 - either answer is right


def test_a_file_that_is_not_there_says_so_and_the_program_runs(tmp_path: Path) -> None:
    run = instrument(
        tmp_path / "home", "print('runs')", OTEL_CONFIG_FILE=str(tmp_path / "none.yaml")
    )
    assert (run.returncode, run.out) == (0, "runs\n")
    assert "none.yaml: it cannot be read" in run.err
    assert not os.path.exists(tmp_path / "home" / "spool")  # noqa: PTH110


def test_a_value_that_is_filled_in_is_never_read_as_yaml(tmp_path: Path) -> None:
    """A password may hold any character, and none of them may begin another key."""
    values = {"A": "a: b", "B": "x #y", "C": "q\nlogger_provider: {}", "D": "[1", "N": "7"}
    text = """
        a: ${A}
        b: &b ${B}
        again: *b
        c: ${C}
        d: "${D}"
        number: ${N}
        text: "${N}"
        joined: n${N}
        escaped: &e $${N}
        escaped_again: *e
        missing: ${M}
        ${N}: key
    """
    assert read_file(str(write(tmp_path, text)), values) == {
        "a": "a: b",
        "b": "x #y",
        "again": "x #y",
        "c": "q\nlogger_provider: {}",
        "d": "[1",
        "number": 7,
        "text": "7",
        "joined": "n7",
        "escaped": "${N}",
        "escaped_again": "${N}",
        "missing": None,
        "${N}": "key",
    }


def test_what_is_in_a_broken_file_is_not_shown(tmp_path: Path) -> None:
    path = write(tmp_path, "a: 1\nheaders: [secret-token\nb: }")
    with pytest.raises(ConfigError, match="line 3") as caught:
        read_file(str(path), {})
    assert "secret" not in str(caught.value)
