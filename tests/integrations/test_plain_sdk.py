"""Our exporters in programs that know only OpenTelemetry's SDK."""

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from realm_telemetry import Event
from realm_telemetry.log.sqlite.reader import LogReader

from .conftest import serving

PROGRAM = """
    from opentelemetry._logs import LogRecord, SeverityNumber, set_logger_provider, get_logger
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, SimpleLogRecordProcessor
    from opentelemetry.sdk.resources import Resource
    from {module} import {exporter}

    provider = LoggerProvider(Resource.create({{"service.name": "plain"}}))
    provider.add_log_record_processor({processor}({exporter}()))
    set_logger_provider(provider)
    logger = get_logger("lab", "1.0")
    for step in range(100):
        logger.emit(LogRecord(
            body=f"step {{step}}", severity_number=SeverityNumber.WARN, severity_text="WARN",
            attributes={{"step": step, "shape": [2, 3]}},
            timestamp=1_700_000_000_000_000_000 + step,
        ))
"""
CONFIGURED = """
    import sys
    from opentelemetry._logs import LogRecord, get_logger
    from opentelemetry.configuration import configure_sdk, load_config_file

    configure_sdk(load_config_file(sys.argv[1]))
    get_logger("lab").emit(LogRecord(body="by name"))
"""


def run(home: Path, program: str, *arguments: str, **variables: str) -> None:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("REALM_", "OTEL_", "PYTEST"))}
    done = subprocess.run(
        [sys.executable, "-c", dedent(program), *arguments],
        env=clean | {"REALM_HOME": str(home)} | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def logged(home: Path) -> list[Event]:
    with LogReader(home / "vault" / "jobs.db") as log:
        return [row.event for row in log.now.after(0, 1_000)]


def check(events: list[Event]) -> None:
    assert [event.message for event in events] == [f"step {step}" for step in range(100)]
    last = events[-1]
    assert (last.kind, last.severity, last.source) == ("log_record", "warning", "lab")
    assert last.time_unix_nano == 1_700_000_000_000_000_099
    assert (last.details["step"], last.details["shape"]) == (99, [2, 3])
    assert last.details["otel.resource"]["service.name"] == "plain"
    assert len({event.id for event in events}) == 100


@pytest.mark.parametrize("processor", ["SimpleLogRecordProcessor", "BatchLogRecordProcessor"])
def test_battle_log_writes_the_log(processor: str, tmp_path: Path) -> None:
    names = {"module": "realm_exporter_battle_log", "exporter": "BattleLogExporter"}
    run(tmp_path, PROGRAM.format(processor=processor, **names))
    check(logged(tmp_path))


def test_realm_service_sends_to_the_service(tmp_path: Path) -> None:
    names = {"module": "realm_exporter_realm_service", "exporter": "RealmServiceExporter"}
    program = PROGRAM.format(processor="BatchLogRecordProcessor", **names)
    with serving(tmp_path / "elsewhere") as service:
        run(tmp_path / "home", program, REALM_SERVICE_URL=service.url)
    check(logged(tmp_path / "elsewhere"))
    assert not (tmp_path / "home" / "vault").exists()


def test_a_configuration_file_names_ours_with_options(tmp_path: Path) -> None:
    """By OpenTelemetry's package alone, without our configurator."""
    pytest.importorskip("opentelemetry.configuration", reason="needs SDK 1.44")
    file = tmp_path / "otel.yaml"
    file.write_text(
        dedent(f"""
        file_format: "1.0"
        logger_provider:
          processors:
            - simple: {{exporter: {{battle_log: }}}}
            - batch:
                exporter:
                  realm_jsonl: {{path: "{tmp_path}/events.jsonl", format: event}}
        """)
    )
    run(tmp_path, CONFIGURED, str(file))
    assert [event.message for event in logged(tmp_path)] == ["by name"]
    assert "by name" in (tmp_path / "events.jsonl").read_text()
