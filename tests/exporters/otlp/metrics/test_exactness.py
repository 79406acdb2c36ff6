"""Each event counts once, whatever is delivered again, refused, lost or killed."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE

from realm_telemetry.errors import ExportError, NotYetError
from realm_telemetry.event import Event
from realm_telemetry.log import LogReader, LogWriter
from realm_telemetry.log.records import ProducerInfo
from realm_telemetry.shipper.lock import is_held
from realm_telemetry.shipper.status import read_status
from tests.waiting import wait_until

from .conftest import EXPORTER, Collector, Lab, data_of, points_of

SCRIPT = Path(__file__).parents[3] / "faults" / "emitting.py"


def everything(lab: Lab, count: int) -> list[Event]:
    """Events of every sort that is measured, some of them late."""
    kinds = ("training_step", "job_completed", "job_failed", "eval_completed", "note")
    now_ns = time.time_ns()
    return [
        lab.event(
            kinds[number % 5],
            run_id=f"r{number % 2}",
            time_unix_nano=now_ns + (number * 7919) % 31,
            details={"loss": 1 / number, "step": number, "duration_s": number / 3}
            | {"job_type": f"t{number % 3}", "skill": "digits", "level": 1, "accuracy": 0.5},
        )
        for number in range(1, count + 1)
    ]


def in_log(lab: Lab, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(lab.log_path)) as connection:
        return connection.execute(query).fetchall()


def check_against_sql(lab: Lab, collector: Collector) -> None:
    """What the receiver has equals what the log has."""
    points = collector.points()
    names = ("realm.channel", "realm.kind", "realm.severity")
    query = "SELECT channel, kind, severity, count(*) FROM battle_log GROUP BY 1, 2, 3"
    counts = {tuple(zip(names, row, strict=False)): row[3] for row in in_log(lab, query)}
    assert {key: point.as_int for key, point in points["realm.events"].items()} == counts
    _check_durations(lab, points["realm.job.duration"])
    query = (
        "SELECT run_id, details_json ->> 'loss', time_unix_nano FROM battle_log"
        " WHERE kind = 'training_step' ORDER BY time_unix_nano, event_id"
    )
    losses = {(("realm.run.id", run),): (loss, at) for run, loss, at in in_log(lab, query)}
    found = points["realm.training.loss"].items()
    assert {key: (point.as_double, point.time_unix_nano) for key, point in found} == losses


def _check_durations(lab: Lab, points: dict[Any, Any]) -> None:
    query = (
        "SELECT details_json ->> 'job_type', kind, count(*), sum(details_json ->> 'duration_s'),"
        " min(details_json ->> 'duration_s'), max(details_json ->> 'duration_s') FROM battle_log"
        " WHERE kind IN ('job_completed', 'job_failed') GROUP BY 1, 2"
    )
    names = ("realm.job.type", "realm.kind")
    for *labels, count, total, least, most in in_log(lab, query):
        point = points.pop(tuple(zip(names, labels, strict=True)))
        assert (point.count, point.min, point.max) == (count, least, most)
        assert point.sum == pytest.approx(total)
        assert sum(point.bucket_counts) == count
    assert points == {}


def test_numbers_equal_sql_after_redelivery_and_restarts(lab: Lab, collector: Collector) -> None:
    """Three shippers one after the other, of which the second gets everything again."""
    lab.store(everything(lab, 60))
    lab.ship()
    check_against_sql(lab, collector)
    starts = {point.start_time_unix_nano for point in collector.points()["realm.events"].values()}
    lab.deliver_from(0)
    lab.ship()
    check_against_sql(lab, collector)
    lab.store(everything(lab, 60))
    lab.ship()
    check_against_sql(lab, collector)
    counters = collector.points()["realm.events"].values()
    assert {point.start_time_unix_nano for point in counters} == starts
    assert len(starts) == 1
    assert len({tuple(sorted(each.items())) for each in collector.resources()}) == 1


def test_sums_are_cumulative_and_only_grow(lab: Lab, collector: Collector) -> None:
    """The start is the arrival of the first event, the time the push's."""
    for _ in range(2):
        lab.store(everything(lab, 10))
        lab.ship()
    with LogReader(lab.log_path) as reader:
        first = reader.now.after(0, 1)[0].event
    for request in collector.requests:
        metrics = request.resource_metrics[0].scope_metrics[0].metrics
        for data in (data_of(metric) for metric in metrics if not metric.HasField("gauge")):
            assert data.aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE
            for point in data.data_points:
                assert point.start_time_unix_nano == first.observed_unix_nano
                assert point.time_unix_nano >= point.start_time_unix_nano
        assert metrics[0].sum.is_monotonic


def test_a_receiver_that_is_away_delays_and_changes_nothing(lab: Lab, collector: Collector) -> None:
    """Events come on meanwhile; a crash between loses nothing, for the log has them."""
    collector.status = 503
    exporter = lab.exporter()
    events = everything(lab, 20)
    lab.store(events)
    for _ in range(3):
        with pytest.raises(ExportError) as raised:
            exporter.export_events(events)
        assert raised.value.retryable
        assert not isinstance(raised.value, NotYetError)
    exporter.shutdown()
    collector.status = 200
    lab.store(everything(lab, 20))
    exporter = lab.exporter()
    exporter.export_events(events)
    exporter.shutdown()
    check_against_sql(lab, collector)


def test_an_answer_that_is_lost_makes_nothing_count_twice(lab: Lab, collector: Collector) -> None:
    """The receiver has it all and says nothing: what is sent again says the same."""
    collector.answering = False
    exporter = lab.exporter()
    events = everything(lab, 20)
    lab.store(events)
    with pytest.raises(ExportError):
        exporter.export_events(events)
    assert collector.requests
    collector.answering = True
    exporter.export_events(events)
    exporter.export_events(events)
    exporter.shutdown()
    check_against_sql(lab, collector)


def test_counts_that_are_lost_begin_anew_with_a_later_start(lab: Lab, collector: Collector) -> None:
    """Receivers know such a reset by the start time."""
    lab.store(everything(lab, 10))
    lab.ship()
    (lab.home / "data" / "realm_measures.db").unlink()
    lab.store([lab.event("note")])
    lab.ship()
    (series,) = (
        point for key, point in collector.points()["realm.events"].items() if key[1][1] == "note"
    )
    assert series.as_int == 1
    first = collector.requests[0].resource_metrics[0].scope_metrics[0].metrics[0].sum
    assert series.start_time_unix_nano > first.data_points[0].start_time_unix_nano


def test_only_the_pipelines_own_events_are_counted(lab: Lab, collector: Collector) -> None:
    """Another pipeline on the same log has an exporter of its own, or none."""
    with LogWriter(lab.log_path) as writer:
        writer.register_producer(ProducerInfo("bb" * 8, "other"))
    lab.store([lab.event("note"), lab.event("note", producer="bb" * 8), lab.event("note")])
    lab.ship()
    assert [point.as_int for point in collector.points()["realm.events"].values()] == [2]


def test_a_servicepoints_of_all_pipelines_but_no_imports(lab: Lab, collector: Collector) -> None:
    """What was imported happened long ago, and somewhere else."""
    with LogWriter(lab.log_path) as writer:
        writer.register_producer(ProducerInfo("bb" * 8, "other"))
        writer.register_producer(ProducerInfo("cc" * 8, "import"))
    producers = ("aa", "bb", "cc", "cc")
    events = [
        lab.event("note", producer=f"{name:0>16}" if name == "aa" else name * 8)
        for name in producers
    ]
    lab.store(events)
    exporter = lab.exporter(pipeline="", long_lived=True)
    exporter.export_events(events[:2])
    exporter.export_events(events[:2])
    exporter.shutdown()
    assert [point.as_int for point in collector.points()["realm.events"].values()] == [2]


@pytest.mark.processes
@pytest.mark.parametrize("kills", [3, pytest.param(15, marks=pytest.mark.long)])
def test_a_shipper_killed_at_any_instant_counts_each_event_once(
    tmp_path: Path, collector: Collector, kills: int
) -> None:
    """Between fold, push and save; the producer starts the next, or the test does."""
    lab = Lab(tmp_path / "home", collector.url)
    chance, killed = random.Random(kills), []
    with emitting(lab, seconds=kills * 1.2) as producer:
        for _ in range(kills):
            start_shipper(producer.pipeline_dir)
            wait_until(lambda: is_held(producer.pipeline_dir))
            time.sleep(chance.uniform(0.1, 0.6))
            killed.append(producer.kill_shipper())
            wait_until(lambda: not is_held(producer.pipeline_dir))
        start_shipper(producer.pipeline_dir)
        count = len(producer.answer()["ids"])
        assert producer.ask("flush", timeout_s=30)["delivered"]
        producer.kill_shipper()
    assert sum(killed) > kills / 2
    (point,) = collector.points()["realm.events"].values()
    rows = in_log(lab, "SELECT count(*) FROM battle_log WHERE kind = 'job_completed'")
    assert point.as_int == count == rows[0][0]
    (duration,) = collector.points()["realm.job.duration"].values()
    assert duration.count == count
    values = [
        next(iter(p["realm.events"].values())).as_int
        for p in map(points_of, collector.requests)
        if "realm.events" in p
    ]
    assert values == sorted(values), "a counter fell"


class emitting:  # noqa: N801 - a context manager
    """A real producer with a pipeline of its own on the lab's log."""

    def __init__(self, lab: Lab, seconds: float) -> None:
        settings: dict[str, Any] = {"home": str(lab.home), "exporters": ["battle_log", EXPORTER]}
        settings |= {"options": {EXPORTER: lab.options}}
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("REALM_", "OTEL_", "PYTEST_"))
        }
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=clean,
        )
        self.pipeline_dir = Path(self.answer()["pipeline_dir"])
        self.tell(
            "emit", count=10**6, seconds=seconds, pace_s=0.001, kind="job_completed", duration_s=2
        )

    def __enter__(self) -> "emitting":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
        self.kill_shipper()

    def tell(self, do: str, **arguments: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        output: dict[str, Any] = json.loads(self.process.stdout.readline())
        return output

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        self.tell(do, **arguments)
        return self.answer()

    def kill_shipper(self) -> bool:
        """Kill the one at work; whether there was one."""
        page = read_status(self.pipeline_dir)
        if page is None or not page.pid:
            return False
        try:
            os.kill(page.pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True


def start_shipper(pipeline_dir: Path) -> None:
    command = ["-P", "-m", "realm_telemetry.shipper", "--pipeline", str(pipeline_dir)]
    subprocess.run(["setsid", "--fork", sys.executable, *command], check=True, cwd="/")


def test_what_comes_within_the_interval_goes_out_together(
    make_lab: Callable[..., Lab], collector: Collector
) -> None:
    """The first at once; whoever delivers is asked to come back, which is no trouble."""
    exporter = make_lab(interval_s=2.0).exporter()
    lab = make_lab(interval_s=2.0)
    first, second, third = (lab.event("note") for _ in range(3))
    lab.store([first])
    exporter.export_events([first])
    lab.store([second])
    with pytest.raises(NotYetError) as raised:
        exporter.export_events([second])
    assert 0 < raised.value.after_s <= 2.0
    lab.store([third])
    time.sleep(raised.value.after_s)
    exporter.export_events([second])
    exporter.export_events([third])
    exporter.shutdown()
    counts = [points_of(each)["realm.events"] for each in collector.requests]
    assert [next(iter(points.values())).as_int for points in counts] == [1, 3]


@pytest.mark.alone
def test_a_shipper_waits_out_the_interval_without_reporting_trouble(
    make_lab: Callable[..., Lab], collector: Collector
) -> None:
    """Nothing is wrong, so nothing is reported; and all goes out in the end."""
    lab = make_lab(interval_s=0.4)
    with emitting(lab, seconds=2.5) as producer:
        count = len(producer.answer()["ids"])
        assert producer.ask("flush", timeout_s=30)["delivered"]
    (point,) = collector.points()["realm.events"].values()
    assert point.as_int == count > 100
    # From the first push to the last; the receiver sees them a little earlier or later.
    lasted_s = collector.arrivals_s[-1] - collector.arrivals_s[0]
    assert 2 <= len(collector.requests) <= lasted_s / 0.35 + 1
    output = "".join(path.read_text() for path in (lab.home / "logs").glob("*.log"))
    assert EXPORTER not in output, output
