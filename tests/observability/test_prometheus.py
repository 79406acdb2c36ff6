"""A real Prometheus scrapes /metrics, and has what was emitted; its tool finds nothing to mend."""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import yaml

from realm_telemetry.folds.metrics import BUILT_IN
from realm_telemetry.folds.metrics.instruments import prometheus_name
from realm_telemetry.service import RealmServer
from tests.ports import free_port
from tests.waiting import wait_until

from .conftest import GIB, PRODUCER, SAMPLE, Running, panels, read
from .promql import legend_labels

pytestmark = [
    pytest.mark.long,
    pytest.mark.processes,
    pytest.mark.skipif(
        shutil.which("prometheus") is None, reason="there is no prometheus: apt install prometheus"
    ),
]

SHOWN = {
    'system_cpu_utilization_ratio{host_name="node7"}': 0.5,
    'system_memory_usage_bytes{system_memory_state="used"}': 12 * GIB,
    "system_memory_utilization_ratio": 0.75,
    'system_filesystem_usage_bytes{system_filesystem_state="reserved"}': 5 * GIB,
    'system_filesystem_utilization_ratio{system_filesystem_mountpoint="/data"}': 60 / 95,
    'process_memory_usage_bytes{realm_run_id="r7"}': 3 * GIB,
    "process_cpu_utilization_ratio": 0.375,
    "container_memory_working_set_bytes": 6 * GIB,
    "container_memory_available_bytes": 2 * GIB,
    'hw_gpu_utilization_ratio{hw_id="0",hw_gpu_task="general"}': 0.93,
    'hw_gpu_memory_usage_bytes{hw_name="H200 \\"SXM\\"",hw_id="1"}': 30 * GIB,
    'hw_gpu_memory_utilization_ratio{hw_id="0"}': 0.25,
    'hw_temperature_celsius{hw_id="0",hw_type="gpu"}': 61,
    "sum(hw_power_watts)": 402.5,
    'hw_errors_total{hw_id="0",error_type="uncorrected"}': 2,
    "realm_system_memory_pressure_ratio": 0.025,
    "realm_run_processes": 5,
    'realm_training_loss{realm_run_id="r7"}': 0.25,
    'realm_events_total{realm_kind="training_step"}': 1,
    'realm_runs{status="running"}': 1,
    'realm_run_step{realm_run_id="r7"}': 7,
    'realm_job_duration_seconds_bucket{le="30"}': 1,
    "histogram_quantile(1, realm_job_duration_seconds_bucket)": 30,
}


TITLES = [
    panel["title"]
    for _, panel in panels()
    if panel["datasource"]["type"] == "prometheus"
    and re.search(r"\b(hw_|system_|process_(cpu|memory)|realm_runs\b|realm_run_step\b)", str(panel))
]


@contextmanager
def scraping(server: RealmServer, directory: Path) -> Iterator[httpx.Client]:
    """A Prometheus that scrapes a service each second, twice: as it is, and as the stack does."""
    own = read("config/prometheus.yaml")["scrape_configs"][0]["metric_relabel_configs"]
    targets = [{"targets": [server.url.removeprefix("http://")]}]
    jobs: list[dict[str, Any]] = [
        {"job_name": "realm", "static_configs": targets},
        {"job_name": "stack", "static_configs": targets, "metric_relabel_configs": own},
    ]
    config = directory / "prometheus.yaml"
    config.write_text(yaml.safe_dump({"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}))
    subprocess.run(["promtool", "check", "config", config], check=True, capture_output=True)
    port = free_port()
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={directory / 'tsdb'}"]
    command.append(f"--web.listen-address=127.0.0.1:{port}")
    with (directory / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=directory)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            wait_until(lambda: answers(client), explain=(directory / "prometheus.log").read_text)
            yield client
    finally:
        process.terminate()
        process.wait(60)


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/-/ready").status_code == 200
    except httpx.HTTPError:
        return False


class Scraped(NamedTuple):
    """A Prometheus, and the time at which it had everything: a sample is shown for a minute."""

    client: httpx.Client
    at_s: float

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What Prometheus answers."""
        params = {"query": expression, "time": f"{self.at_s:.3f}"}
        answer = self.client.get("/api/v1/query", params=params).json()
        assert answer["status"] == "success", answer
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def value(self, expression: str) -> float | None:
        """The one value of an expression over the job `realm`; None while there is none."""
        found = self.query(expression)
        found = [each for each in found if each["metric"].get("job", "realm") == "realm"]
        return float(found[0]["value"][1]) if len(found) == 1 else None

    def values(self) -> dict[str, float | None]:
        """The values of what was emitted."""
        return {expression: self.value(expression) for expression in SHOWN}

    def names(self, job: str) -> set[str]:
        """The metrics of a job."""
        found = self.query(f'count by (__name__) ({{job="{job}"}})')
        return {each["metric"]["__name__"] for each in found}


def up(client: httpx.Client) -> bool:
    targets = client.get("/api/v1/targets").json()["data"]["activeTargets"]
    return [each["health"] for each in targets] == ["up", "up"]


def emit(url: str) -> None:
    shapes = {
        "resource_sampled": SAMPLE,
        "training_step": {"step": 7, "loss": 0.25},
        "job_completed": {"duration_s": 20, "job_type": "eval", "job_id": "j"},
    }
    events = [
        {"kind": kind, "producer": PRODUCER, "number": number, "run_id": "r7", "details": details}
        | {"time_unix_nano": str(time.time_ns())}
        for number, (kind, details) in enumerate(shapes.items(), 1)
    ]
    answer = httpx.post(f"{url}/api/v1/events", json={"events": events}, timeout=60)
    assert answer.json()["accepted"] == len(events), answer.text


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    """A Prometheus that has what was emitted."""
    home = tmp_path_factory.mktemp("prometheus")
    with Running(home) as server, scraping(server, home) as client:
        wait_until(lambda: up(client), explain=lambda: client.get("/api/v1/targets").text)
        emit(server.url)  # now, and not before: a sample is shown for a minute
        found = Scraped(client, time.time())

        def is_complete() -> bool:
            nonlocal found
            found = Scraped(client, time.time())
            as_emitted = found.values() == pytest.approx(SHOWN)
            return as_emitted and bool(found.names("stack")) and has_two_scrapes(found)

        wait_until(is_complete, explain=lambda: found.values())
        yield found


def has_two_scrapes(scraped: Scraped) -> bool:
    """What an increase takes."""
    counted = scraped.query("count_over_time(hw_errors_total[1h])")
    return bool(counted) and all(float(each["value"][1]) >= 2 for each in counted)


def test_prometheus_has_the_values_that_were_emitted(scraped: Scraped) -> None:
    """Of hosts, runs, processes and GPUs."""
    assert scraped.values() == pytest.approx(SHOWN)


def test_a_scrape_as_in_the_stack_has_nothing_that_comes_over_otlp(scraped: Scraped) -> None:
    made = tuple(prometheus_name(each) for each in BUILT_IN)
    of_events = {name for name in scraped.names("realm") if name.startswith(made)}
    assert len(of_events) > len(made) / 2
    assert not scraped.names("stack") & of_events
    assert "realm_log_cursor" in scraped.names("stack") < scraped.names("realm")


@pytest.mark.parametrize("title", TITLES)
def test_a_panel_of_the_machine_shows_something(scraped: Scraped, title: str) -> None:
    """Each of its queries has an answer, with every label that its legend names."""
    (panel,) = (panel for _, panel in panels() if panel["title"] == title)
    for target in panel["targets"]:
        expression = re.sub(r"\$(host|run)\b", ".*", target["expr"])
        found = scraped.query(expression)
        assert found, expression
        assert legend_labels(target["legendFormat"]) <= found[0]["metric"].keys()


def test_promtool_has_nothing_to_say_about_the_page(tmp_path: Path) -> None:
    with Running(tmp_path) as server:
        emit(server.url)
        text = ""

        def is_whole() -> bool:
            nonlocal text
            text = httpx.get(f"{server.url}/metrics", timeout=60).text
            return all(name in text for name in ("hw_errors_total", "realm_run_step", "_bucket"))

        wait_until(is_whole)
    assert linted(text) == ""
    assert 'should have "_total" suffix' in linted(text.replace("hw_errors_total", "hw_errors"))


def linted(text: str) -> str:
    """What promtool says about a page of metrics."""
    command = ["promtool", "check", "metrics"]
    checked = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    return checked.stdout + checked.stderr
