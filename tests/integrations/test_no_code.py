"""`opentelemetry-instrument` with our exporters by name: all arrives, and nothing is taken over."""

import os
import signal
from pathlib import Path

import pytest

from realm_telemetry.log.sqlite.reader import LogReader
from realm_telemetry.otel.auto.choice import our_exporters
from realm_telemetry.shipper.launch import shipper_environment
from realm_telemetry.shipper.overview import pipeline_directories
from realm_telemetry.shipper.ship_once import ship_once

from .conftest import serving
from .no_code import distribution, instrument

PROGRAM = """
    import logging, sys
    import realm_telemetry as realm
    from opentelemetry._logs import LogRecord, SeverityNumber, get_logger

    logging.basicConfig(level=logging.INFO, stream=sys.stdout)
    realm.checkpoint_saved(step=7, loss=0.5, path="ckpt/7")
    logging.getLogger("lab.train").warning("step %d", 8, extra={"loss": 0.25})
    get_logger("third.party", "2.1").emit(
        LogRecord(
            body="missed", severity_number=SeverityNumber.ERROR,
            attributes={"key": "k1", "sizes": [1, 2]}, event_name="app.Cache-Miss",
        )
    )
"""


def test_events_logging_and_loggers_reach_log_and_service(tmp_path: Path) -> None:
    """With kind metadata, resource and run, through our own shipper, in both views."""
    with serving(tmp_path / "elsewhere") as service:
        run = instrument(
            tmp_path / "home",
            PROGRAM,
            OTEL_LOGS_EXPORTER="realm_service,battle_log",
            OTEL_SERVICE_NAME="trainer",
            OTEL_RESOURCE_ATTRIBUTES="realm.run.id=r42,deployment.environment=lab",
            REALM_SERVICE_URL=service.url,
            REALM_SHIPPER="process",
        )
    assert (run.returncode, run.err) == (0, "")
    events = run.events()
    with LogReader(tmp_path / "elsewhere" / "vault" / "jobs.db") as log:
        assert [row.event.id for row in log.now.after(0, 100)] == [event.id for event in events]
        (producer,) = log.now.producers()
    assert [(e.kind, e.channel, e.severity, e.source) for e in events] == [
        ("checkpoint_saved", "checkpoint", "success", "trainer"),
        ("log_record", "system", "warning", "lab.train"),
        ("app_cache_miss", "system", "error", "third.party"),
    ]
    assert {event.run_id for event in events} == {"r42"}
    assert events[1].details["loss"] == 0.25
    assert events[2].details == {
        "key": "k1",
        "sizes": [1, 2],
        "otel.event_name": "app.Cache-Miss",
        "otel.scope.version": "2.1",
    }
    assert producer.resource["service.name"] == "trainer"
    assert producer.resource["deployment.environment"] == "lab"
    assert producer.resource["telemetry.sdk.language"] == "python"


def test_a_killed_program_loses_nothing(tmp_path: Path) -> None:
    """Neither what it emitted itself nor what other loggers did."""
    program = f"{PROGRAM}\n    import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    run = instrument(tmp_path, program, OTEL_LOGS_EXPORTER="battle_log", REALM_SHIPPER="none")
    assert run.returncode == -signal.SIGKILL
    assert ship_once(pipeline_directories(tmp_path / "spool"), 30)[0].complete
    kinds = [event.kind for event in run.events()]
    assert kinds == ["checkpoint_saved", "log_record", "app_cache_miss", "process_lost"]


def test_basic_config_of_the_program_still_works(tmp_path: Path) -> None:
    """And OpenTelemetry's own console exporter, named beside ours, gets its records."""
    run = instrument(tmp_path, PROGRAM, OTEL_LOGS_EXPORTER="console, battle_log")
    assert "WARNING:lab.train:step 8" in run.out
    assert '"body": "missed"' in run.out
    assert "step 7" not in run.out  # our events are not log records of that provider
    assert len(run.events()) == 3


def test_an_exporter_of_anothers_that_is_missing_does_not_concern_ours(tmp_path: Path) -> None:
    run = instrument(tmp_path, PROGRAM, OTEL_LOGS_EXPORTER="nowhere,battle_log")
    assert "'nowhere' not found" in run.err
    assert [event.kind for event in run.events()] == ["checkpoint_saved"]


@pytest.mark.parametrize(("wanted", "heard"), [("true", 3), ("false", 2)])
def test_logging_is_heard_once_or_not_at_all(wanted: str, heard: int, tmp_path: Path) -> None:
    """By OpenTelemetry's own handler where that is asked for; by nobody where that is."""
    run = instrument(
        tmp_path,
        PROGRAM,
        OTEL_LOGS_EXPORTER="battle_log",
        OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED=wanted,
        PYTHONWARNINGS="ignore",
    )
    events = run.events()
    assert len(events) == heard
    assert [e.message for e in events].count("step 8") == heard - 2


def test_without_a_name_of_ours_nothing_is_set_up(tmp_path: Path) -> None:
    program = """
        import realm_telemetry
        from opentelemetry._logs import get_logger_provider
        print(realm_telemetry.get_telemetry(), type(get_logger_provider()).__name__)
    """
    run = instrument(tmp_path, program, OTEL_LOGS_EXPORTER="console")
    assert run.out == "None ProxyLoggerProvider\n"
    assert not (tmp_path / "spool").exists()


def test_the_distro_by_name_needs_no_exporters(tmp_path: Path) -> None:
    program = "import realm_telemetry as r; print(*r.get_telemetry().settings.exporters)"
    run = instrument(tmp_path, program, OTEL_PYTHON_DISTRO="realm", REALM_SHIPPER="none")
    assert run.out == "battle_log realm_service\n"


def test_a_disabled_sdk_stays_disabled(tmp_path: Path) -> None:
    run = instrument(tmp_path, PROGRAM, OTEL_LOGS_EXPORTER="battle_log", OTEL_SDK_DISABLED="true")
    assert (run.returncode, run.err) == (0, "")
    assert not (tmp_path / "spool").exists()
    assert not (tmp_path / "vault").exists()


def test_the_programs_own_configure_has_its_way(tmp_path: Path) -> None:
    """Its name and its home count, and all events are there; none is left in the first spool."""
    program = f"""
        import realm_telemetry as realm
        from opentelemetry._logs import LogRecord, get_logger
        realm.configure(service_name="mine", home="{tmp_path}/own", resource={{"team": "a"}})
        realm.emit("note", "own")
        get_logger("other").emit(LogRecord(body="foreign"))
        print(*realm.get_telemetry().settings.exporters)
    """
    run = instrument(tmp_path, program, OTEL_LOGS_EXPORTER="battle_log")
    assert (run.returncode, run.err) == (0, "")
    own = run._replace(home=tmp_path / "own")
    assert [event.message for event in own.events()] == ["own", "foreign"]
    assert own.events()[0].source == "mine"
    # What the new producer does not say of itself stays with the record.
    assert "telemetry.sdk.name" in own.events()[1].details["otel.resource"]
    assert run.out == "battle_log\n"
    assert run.events() == []


OTHER = """
    [opentelemetry_distro]
    other_distro = other_distro:Distro
    [opentelemetry_configurator]
    other_distro = other_distro:Configurator
"""
OTHER_SOURCE = """
    import os
    from opentelemetry.instrumentation.distro import BaseDistro
    from opentelemetry.sdk._configuration import _OTelSDKConfigurator
    from opentelemetry.sdk.resources import Resource

    class Distro(BaseDistro):
        def _configure(self, **kwargs):
            print("distro")
            {distro}

    class Configurator(_OTelSDKConfigurator):
        def _configure(self, **kwargs):
            print("configurator", os.environ.get("OTEL_LOGS_EXPORTER"))
            super()._configure(resource_attributes={{"other": "yes"}}, **kwargs)
"""


def other_distro(tmp_path: Path, distro: str = "pass") -> Path:
    return distribution(
        tmp_path / "site", "other_distro", OTHER, OTHER_SOURCE.format(distro=distro)
    )


@pytest.mark.parametrize("asked", [{"OTEL_PYTHON_DISTRO": "other_distro"}, {}])
def test_another_distro_does_its_work_and_ours_is_added(
    asked: dict[str, str], tmp_path: Path
) -> None:
    """Whether it is asked for by name or only installed; it sees no exporter of ours."""
    site = other_distro(tmp_path)
    home = tmp_path / "home"
    run = instrument(home, PROGRAM, site, OTEL_LOGS_EXPORTER="battle_log,console", **asked)
    lines = run.out.splitlines()
    assert "distro" in lines
    configured = [line for line in lines if line.startswith("configurator")]
    # The order of installed distributions decides which configurator OpenTelemetry takes.
    ours_was_taken = configured == ["configurator console"]
    assert ours_was_taken or configured == ["configurator battle_log,console"]
    kinds = [event.kind for event in run.events()]
    assert "app_cache_miss" in kinds
    if ours_was_taken:
        assert kinds == ["checkpoint_saved", "log_record", "app_cache_miss"]


def test_another_distro_without_our_exporters_is_as_if_we_were_not_here(tmp_path: Path) -> None:
    site = other_distro(tmp_path)
    program = """
        import realm_telemetry
        from opentelemetry._logs import get_logger_provider
        print(realm_telemetry.get_telemetry(), get_logger_provider().resource.attributes["other"])
    """
    run = instrument(tmp_path / "home", program, site, OTEL_LOGS_EXPORTER="console")
    assert run.out.splitlines() == ["distro", "configurator console", "None yes"]


def test_a_logger_provider_that_is_set_already_is_left_alone(tmp_path: Path) -> None:
    """Its records go where they went; `emit` and logging still come to us."""
    site = other_distro(
        tmp_path,
        "from opentelemetry._logs import set_logger_provider\n"
        "            from opentelemetry.sdk._logs import LoggerProvider\n"
        "            set_logger_provider(LoggerProvider(Resource({'first': 'yes'})))",
    )
    program = f"""{PROGRAM}
    from opentelemetry._logs import get_logger_provider
    print(dict(get_logger_provider().resource.attributes))
    """
    run = instrument(
        tmp_path / "home",
        program,
        site,
        OTEL_LOGS_EXPORTER="battle_log",
        OTEL_PYTHON_CONFIGURATOR="realm",
    )
    assert "{'first': 'yes'}" in run.out
    assert "a LoggerProvider was set before" in run.err
    assert [event.kind for event in run.events()] == ["checkpoint_saved", "log_record"]


def test_a_shipper_is_not_instrumented_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be a producer of its own pipeline, and never leave."""
    hook = "/x/site-packages/opentelemetry/instrumentation/auto_instrumentation"
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([hook, "/lab", f"{hook}/"]))
    paths = shipper_environment()["PYTHONPATH"].split(os.pathsep)
    assert paths[0] == "/lab"
    assert not any("auto_instrumentation" in path for path in paths)


def test_each_exporter_that_can_be_named_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "no-code.md").read_text()
    (row,) = [line for line in page.splitlines() if line.startswith("| `OTEL_LOGS_EXPORTER` |")]
    assert [name for name in our_exporters() if f"`{name}`" not in row] == []
