"""/metrics of events: read by Prometheus' own parser, compared with SQL over the battle log."""

import json
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from realm_telemetry.folds.metrics import BUILT_IN, FRESH_NS, SAMPLE_FRESH_NS
from realm_telemetry.folds.metrics.definition import RESERVED
from realm_telemetry.folds.metrics.instruments import prometheus_name
from realm_telemetry.folds.runs import statuses
from realm_telemetry.log import LogWriter
from realm_telemetry.log.engine import open_log
from realm_telemetry.log.records import ProducerInfo, limits_of
from realm_telemetry.log.sqlite.retention import Retention
from realm_telemetry.service import RealmServer
from realm_telemetry.service.core import ServiceUpkeep
from tests.ports import free_port
from tests.waiting import wait_until

from .conftest import PRODUCER, asking, free_ports, make_event, serving

READY = "\nrealm_measures_ready 1\n"  # the help text begins like it
Labels = tuple[tuple[str, str], ...]


def scraped(client: httpx.Client) -> dict[str, Metric]:
    """All metrics by name, once the tail has read what is stored."""
    cursor = client.get("/api/battle_log?limit=1").headers["x-as-of"]
    wait_until(lambda: f"realm_log_cursor {cursor}\n" in client.get("/metrics").text)
    wait_until(lambda: READY in client.get("/metrics").text)
    text = client.get("/metrics").text
    return {metric.name: metric for metric in text_string_to_metric_families(text)}


def values(metric: Metric | None, suffix: str = "") -> dict[Labels, float]:
    """The samples of a metric, or of a histogram's sort, by labels."""
    samples = metric.samples if metric else []
    wanted = [s for s in samples if metric and s.name == metric.name + suffix]
    return {tuple(sorted(sample.labels.items())): sample.value for sample in wanted}


def by_label(metric: Metric) -> dict[str, float]:
    """The samples of a metric with one label."""
    return {label: value for ((_, label),), value in values(metric).items()}


def in_log(home: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(home / "vault" / "jobs.db")) as connection:
        return connection.execute(query).fetchall()


def shapes(first: int) -> list[dict[str, Any]]:
    """Thirty events with everything that is measured, a few of them out of order."""
    now_ns = time.time_ns()
    made = []
    for number in range(first, first + 30):
        kind = ("training_step", "job_completed", "job_failed", "eval_completed")[number % 4]
        details: dict[str, Any] = {"step": number, "loss": 1 / number, "duration_s": number / 3}
        details |= {"job_type": f"type{number % 3}", "skill": "digits", "level": number % 2}
        details |= {"accuracy": number / 100, "learning_rate": 1e-3, "error": "no"}
        made.append(
            {"kind": kind, "producer": PRODUCER, "number": number, "details": details}
            | {"time_unix_nano": str(now_ns + (number * 7919) % 31), "run_id": f"r{number % 2}"}
        )
    return made


def post(client: httpx.Client, events: list[dict[str, Any]]) -> dict[str, Any]:
    answer = client.post("/api/v1/events", json={"events": events})
    assert answer.status_code == 200, answer.text
    counted: dict[str, Any] = answer.json()
    return counted


def check_against_sql(home: Path, client: httpx.Client) -> None:
    """Counters, gauges and histograms are what the log's rows say."""
    metrics = scraped(client)
    _check_counter(home, metrics)
    _check_durations(home, metrics["realm_job_duration_seconds"])
    _check_losses(home, metrics["realm_training_loss"])


def _check_counter(home: Path, metrics: dict[str, Metric]) -> None:
    query = "SELECT channel, kind, severity, count(*) FROM battle_log GROUP BY 1, 2, 3"
    names = ("realm_channel", "realm_kind", "realm_severity")
    expected = {tuple(zip(names, row, strict=False)): row[3] for row in in_log(home, query)}
    assert values(metrics["realm_events"], "_total") == expected


def _check_durations(home: Path, metric: Metric) -> None:
    query = (
        "SELECT kind, details_json ->> 'job_type', details_json ->> 'duration_s' FROM battle_log"
        " WHERE kind IN ('job_completed', 'job_failed')"
    )
    counts: Counter[Labels] = Counter()
    sums: Counter[Labels] = Counter()
    within: Counter[Labels] = Counter()
    for kind, job_type, duration_s in in_log(home, query):
        labels = (("realm_job_type", job_type), ("realm_kind", kind))
        counts[labels] += 1
        sums[labels] += duration_s
        for sample in metric.samples:
            own = dict(labels).items() <= sample.labels.items()
            if own and duration_s <= float(sample.labels.get("le", "-inf")):
                within[tuple(sorted(sample.labels.items()))] += 1
    assert values(metric, "_count") == counts
    assert values(metric, "_sum") == pytest.approx(dict(sums))
    assert {k: v for k, v in values(metric, "_bucket").items() if v} == within


def _check_losses(home: Path, metric: Metric) -> None:
    query = (
        "SELECT run_id, details_json ->> 'loss' FROM battle_log WHERE kind = 'training_step'"
        " ORDER BY time_unix_nano, event_id"
    )
    expected = {(("realm_run_id", run),): loss for run, loss in in_log(home, query)}
    assert values(metric) == expected


def test_numbers_equal_sql_after_redelivery_and_restart(tmp_path: Path) -> None:
    """A batch that comes again counts once; a service that comes again goes on."""
    with serving(free_ports(tmp_path)) as server, asking(server) as client:
        batch = shapes(1)
        assert post(client, batch)["accepted"] == 30
        check_against_sql(tmp_path, client)
        assert post(client, batch)["duplicates"] == 30
        check_against_sql(tmp_path, client)
    with serving(free_ports(tmp_path)) as server, asking(server) as client:
        check_against_sql(tmp_path, client)
        assert post(client, shapes(21))["accepted"] == 20
        check_against_sql(tmp_path, client)


def test_a_service_whose_save_was_lost_reads_again_what_it_lacks(tmp_path: Path) -> None:
    """Whatever is on disk, an older state or nothing, the log makes up for it."""
    saved, older = tmp_path / "data" / "realm_measures.db", tmp_path / "older.db"
    with serving(free_ports(tmp_path)) as server, asking(server) as client:
        post(client, shapes(1))
        scraped(client)
    shutil.copy(saved, older)
    with serving(free_ports(tmp_path)) as server, asking(server) as client:
        post(client, shapes(31))
        check_against_sql(tmp_path, client)
    shutil.copy(older, saved)
    with serving(free_ports(tmp_path)) as server, asking(server) as client:
        check_against_sql(tmp_path, client)
    saved.write_bytes(b"this is no database")
    with serving(free_ports(tmp_path)) as server, asking(server) as client:
        check_against_sql(tmp_path, client)


def test_a_service_that_is_killed_goes_on_from_what_it_last_saved(tmp_path: Path) -> None:
    """A real process, and a real signal between two saves."""
    (tmp_path / "realm.toml").write_text("[service]\nsnapshot_interval_s = 0.1\n")
    saved = tmp_path / "data" / "realm_measures.db"
    with process(tmp_path) as (killed, client):
        post(client, shapes(1))
        wait_until(saved.exists)
        post(client, shapes(21))
        killed.kill()
        killed.wait()
    with process(tmp_path) as (_, client):
        check_against_sql(tmp_path, client)
        assert post(client, shapes(41))["accepted"] == 20
        check_against_sql(tmp_path, client)


@contextmanager
def process(home: Path) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    """`realm serve` as a process, and a client of it."""
    port = free_port()
    command = [sys.executable, "-m", "realm_telemetry", "--home", str(home), "serve"]
    command += ["--port", str(port), "--battle-log-port", "0", "--ui-port", "0"]
    with (home / "output.txt").open("ab") as output:
        running = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            wait_until(lambda: answers(client))
            yield running, client
    finally:
        running.terminate()
        running.wait(60)


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/ready").status_code == 200
    except httpx.HTTPError:
        return False


def test_counters_do_not_fall_when_retention_takes_rows_away(tmp_path: Path) -> None:
    """What happened stays, in the log's totals and in the saved histograms."""
    with serving(free_ports(tmp_path)) as server, asking(server) as client:
        post(client, shapes(1))
        before = scraped(client)
    with closing(sqlite3.connect(tmp_path / "vault" / "jobs.db")) as connection:
        connection.execute("DELETE FROM battle_log")
        connection.commit()
    with serving(free_ports(tmp_path)) as server, asking(server) as client:
        wait_until(lambda: READY in client.get("/metrics").text)
        text = client.get("/metrics").text
    after = {metric.name: metric for metric in text_string_to_metric_families(text)}
    assert values(after["realm_events"], "_total") == values(before["realm_events"], "_total")
    for suffix in ("_count", "_sum", "_bucket"):
        name = "realm_job_duration_seconds"
        assert values(after[name], suffix) == values(before[name], suffix)


def test_retention_waits_until_rows_are_in_every_saved_fold(tmp_path: Path) -> None:
    """RealmState alone is not enough: what the metrics have not seen would never be counted."""
    settings = free_ports(tmp_path, retention_days=0.0)
    old_ns = time.time_ns() - 10**9
    with LogWriter(settings.log_path, clock_ns=lambda: old_ns) as writer:
        writer.append([make_event(number) for number in (1, 2, 3)])
    with LogWriter(settings.log_path) as writer:
        upkeep = ServiceUpkeep(open_log(settings.log_path), settings)
        for state, measures, left in ((3, 0, 3), (0, 3, 3), (3, 2, 1), (3, 3, 0)):
            upkeep.covered("RealmState", state)
            upkeep.covered("Metrics", measures)
            for _ in range(3):
                upkeep._retain(Retention(writer, limits_of(0.0, None)))
            assert in_log(tmp_path, "SELECT count(*) FROM battle_log") == [(left,)]


def test_any_text_comes_back_out_of_a_label(tmp_path: Path) -> None:
    """Quotes, backslashes, line ends and other alphabets."""
    runs = ['a"b', "a\\b", "a\nb", "a\\nb", "日本 🏰", "{x=1}", " "]
    with serving(free_ports(tmp_path)) as server, asking(server) as client:
        events = [
            {"kind": "training_step", "producer": PRODUCER, "number": number, "run_id": run}
            | {"details": {"step": number, "loss": number}}
            for number, run in enumerate(runs, 1)
        ]
        post(client, events)
        losses = values(scraped(client)["realm_training_loss"])
    assert losses == {(("realm_run_id", run),): n for n, run in enumerate(runs, 1)}


@pytest.mark.parametrize(("kinds", "rest"), [(2, None), (3, None), (4, 1), (7, 4)])
def test_what_exceeds_the_limit_of_series_is_one_series(
    tmp_path: Path, kinds: int, rest: int | None
) -> None:
    """Below, at and above the limit; all of the events are counted, places last a restart."""
    settings = free_ports(tmp_path, options={"otlp_metrics": {"max_series": 4}})
    events = [
        {"kind": f"kind_{9 - number}", "producer": PRODUCER, "number": number}
        for number in range(1, kinds + 1)
    ]
    for _ in range(2):
        with serving(settings) as server, asking(server) as client:
            post(client, events)
            counts = values(scraped(client)["realm_events"], "_total")
        assert sum(counts.values()) == kinds
        assert counts.get((("otel_metric_overflow", "true"),)) == rest
        named = {dict(labels).get("realm_kind") for labels in counts}
        assert {f"kind_{9 - number}" for number in range(1, min(kinds, 3) + 1)} <= named


def test_gauges_that_stood_still_for_an_hour_are_not_shown(server: RealmServer) -> None:
    """A run that ended yesterday has no loss today; its durations count for ever."""
    now_ns = time.time_ns()
    ages = {"long": FRESH_NS + 10**9, "just": FRESH_NS - 60 * 10**9}
    with asking(server) as client:
        events = [
            {"kind": "training_step", "producer": PRODUCER, "number": number, "run_id": run}
            | {"time_unix_nano": str(now_ns - ages[run]), "details": {"step": 1, "loss": 0.5}}
            for number, run in enumerate(ages, 1)
        ]
        post(client, events)
        assert values(scraped(client)["realm_training_loss"]) == {(("realm_run_id", "just"),): 0.5}


def sample_of(host: str, age_ns: int = 0, number: int = 1) -> dict[str, Any]:
    """A sample of a machine with one GPU."""
    gpu = {"index": 0, "name": "H200", "utilization_percent": 93, "uncorrected_errors": 2}
    details = {"host": host, "rss_bytes": 3 * 2**30, "host_cpu_percent": 50.0, "gpus": [gpu]}
    event = {"kind": "resource_sampled", "producer": PRODUCER, "number": number, "run_id": "r7"}
    return event | {"time_unix_nano": str(time.time_ns() - age_ns), "details": details}


def test_a_sample_of_the_machine_is_shown_under_opentelemetrys_names(server: RealmServer) -> None:
    with asking(server) as client:
        post(client, [sample_of("node7")])
        metrics = scraped(client)
    host = ("host_name", "node7")
    gpu = (host, ("hw_id", "0"), ("hw_name", "H200"), ("hw_type", "gpu"))
    assert values(metrics["system_cpu_utilization_ratio"]) == {(host,): 0.5}
    process = (host, ("realm_run_id", "r7"))
    assert values(metrics["process_memory_usage_bytes"]) == {process: 3 * 2**30}
    task = ("hw_gpu_task", "general")
    labels = tuple(sorted((*gpu, task)))
    assert values(metrics["hw_gpu_utilization_ratio"]) == {labels: 0.93}
    errors = (("error_type", "uncorrected"), *gpu)
    assert values(metrics["hw_errors"], "_total") == {errors: 2}


def test_a_host_that_was_not_sampled_for_a_minute_is_not_shown(server: RealmServer) -> None:
    """Its memory and its GPUs are not what they were: it is gone, or its run has ended."""
    ages = {"gone": SAMPLE_FRESH_NS + 10**9, "there": SAMPLE_FRESH_NS // 1000}
    with asking(server) as client:
        post(client, [sample_of(host, ages[host], n) for n, host in enumerate(ages, 1)])
        shown = values(scraped(client)["system_cpu_utilization_ratio"])
    assert shown == {(("host_name", "there"),): 0.5}


def test_a_gauge_of_ones_own_is_on_the_page(tmp_path: Path) -> None:
    """The options of the exporter hold for the service too."""
    gauges = [{"kind": "training_step", "detail": "grad_norm"}]
    settings = free_ports(tmp_path, options={"otlp_metrics": {"gauges": gauges}})
    with serving(settings) as server, asking(server) as client:
        details = {"step": 1, "loss": 1, "grad_norm": 2.5}
        post(
            client,
            [{"kind": "training_step", "producer": PRODUCER, "number": 1} | {"details": details}],
        )
        assert values(scraped(client)["realm_training_step_grad_norm"]) == {(): 2.5}


def test_names_and_types_are_those_of_the_table(tmp_path: Path) -> None:
    """HELP and TYPE say what the instrument says; own names of the service are reserved."""
    with serving(free_ports(tmp_path)) as server, asking(server) as client:
        post(client, [*shapes(1), sample_of("node7", number=99)])
        metrics = scraped(client)
    made = {prometheus_name(each).removesuffix("_total"): each for each in BUILT_IN}
    for name, metric in metrics.items():
        if name in made:
            assert metric.type == made[name].shown_as
            assert metric.documentation == made[name].description
        else:
            assert f"{name}_".startswith(RESERVED), name
    assert metrics["realm_training_loss"].type == "gauge"
    assert metrics["hw_errors"].type == "counter"


def test_receipts_are_summed_up_and_live_producers_shown(tmp_path: Path) -> None:
    """Emitted is known of those that ended; of the living what is stored so far."""
    with LogWriter(tmp_path / "vault" / "jobs.db") as writer:
        for producer, service in (("aa", "trainer"), ("bb", "worker"), ("cc", "gone")):
            resource = {"service.name": service}
            writer.register_producer(ProducerInfo(producer * 8, resource=resource))
        events = [make_event(n, producer=p * 8) for p in ("aa", "bb", "cc") for n in (1, 2, 3)]
        writer.append(events)
        writer.record_receipt("bb" * 8, emitted=3, dropped=0, ended=True)
        writer.record_receipt("cc" * 8, emitted=5, dropped=1, ended=True)
    with serving(free_ports(tmp_path)) as server, asking(server) as client:
        metrics = scraped(client)
    events_by = {dict(k)["outcome"]: v for k, v in values(metrics["realm_receipt_events"]).items()}
    assert events_by == {"emitted": 8, "stored": 6, "stored_so_far": 3, "dropped": 1}
    assert values(metrics["realm_receipts_incomplete"]) == {(): 1}
    states = {dict(k)["state"]: v for k, v in values(metrics["realm_producers"]).items()}
    assert states == {"live": 1, "ended": 2}
    name = (("realm_producer_id", "aa" * 8), ("service_name", "trainer"))
    assert values(metrics["realm_producer_events"]) == {
        (("outcome", "stored"), *name): 3,
        (("outcome", "dropped"), *name): 0,
    }


def test_a_producer_of_another_host_says_what_it_emitted_while_it_lives(tmp_path: Path) -> None:
    """Its batches bring the receipt along."""
    with LogWriter(tmp_path / "vault" / "jobs.db") as writer:
        writer.register_producer(ProducerInfo("aa" * 8))
        writer.append([make_event(1, producer="aa" * 8)])
        writer.record_receipt("aa" * 8, emitted=4, dropped=2, ended=None)
    with serving(free_ports(tmp_path)) as server, asking(server) as client:
        found = values(scraped(client)["realm_producer_events"])
    counts = {dict(labels)["outcome"]: count for labels, count in found.items()}
    assert counts == {"emitted": 4, "stored": 1, "dropped": 2}


def test_incomplete_receipts_are_those_that_the_route_says(tmp_path: Path) -> None:
    """The sums are made in SQL; a gap, a drop and a late first number are all seen."""
    cases = {"11": [1, 2, 3], "22": [1, 3], "33": [2, 3], "44": [], "55": [1, 2, 3]}
    with LogWriter(tmp_path / "vault" / "jobs.db") as writer:
        for name, numbers in cases.items():
            writer.register_producer(ProducerInfo(name * 8))
            writer.append([make_event(number, producer=name * 8) for number in numbers])
            dropped = 2 if name == "55" else 0
            writer.record_receipt(name * 8, emitted=3 * bool(numbers), dropped=dropped, ended=True)
    with serving(free_ports(tmp_path)) as server, asking(server) as client:
        receipts = client.get("/api/receipts").json()["receipts"]
        incomplete = [receipt for receipt in receipts if not receipt["complete"]]
        assert {receipt["producer"][:2] for receipt in incomplete} == {"22", "33", "55"}
        metrics = scraped(client)
    assert values(metrics["realm_receipts_incomplete"]) == {(): len(incomplete)}


@pytest.mark.parametrize(("alive", "shown"), [(50, 50), (51, 50)])
def test_at_most_fifty_live_producers_are_shown(tmp_path: Path, alive: int, shown: int) -> None:
    """Those that spoke last; a lab of a thousand workers makes no thousand series."""
    producers = [f"{number:016x}" for number in range(1, alive + 1)]
    with LogWriter(tmp_path / "vault" / "jobs.db") as writer:
        for moment, producer in enumerate(producers):
            writer.register_producer(ProducerInfo(producer))
            writer.append([make_event(1, producer=producer, time_unix_nano=10**18 + moment)])
    with serving(free_ports(tmp_path)) as server, asking(server) as client:
        live = values(scraped(client)["realm_producer_events"])
    ids = {dict(labels)["realm_producer_id"] for labels in live}
    assert ids == set(producers[-shown:])


def test_runs_are_counted_by_status_and_running_ones_have_a_step(server: RealmServer) -> None:
    """Every status is there from the start; a run that has ended has no step any more."""
    with asking(server) as client:
        wait_until(lambda: "realm_runs" in client.get("/metrics").text)
        assert by_label(scraped(client)["realm_runs"]) == dict.fromkeys(statuses(), 0)
        for number, run in enumerate(("a", "b", "c"), 1):
            event = {"producer": f"{number:016x}", "run_id": run}
            step = {"kind": "training_step", "number": 1, "details": {"step": number, "loss": 1}}
            end = {"kind": "training_completed" if run == "b" else "note", "number": 2}
            post(client, [event | step, event | end])
        metrics = scraped(client)
    counts = {key: count for key, count in by_label(metrics["realm_runs"]).items() if count}
    assert counts == {"running": 2, "completed": 1}
    assert by_label(metrics["realm_run_step"]) == {"a": 1, "c": 3}


def test_at_most_fifty_running_runs_have_a_step_of_their_own(server: RealmServer) -> None:
    """Those that started last; ids that are the same for the length of a label are one series."""
    now_ns = time.time_ns()
    names = [*(f"r{number}" for number in range(51)), *("x" * 128 + end for end in "ab")]
    steps = [
        {"kind": "training_step", "producer": f"{number:016x}", "number": 1, "run_id": run}
        | {"time_unix_nano": str(now_ns + number), "details": {"step": number, "loss": 1}}
        for number, run in enumerate(names)
    ]
    with asking(server) as client:
        post(client, steps)
        shown = by_label(scraped(client)["realm_run_step"])
    assert shown == {f"r{number}": number for number in range(3, 51)} | {"x" * 128: 52}


def test_a_mistake_in_the_options_keeps_the_service_from_starting(tmp_path: Path) -> None:
    """It names the option, instead of leaving metrics out."""
    from realm_telemetry.errors import ConfigError

    settings = free_ports(tmp_path, options={"otlp_metrics": {"max_series": 0}})
    with pytest.raises(ConfigError, match="max_series"):
        RealmServer(settings).run()
    assert json.dumps(settings.options)
