"""Why a run's process ended: each row of the table, from real processes where one can be made."""

import os
import signal
from pathlib import Path

import pytest

from realm_telemetry.shipper.process_end import ProcessEnd, ProcessorTime, kills_since, memory_kills
from realm_telemetry.shipper.run_end import SIGNALLED, EndFacts, judge


def died(number: int) -> ProcessEnd:
    return ProcessEnd(known=True, signal=number)


def left(code: int) -> ProcessEnd:
    return ProcessEnd(known=True, code=code)


@pytest.mark.parametrize(
    ("facts", "status", "reason"),
    [
        (
            EndFacts(died(9), container_kills=1, host_kills=1),
            "out_of_memory",
            "the container reached its memory limit",
        ),
        (
            EndFacts(died(9), container_kills=0, host_kills=2),
            "out_of_memory",
            "the host ran out of memory (probable)",
        ),
        (EndFacts(left(1), printed="KeyError"), "failed", "KeyError (from the output)"),
        (EndFacts(left(1), error="OSError: x", printed="KeyError"), "failed", "OSError: x"),
        (EndFacts(left(0), printed="KeyError"), "completed", "exit code 0"),
        (EndFacts(died(9), container_kills=0, host_kills=0), "killed", "SIGKILL, sender unknown"),
        (
            EndFacts(died(9), container_kills=0, memory_share=0.95),
            "killed",
            "SIGKILL, probably out of memory (95% of it was used)",
        ),
        (EndFacts(died(9), memory_share=0.949), "killed", "SIGKILL, sender unknown"),
        (
            EndFacts(ProcessEnd(), memory_share=0.99),
            "lost",
            "no word of its end; probably out of memory (99% of it was used)",
        ),
        (EndFacts(ProcessEnd(), memory_share=0.5), "lost", "no word of its end"),
        (EndFacts(ProcessEnd(), stack="Segmentation fault"), "crashed", "SIGSEGV"),
        (EndFacts(ProcessEnd(), error="x", stack="deallocated"), "crashed", "deallocated"),
        (
            EndFacts(ProcessEnd(), stack=SIGNALLED),
            "killed",
            "a signal such as SIGTERM, which is unknown",
        ),
        (
            EndFacts(ProcessEnd(), scheduled=True, stack=SIGNALLED),
            "terminated",
            "a signal such as SIGTERM, by the scheduler, cause unknown",
        ),
        (EndFacts(left(0), stack=SIGNALLED), "completed", "exit code 0"),
        (EndFacts(died(9)), "killed", "SIGKILL, sender unknown"),
        (EndFacts(died(9), scheduled=True), "killed", "SIGKILL, sender unknown"),
        (EndFacts(died(11), container_kills=3), "crashed", "SIGSEGV"),
        (EndFacts(died(6)), "crashed", "SIGABRT"),
        (EndFacts(died(7)), "crashed", "SIGBUS"),
        (EndFacts(died(8)), "crashed", "SIGFPE"),
        (EndFacts(died(4)), "crashed", "SIGILL"),
        (EndFacts(died(15)), "killed", "SIGTERM"),
        (
            EndFacts(died(15), scheduled=True),
            "terminated",
            "SIGTERM by the scheduler, cause unknown",
        ),
        (EndFacts(left(143)), "killed", "SIGTERM (exit code 143)"),
        (EndFacts(died(1)), "killed", "SIGHUP"),
        (EndFacts(died(2)), "cancelled", "SIGINT"),
        (
            EndFacts(died(9), processor=ProcessorTime(3600.0, 3599.95, 4)),
            "killed",
            "time limit of the processor (3600 s, by ulimit -t or RLIMIT_CPU)",
        ),
        (
            EndFacts(died(9), processor=ProcessorTime(5.0, 4.0, 1)),
            "killed",
            "SIGKILL, probably the time limit of the processor (4 of 5 s were used)",
        ),
        (
            EndFacts(died(9), processor=ProcessorTime(5.0, 3.9, 1)),
            "killed",
            "SIGKILL, sender unknown",
        ),
        (EndFacts(died(15), processor=ProcessorTime(5.0, 5.0, 1)), "killed", "SIGTERM"),
        (
            EndFacts(left(137), container_kills=1),
            "out_of_memory",
            "the container reached its memory limit",
        ),
        (EndFacts(left(137)), "killed", "SIGKILL (exit code 137), sender unknown"),
        (EndFacts(left(137), error="ValueError: no"), "failed", "ValueError: no"),
        (EndFacts(left(136)), "crashed", "SIGFPE (exit code 136)"),
        (EndFacts(left(139)), "crashed", "SIGSEGV (exit code 139)"),
        (EndFacts(left(139), error="ValueError: no"), "failed", "ValueError: no"),
        (EndFacts(left(138)), "failed", "exit code 138"),
        (EndFacts(left(152)), "killed", "time limit (SIGXCPU, exit code 152)"),
        (EndFacts(died(25)), "killed", "SIGXFSZ, a file reached the limit of its size"),
        (EndFacts(left(130)), "cancelled", "SIGINT (exit code 130)"),
        (EndFacts(died(24)), "killed", "time limit (SIGXCPU)"),
        (EndFacts(died(10)), "killed", "SIGUSR1"),
        (EndFacts(died(40)), "killed", "signal 40"),
        (EndFacts(left(1), error="ValueError: no"), "failed", "ValueError: no"),
        (EndFacts(left(3)), "failed", "exit code 3"),
        (EndFacts(left(0)), "completed", "exit code 0"),
        (EndFacts(ProcessEnd(), error="ValueError: no"), "failed", "ValueError: no"),
        (EndFacts(ProcessEnd()), "lost", "no word of its end"),
    ],
)
def test_the_first_row_that_fits_is_the_verdict(facts: EndFacts, status: str, reason: str) -> None:
    assert judge(facts)[:2] == (status, reason)


def test_a_verdict_that_is_only_probable_names_the_facts_it_rests_on() -> None:
    assert judge(EndFacts(died(9), host_kills=2)).evidence == {
        "signal": "SIGKILL",
        "kills_on_host": 2,
    }
    assert judge(EndFacts(ProcessEnd())).evidence == {"exit_status": "unknown"}
    unknown = judge(EndFacts(ProcessEnd(), container_kills=1))
    assert unknown.status == "lost"
    assert "probably out of memory" in unknown.reason
    assert unknown.evidence["kills_in_container"] == 1


def test_severities_follow_the_status() -> None:
    severities = [judge(EndFacts(end)).severity for end in (left(0), died(2), died(9))]
    assert severities == ["success", "warning", "error"]


def test_braces_in_an_exception_are_text() -> None:
    error = "KeyError: '{code}'"
    assert judge(EndFacts(left(1), error=error)).reason == error


@pytest.mark.parametrize(
    ("membership", "file"),
    [
        ("0::/job/step\n", "job/step/memory.events"),
        ("4:cpu,memory:/job\n0::/\n", "memory/job/memory.oom_control"),
    ],
)
def test_kills_are_counted_from_the_start_in_both_kinds_of_control_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, membership: str, file: str
) -> None:
    counters, vmstat = tmp_path / "cgroup" / file, tmp_path / "vmstat"
    counters.parent.mkdir(parents=True)
    counters.write_text("low 0\noom_kill 2\noom 7\n")
    vmstat.write_text("nr_free 1\noom_kill 5\n")
    (tmp_path / "membership").write_text(membership)
    place = "realm_telemetry.shipper.process_end"
    monkeypatch.setattr(f"{place}._CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(f"{place}._VMSTAT", vmstat)
    monkeypatch.setattr(f"{place}._MEMBERSHIP", tmp_path / "membership")
    begin = memory_kills()
    assert kills_since(begin) == (0, 0)
    counters.write_text("oom_kill 3\n")
    vmstat.write_text("oom_kill 5\n")
    assert kills_since(begin) == (1, 0)
    counters.unlink()
    assert kills_since(begin) == (None, 0)
    assert kills_since("no hello of ours") == (None, None)
    assert kills_since({"container": ["only one"], "host": "text"}) == (None, None)


def test_a_signal_of_this_system_has_its_name() -> None:
    assert judge(EndFacts(died(signal.SIGKILL))).evidence["signal"] == "SIGKILL"
    assert os.WTERMSIG(9) == signal.SIGKILL
