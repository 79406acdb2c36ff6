"""Four ways to begin, each in a clean environment: from the install to a curve on the screen.

A minute each, on a machine with two cores that has nothing else to do; beside other work the time
is not judged. `-s` prints what each took: seconds, and of a processor; the service is not counted.
"""

import json
import os
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.waiting import wait_until

from .conftest import ROOT

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
LIMIT_S = 60.0
STEPS = 30
AT_REST = 1.5
"""The load of a machine that has nothing else to do; what went before still counts a little."""

ANY_PORTS = ("--port", "0", "--battle-log-port", "0", "--ui-port", "0")

pytestmark = [pytest.mark.long, pytest.mark.alone, pytest.mark.processes, pytest.mark.timeout(600)]

PLAIN_LOOP = f"""
import realm_telemetry as realm
for step in range({STEPS}):
    realm.log({{"loss": 1 / (step + 1), "my_score": step / 10}}, step=step)
"""
"""Names no service and no home; `realm.log` configures."""

UNKNOWING = f"""
import time
weights = []
for step in range({STEPS}):
    weights.append(bytearray(1_000_000))
    print(f"step {{step}} loss {{1 / (step + 1):.3f}}", flush=True)
    time.sleep(0.5)
"""
"""Has never heard of us; its curve is that of its memory, which is sampled every ten seconds."""

BATCH = """
set -e
export REALM_RUN_ID=batch-7
python train.py
realm ship --once --timeout 60
"""
"""A job of a scheduler, which leaves nothing running behind it."""

OPENTELEMETRY = f"""
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

provider = LoggerProvider()
provider.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
logger = provider.get_logger("my.training")
for step in range({STEPS}):
    values = {{"step": step, "loss": 1 / (step + 1), "my_score": step / 10}}
    logger.emit(
        LogRecord(
            event_name="training_step",
            severity_number=SeverityNumber.INFO,
            attributes=values,
        )
    )
provider.shutdown()
"""
"""Sets nothing in code; the endpoint is a variable."""


def processor_s() -> float:
    """What the programs that have ended took."""
    times = os.times()
    return times.children_user + times.children_system


class Lane:
    """A new environment with the wheel in it, a home of its own, and its time since it began."""

    def __init__(self, directory: Path, wheel: Path) -> None:
        self._began_s, self._began_cpu_s = time.monotonic(), processor_s()
        self.is_alone = os.getloadavg()[0] < AT_REST
        self.directory = directory
        self.bin = directory / "venv" / "bin"
        self.environment = {
            "PATH": f"{self.bin}:/usr/bin:/bin",
            "HOME": str(directory),
            "REALM_HOME": str(directory / "home"),
            **{name: value for name, value in os.environ.items() if name.startswith("PIP_")},
        }
        venv.create(directory / "venv", with_pip=True)
        self.pip(f"{wheel}[service]")
        self.installed_s, self.installed_cpu_s = self.passed_s, self.cpu_s

    @property
    def passed_s(self) -> float:
        return time.monotonic() - self._began_s

    @property
    def cpu_s(self) -> float:
        return processor_s() - self._began_cpu_s

    def pip(self, *packages: str) -> None:
        self.run("python", "-m", "pip", "install", "--quiet", *packages)

    def run(self, *command: str, **variables: str) -> str:
        done = subprocess.run(
            command,
            cwd=self.directory,
            env=self.environment | variables,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def script(self, text: str, name: str = "train.py") -> str:
        (self.directory / name).write_text(text)
        return name


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as a user installs it; who releases builds it, so it takes none of the minute."""
    directory = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(directory)]
    subprocess.run([*build, str(ROOT)], check=True)
    return next(directory.glob("*.whl"))


@contextmanager
def lane(directory: Path, wheel: Path, **variables: str) -> Iterator[tuple[Lane, str]]:
    """A lane whose service is up; its address."""
    made = Lane(directory, wheel)
    made.environment |= variables
    up = json.loads(made.run("realm", "up", "--json", "--", *ANY_PORTS))
    try:
        yield made, up["url"]
    finally:
        made.run("realm", "down")


def curve(url: str, field: str, **run: str) -> list[Any]:
    """The points of a number among the events of a run, or of a producer without one."""
    place = f"{url}/api/battle_log/series"
    answer = httpx.get(place, params={"fields": field, **run}, timeout=60).json()
    return [point for point in answer["points"] if point[3] is not None]


def newest_run(url: str) -> str:
    def found() -> list[Mapping[str, Any]]:
        runs: list[Mapping[str, Any]] = httpx.get(f"{url}/api/runs", timeout=60).json()["runs"]
        return runs

    wait_until(lambda: bool(found()))
    return str(found()[0]["run_id"])


def on_the_screen(url: str, run: str, selector: str) -> None:
    """Wait until the page of a run shows something, in a real browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        page.goto(f"{url}/runs/{quote(run, safe='')}")
        page.locator(selector).first.wait_for(timeout=60_000)
        browser.close()


def report(name: str, made: Lane) -> None:
    installed = f"installed after {made.installed_s:.0f} s ({made.installed_cpu_s:.1f} s of CPU)"
    seen = f"seen after {made.passed_s:.0f} s ({made.cpu_s:.1f} s of CPU)"
    print(f"\n{name}: {installed}, {seen}")
    assert made.passed_s < LIMIT_S or not made.is_alone


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt install chromium")
def test_a_plain_loop(wheel: Path, tmp_path: Path) -> None:
    """Its loss, and a number that is its own, are drawn."""
    with lane(tmp_path, wheel) as (made, url):
        made.run("python", made.script(PLAIN_LOOP))
        run = newest_run(url)
        wait_until(lambda: len(curve(url, "my_score", run=run)) == STEPS)
        on_the_screen(url, run, "[data-metric=loss] canvas")
        report("a plain loop", made)


def test_realm_run_on_a_script_that_knows_nothing(wheel: Path, tmp_path: Path) -> None:
    """The curve is of its memory, which the shipper samples; its output is kept."""
    with lane(tmp_path, wheel) as (made, url):
        made.run("realm", "run", "--run-id", "r1", "--", "python", made.script(UNKNOWING))
        wait_until(lambda: bool(curve(url, "rss_bytes", run="r1")))
        output = httpx.get(f"{url}/api/runs/r1/output", timeout=60).text
        assert f"step {STEPS - 1} loss" in output
        report("realm run", made)


def test_a_batch_job_with_a_shared_home(wheel: Path, tmp_path: Path) -> None:
    """The job leaves nothing behind: `realm ship --once` at its end has all in the log."""
    with lane(tmp_path, wheel) as (made, url):
        made.script(PLAIN_LOOP)
        made.run("bash", made.script(BATCH, "job.sh"), SLURM_JOB_ID="7", REALM_SHIPPER="none")
        wait_until(lambda: len(curve(url, "my_score", run="batch-7")) == STEPS)
        report("a batch job", made)


def test_a_program_of_opentelemetry_that_knows_the_endpoint_alone(
    wheel: Path, tmp_path: Path
) -> None:
    """Nothing of this package is in its code."""
    with lane(tmp_path, wheel) as (made, url):
        made.pip("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http")
        made.run("python", made.script(OPENTELEMETRY), OTEL_EXPORTER_OTLP_ENDPOINT=url)
        run = newest_run(url)
        wait_until(lambda: len(curve(url, "my_score", producer=run)) == STEPS)
        report("OpenTelemetry", made)
