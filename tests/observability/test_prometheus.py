"""A real Prometheus scrapes /metrics, and has what was emitted; its tool finds nothing to mend."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from realm_telemetry.folds.metrics import BUILT_IN
from realm_telemetry.folds.metrics.instruments import prometheus_name
from realm_telemetry.service import RealmServer
from tests.waiting import wait_until

from .conftest import GIB, PRODUCER, SAMPLE, Running, read

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
    'system_filesystem_utilization_ratio{system_filesystem_mountpoint="/data"}': 0.6,
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


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as place:
        port: int = place.getsockname()[1]
        return port


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


def query(client: httpx.Client, expression: str) -> list[dict[str, Any]]:
    answer = client.get("/api/v1/query", params={"query": expression}).json()
    assert answer["status"] == "success", answer
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found


def value(client: httpx.Client, expression: str) -> float | None:
    """The one value of an expression over the job `realm`; None while there is none."""
    found = query(client, expression)
    found = [each for each in found if each["metric"].get("job", "realm") == "realm"]
    return float(found[0]["value"][1]) if len(found) == 1 else None


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


def names(client: httpx.Client, job: str) -> set[str]:
    found = query(client, f'count by (__name__) (last_over_time({{job="{job}"}}[1h]))')
    return {each["metric"]["__name__"] for each in found}


def test_prometheus_has_the_values_that_were_emitted(tmp_path: Path) -> None:
    """Of hosts, runs, processes and GPUs; and by the rule of the stack nothing twice."""
    with Running(tmp_path) as server, scraping(server, tmp_path) as client:
        wait_until(lambda: up(client), explain=lambda: client.get("/api/v1/targets").text)
        # Now, and not before: a sample is shown for a minute.
        emit(server.url)
        wait_until(
            lambda: {each: value(client, each) for each in SHOWN} == pytest.approx(SHOWN),
            explain=lambda: {each: query(client, each) for each in SHOWN},
        )
        made = tuple(prometheus_name(each) for each in BUILT_IN)
        of_events = {name for name in names(client, "realm") if name.startswith(made)}
        assert len(of_events) > len(made) / 2
        wait_until(lambda: "realm_log_cursor" in names(client, "stack"))
        assert not names(client, "stack") & of_events
        assert names(client, "stack") <= names(client, "realm")


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
