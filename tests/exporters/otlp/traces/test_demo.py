"""The demo's run read back as traces: a tree with the log's own times, durations and errors.

From a receiver of ours in every test run; from mlflow, a trace store that nobody here wrote, in
`make test-long`, which installs it in an environment of its own.
"""

import base64
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from realm_telemetry.event import Event
from realm_telemetry.log.sqlite.reader import LogReader
from realm_telemetry.shipper.overview import pipeline_status
from tests.ports import free_port
from tests.waiting import wait_until

from .conftest import Receiver, plain

MLFLOW = Path(sys.prefix) / "trace-store" / "bin" / "mlflow"
"""Where the Makefile installs it."""

START_TIMEOUT_S = 120.0


class Stored(NamedTuple):
    """A span as a store has it; ids are hexadecimal, `status` is OTLP's code."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    start: int
    end: int
    status: int
    attributes: Mapping[str, Any]
    events: Sequence[tuple[str, int, Mapping[str, Any]]]


@pytest.fixture
def run_demo(home: Path) -> Iterator[Callable[..., list[Event]]]:
    """Run one campaign whose events go to a receiver of traces; returns what is in its log."""

    def run(**options: Any) -> list[Event]:
        lines = [f"{name} = {toml(value)}" for name, value in options.items()]
        exporters = 'exporters = ["battle_log", "realm_service", "otlp_traces"]'
        (home / "realm.toml").write_text(
            "\n".join([exporters, "[options.otlp_traces]", *lines, ""])
        )
        ports = ["--port", "0", "--battle-log-port", "0", "--ui-port", "0"]
        command = [sys.executable, "-m", "realm_telemetry", "--home", str(home), "demo"]
        done = subprocess.run(
            [*command, "--once", "--quick", *ports], capture_output=True, text=True, timeout=110
        )
        assert done.returncode == 0, done.stdout + done.stderr
        with LogReader(home / "vault" / "jobs.db") as reader:
            wait_until(lambda: is_delivered(home), 90)
            return [row.event for row in reader.now.after(0, 10**6)]

    yield run
    for status in pipeline_status(home):
        if status.pid is not None:
            os.kill(status.pid, signal.SIGKILL)


def is_delivered(home: Path) -> bool:
    """Whether every event of the home is in the log and its spans at the receiver."""
    return not any(each.pending or each.lag.get("otlp_traces") for each in pipeline_status(home))


def toml(value: Any) -> str:
    if isinstance(value, dict):
        pairs = ", ".join(f'{name} = "{text}"' for name, text in value.items())
        return f"{{ {pairs} }}"
    return f'"{value}"'


def check_tree(events: Sequence[Event], spans: Sequence[Stored]) -> None:
    """Compare spans with the log's events, without the rules that made the one of the other."""
    ids = {span.span_id: span for span in spans}
    assert len(ids) == len(spans), "a span is there twice"
    [root] = [span for span in spans if not span.parent_id]
    assert root.name == "training"
    assert {span.trace_id for span in spans} == {root.trace_id}
    assert {span.parent_id for span in spans} - {""} <= set(ids)
    check_times(events, spans)
    check_parents(spans, root, ids)
    check_errors(events, spans)


def check_times(events: Sequence[Event], spans: Sequence[Stored]) -> None:
    """Every start and end in the log is one of a span, at its time to the nanosecond."""
    times = {event.id: event.time_unix_nano for event in events}
    started = [span for span in spans if "realm.span.start" not in span.attributes]
    for span in started:
        assert span.start == times[span.attributes["realm.span.start.event_id"]]
    ended = [span for span in spans if "realm.span.end.event_id" in span.attributes]
    for span in ended:
        assert span.end == times[span.attributes["realm.span.end.event_id"]]
    starts = {
        event.id
        for event in events
        if event.kind.endswith("_started") and event.kind not in ("server_started", "run_started")
    }
    ends = {
        event.id
        for event in events
        if event.kind.endswith(("_completed", "_failed")) or event.kind == "checkpoint_saved"
    }
    assert {span.attributes["realm.span.start.event_id"] for span in started} == starts
    assert {span.attributes["realm.span.end.event_id"] for span in ended} >= ends
    for span in ended:
        if span.name == "training" or (span.name == "job eval" and span.status == 1):
            recorded = span.attributes["realm.details.duration_s"] * 1e9
            assert abs(span.end - span.start - recorded) < 50e6


def check_parents(spans: Sequence[Stored], root: Stored, ids: Mapping[str, Stored]) -> None:
    """Jobs and checkpoints below the training, and evals below the job that they measure for."""
    jobs = [span for span in spans if span.name == "job eval"]
    evals = [span for span in spans if span.name.startswith("eval ")]
    assert len([span for span in spans if span.name == "checkpoint"]) == 10
    assert {span.parent_id for span in jobs} == {root.span_id}
    assert {span.parent_id for span in spans if span.name == "checkpoint"} == {root.span_id}
    for span in evals:
        job = ids[span.parent_id]
        assert job.attributes["realm.details.job_id"] == span.attributes["realm.details.suite"]
        assert job.start <= span.start <= job.end
    whole = [job for job in jobs if job.status == 1]
    assert len(whole) == 10
    for job in whole:
        assert len([span for span in evals if span.parent_id == job.span_id]) == 10


def check_errors(events: Sequence[Event], spans: Sequence[Stored]) -> None:
    """The torn checkpoint's job has its exception; the killed worker's spans say that it is."""
    [failed] = [span for span in spans if span.attributes.get("realm.span.end") == "failed"]
    assert (failed.name, failed.status) == ("job eval", 2)
    [recorded] = [event for event in events if event.kind == "job_failed"]
    [(name, time, attributes)] = [event for event in failed.events if event[0] == "exception"]
    assert (name, time) == ("exception", recorded.time_unix_nano)
    assert attributes["exception.message"] == recorded.details["error"]
    assert attributes["exception.stacktrace"] == recorded.details["traceback"]
    [lost] = [event for event in events if event.kind == "process_lost"]
    cut = [
        span
        for span in spans
        if span.status == 2 and span is not failed and span.name.startswith(("job", "eval"))
    ]
    assert [span.name for span in cut if span.name == "job eval"] == ["job eval"]
    assert {span.attributes["realm.span.end"] for span in cut} <= {"process_lost", "retried"}
    assert lost.producer in {span.attributes["realm.span.start.event_id"][:16] for span in cut}


@pytest.mark.long
@pytest.mark.alone
def test_the_demo_is_a_tree_at_a_receiver(
    run_demo: Callable[..., list[Event]], receiver: Receiver
) -> None:
    """Each span comes once, though three processes and a killed one tell of them."""
    events = run_demo(endpoint=receiver.endpoint)
    spans = [
        Stored(
            each.span.name,
            each.span.trace_id.hex(),
            each.span.span_id.hex(),
            each.span.parent_span_id.hex(),
            each.span.start_time_unix_nano,
            each.span.end_time_unix_nano,
            each.span.status.code,
            each.attributes,
            [(e.name, e.time_unix_nano, plain(e.attributes)) for e in each.span.events],
        )
        for each in receiver.arrived
    ]
    check_tree(events, spans)


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An mlflow server with a SQL store; its address."""
    if not MLFLOW.exists():
        pytest.skip(f"{MLFLOW} is not installed: make trace-store")
    directory = tmp_path_factory.mktemp("mlflow")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(MLFLOW), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    store = ["--backend-store-uri", f"sqlite:///{directory}/mlflow.db"]
    foreign = ("REALM_", "OTEL_", "MLFLOW_")
    clean = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    with (directory / "server.log").open("wb") as output:
        server = subprocess.Popen(
            [*command, *store, "--artifacts-destination", str(directory)],
            stdout=output,
            stderr=output,
            cwd=directory,
            env=clean | {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"},
            start_new_session=True,
        )
    try:
        wait_until(lambda: answers(f"{url}/health") or server.poll() is not None, START_TIMEOUT_S)
        assert server.poll() is None, (directory / "server.log").read_text()
        yield url
    finally:
        os.killpg(server.pid, signal.SIGKILL)  # it has workers
        server.wait()


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.mark.long
def test_the_demo_is_a_tree_in_a_real_trace_store(
    run_demo: Callable[..., list[Event]], mlflow: str
) -> None:
    """Stored in SQL and queried through its REST interface."""
    events = run_demo(endpoint=mlflow, headers={"x-mlflow-experiment-id": "0"})
    api = f"{mlflow}/api/3.0/mlflow/traces"
    place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}}
    query = {"locations": [place], "max_results": 100}
    found = httpx.post(f"{api}/search", json=query, timeout=60).raise_for_status().json()
    [trace] = found["traces"]
    assert trace["state"] == "OK"
    whole = httpx.get(f"{api}/batchGet", params={"trace_ids": trace["trace_id"]}, timeout=60)
    check_tree(
        events, [stored(span) for span in whole.raise_for_status().json()["traces"][0]["spans"]]
    )


def stored(span: Mapping[str, Any]) -> Stored:
    """A span of mlflow's JSON, whose ids are base64."""
    return Stored(
        span["name"],
        base64.b64decode(span["trace_id"]).hex(),
        base64.b64decode(span["span_id"]).hex(),
        base64.b64decode(span.get("parent_span_id", "")).hex(),
        int(span["start_time_unix_nano"]),
        int(span["end_time_unix_nano"]),
        ["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"].index(
            span.get("status", {}).get("code", "STATUS_CODE_UNSET")
        ),
        in_json(span["attributes"]),
        [
            (each["name"], int(each["time_unix_nano"]), in_json(each["attributes"]))
            for each in span.get("events", [])
        ],
    )


def in_json(pairs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Attributes of protobuf's JSON, without any depth."""
    return {pair["key"]: next(iter(pair["value"].values()), None) for pair in pairs}


def test_the_long_tests_install_mlflow_where_it_is_looked_for() -> None:
    """Or the test above would be skipped for ever."""
    makefile = (Path(__file__).parents[4] / "Makefile").read_text()
    assert "test-long: $(VENV)/.dev pages trace-store" in makefile
    assert f"$(VENV)/{MLFLOW.relative_to(sys.prefix)}:" in makefile
