"""What rules would have done over history."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from realm_exporter_webhook.backtest import LAST, PARTS, picture

from realm_telemetry.log import LogWriter, ProducerInfo
from realm_telemetry.log.times import parse_time

from .conftest import Invoke, Maker, Receiver, event, options
from .settings_file import RULES, write_settings

S = 1_000_000_000


def fill(home: Path) -> None:
    """Ten failures of the last ten hours, 30 minutes after the full hour before, and an import."""
    now_ns = time.time_ns()
    clock = [now_ns]
    with LogWriter(home / "vault" / "jobs.db", clock_ns=lambda: clock[0]) as log:
        for number in range(1, 11):
            clock[0] = now_ns - (11 - number) * 3600 * S
            log.append([event(2 * number, now_ns=clock[0]), event(2 * number + 1, "note")])
            log.append([event(100 + number, now_ns=clock[0] + 60 * S)])
        log.append([event(200, age_s=3 * 3600)])
        log.register_producer(ProducerInfo("e1" * 8, "import"))
        log.append([event(1, producer="e1" * 8), event(2, producer="e1" * 8)])


def test_a_backtest_shows_how_often_and_when_and_sends_nothing(
    home: Path, invoke: Invoke, receiver: Receiver
) -> None:
    write_settings(home, receiver.url(), RULES.replace("1h", "30m"))
    fill(home)
    (found,) = json.loads(
        invoke("backtest", "--since", "1d", "--rule", "failures", "--json").output
    )
    assert (found["events"], found["held_back"]) == (21, 10)
    live = [each for each in found["last"] if not each["late"]]
    assert [each["held_back"] for each in live] == [0] + [1] * 9
    assert [each["events"] for each in found["last"] if each["late"]] == [1]
    assert (found["messages"], found["digests"], found["targets"]) == (11, 1, 1)
    assert sum(part["messages"] for part in found["when"]) == 11
    result = invoke("backtest", "--since", "1d", "--rule", "failures")
    assert re.search(r"failures +21 +11 +10 +1 +·+[▁-█·]+", result.output), result.output
    assert ", late" in result.output
    assert receiver.received == []
    assert not (home / "data" / "webhooks.db").exists()


def test_a_backtest_fires_as_the_rule_would_have_live(
    home: Path, invoke: Invoke, make: Maker, receiver: Receiver
) -> None:
    rule = {"name": "failures", "threshold": 2, "window": "5m", "cooldown": "2h"}
    lines = "\n".join(
        ["", "[[options.webhook.rules]]", 'to = "lab"']
        + [f"{k} = {json.dumps(v)}" for k, v in rule.items()]
    )
    write_settings(home, receiver.url(), lines)
    fill(home)
    (found,) = json.loads(
        invoke("backtest", "--since", "1d", "--rule", "failures", "--json").output
    )
    exporter = make(options(receiver.url(), rule), clock=Replayed())
    from realm_telemetry.log import LogReader

    with LogReader(home / "vault" / "jobs.db") as reader:
        for row in reader.now.after(0):
            if row.event.producer != "e1" * 8:
                Replayed.now_ns = row.event.observed_unix_nano or 0
                exporter.export_events([row.event])
    exporter.shutdown()
    fired = [each.json for each in receiver.received]
    assert [each["count"] for each in fired] == [each["events"] for each in found["last"]]
    assert [each["late"] for each in fired] == [each["late"] for each in found["last"]]
    assert 2 <= len(fired) <= 7


class Replayed:
    """A clock that shows when each event arrived."""

    now_ns = 0

    def time_ns(self) -> int:
        return self.now_ns

    def time(self) -> float:
        return self.now_ns / 1e9

    def monotonic(self) -> float:
        return self.now_ns / 1e9


def test_a_picture_has_a_bar_for_each_part_of_the_time() -> None:
    assert picture([3, 1, 0, 0, 0, 1, 1, 0], 4) == "█·▂▂"
    assert picture([0] * 8, 4) == "····"


def test_a_backtest_counts_every_message_and_lists_the_last_ones(
    home: Path, invoke: Invoke, receiver: Receiver
) -> None:
    """At the number that is listed one by one, and one above it."""
    write_settings(home, receiver.url(), '\n[[options.webhook.rules]]\nname = "all"\nto = "lab"\n')
    with LogWriter(home / "vault" / "jobs.db") as log:
        log.register_producer(ProducerInfo("d0" * 8))
        log.append([event(number) for number in range(1, LAST + 1)])
        (found, *_) = json.loads(invoke("backtest", "--since", "1h", "--json").output)
        assert (found["messages"], len(found["last"])) == (LAST, LAST)
        log.append([event(LAST + 1)])
    (found, *_) = json.loads(invoke("backtest", "--since", "1h", "--json").output)
    assert (found["messages"], len(found["last"])) == (LAST + 1, LAST)
    assert len(found["when"]) <= PARTS
    assert sum(part["messages"] for part in found["when"]) == LAST + 1


def test_a_backtest_passes_over_what_was_replayed_into_this_log(
    home: Path, invoke: Invoke, receiver: Receiver
) -> None:
    write_settings(home, receiver.url(), RULES)
    with LogWriter(home / "vault" / "jobs.db") as log:
        log.register_producer(ProducerInfo("d0" * 8))
        log.append([event(1)])
        log.append([event(2)], keep_arrival=True)
    (found, *_) = json.loads(invoke("backtest", "--since", "1h", "--json").output)
    assert found["events"] == 1


@pytest.mark.long
def test_a_backtest_holds_no_more_for_two_hundred_thousand_messages(
    home: Path, receiver: Receiver
) -> None:
    """Each event a message of a group of its own, gathered: all that could be piled up is."""
    rule = '\n[[options.webhook.rules]]\nname = "all"\nto = "lab"\ncollect = "10m"\n'
    write_settings(home, receiver.url(), rule + 'group_by = ["details.step"]\n')
    with LogWriter(home / "vault" / "jobs.db") as log:
        log.register_producer(ProducerInfo("d0" * 8))
        for start in range(1, 200_001, 1000):
            log.append([event(n, details={"step": n}) for n in range(start, start + 1000)])
    backtest = ["webhooks", "backtest", "--rule", "all", "--json"]
    command = [sys.executable, "-m", "realm_telemetry", *backtest]
    report = home / "backtest.json"
    with report.open("wb") as output, subprocess.Popen(command, stdout=output) as process:
        peak_mib = peak(process)
    (found,) = json.loads(report.read_text())
    assert found["messages"] == 200_000
    assert peak_mib < 100


def peak(process: subprocess.Popen[bytes]) -> float:
    """The most memory that a process held, asked of the kernel while it runs."""
    status, peak_kib = Path(f"/proc/{process.pid}/status"), 0
    while process.poll() is None:
        held = re.search(r"VmHWM:\s+(\d+)", status.read_text())
        peak_kib = int(held[1]) if held else peak_kib
        time.sleep(0.02)
    assert peak_kib
    return peak_kib / 1024


def test_what_was_gathered_is_said_to_go_when_it_was_due(home: Path, invoke: Invoke) -> None:
    """Not when the next event came, which may be hours later."""
    lines = """
[[options.webhook.rules]]
name = "bad"
to = "lab"
status = ["failed"]

[[options.webhook.rules]]
name = "away"
to = "lab"
silent_for = "10m"
"""
    write_settings(home, "https://example.org", lines)
    now_ns = time.time_ns()
    clock = [now_ns - 5 * 3600 * S]
    end = {"status": "failed", "reason": "exit code 3"}
    with LogWriter(home / "vault" / "jobs.db", clock_ns=lambda: clock[0]) as log:
        log.append([event(1, "run_started", run_id="r", now_ns=clock[0])])
        clock[0] += 3600 * S
        log.append([event(2, "run_ended", details=end, run_id="r", now_ns=clock[0])])
        ended_ns, clock[0] = clock[0], now_ns
        log.append([event(3, "note", now_ns=now_ns)])
    found = json.loads(invoke("backtest", "--since", "1d", "--json").output)
    (bad,) = next(each["last"] for each in found if each["rule"] == "bad")
    (away,) = next(each["last"] for each in found if each["rule"] == "away")
    assert parse_time(bad["time"], now_ns) - ended_ns == pytest.approx(3 * S, abs=S)
    assert ended_ns - parse_time(away["time"], now_ns) == pytest.approx(3000 * S, abs=S)
