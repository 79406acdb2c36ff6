"""`realm hosts`, which only a running service can answer."""

import json
from collections.abc import Callable

import httpx
from click.testing import Result

Invoke = Callable[..., Result]


def test_hosts_are_a_table_with_their_runs_and_ranks(invoke: Invoke, service: str) -> None:
    assert "0 hosts" in invoke("hosts", "--url", service).stderr
    processes = [
        {"producer": f"{rank:016x}", "run_id": "r7", "rank": rank, "step": 1000 + rank}
        for rank in range(10)
    ]
    processes.append({"producer": "f" * 16, "run_id": "r8"})
    beat = {"host": "gpu7", "boot_id": "x", "processes": processes}
    httpx.post(f"{service}/api/v1/heartbeat", json=beat).raise_for_status()
    result = invoke("hosts", "--url", service, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    for text in ("gpu7", "live", "ago", "r7", "0: 1,000, 1: 1,001", "and 2 more", "1 process"):
        assert text in result.stdout, text
    assert "1 host" in result.stderr
    (host,) = json.loads(invoke("hosts", "--json", "--url", service).stdout)
    assert host["host"] == "gpu7"
    assert [run["run_id"] for run in host["runs"]] == ["r7", "r8"]


def test_without_a_service_it_says_so(invoke: Invoke) -> None:
    result = invoke("hosts", "--url", "http://127.0.0.1:9")
    assert result.exit_code == 1
    assert "realm up" in result.stderr
