"""What is asked about alerts holds up nothing else, and messages by hand are counted."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from realm_telemetry.service.alert_jobs import MAX_SENT, MAX_WAITING, WINDOW_S, AlertJobs
from realm_telemetry.service.errors import ApiError
from tests.waiting import wait_until

from .conftest import asking, free_ports, post_notes, serving


@contextmanager
def hanging() -> Iterator[socket.socket]:
    """A receiver that takes connections and never answers; they end with it."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield listener


def test_a_receiver_that_hangs_holds_up_nothing_else(tmp_path: Path) -> None:
    """Tests of targets wait ten seconds each, and had the threads that read bodies."""
    with hanging() as receiver:
        url = f"http://127.0.0.1:{receiver.getsockname()[1]}/x"
        target = {"targets": {"slow": {"url": url}}, "allow_hosts": ["127.0.0.1"]}
        settings = free_ports(tmp_path, options={"webhook": target})
        with serving(settings) as server, asking(server) as client:
            with ThreadPoolExecutor(MAX_WAITING) as threads:
                tests = [threads.submit(send_test, client) for _ in range(MAX_WAITING)]
                jobs = server.app.state.service.alert_jobs
                wait_until(lambda: jobs._waiting == MAX_WAITING)
                post_notes(client, 1, 500)
                assert client.get("/metrics").status_code == 200
                assert client.get("/api/alerts").status_code == 200
                refused = send_test(client)
                assert (refused.status_code, refused.json()["error"]) == (429, "too_many_alerts")
                assert refused.headers["retry-after"]
                assert not any(test.done() for test in tests)
                receiver.close()
            for test in tests:
                assert test.result().json()["delivered"] is False


def send_test(client: httpx.Client) -> httpx.Response:
    return client.post("/api/alerts", json={"test": "slow"}, timeout=60)


@pytest.mark.anyio
async def test_only_so_many_messages_leave_in_a_minute() -> None:
    """What sends nothing is not counted."""
    now_s = 0.0
    jobs = AlertJobs(lambda: now_s)
    for _ in range(MAX_SENT):
        assert await jobs.run(lambda: "sent", sends=True) == "sent"
    with pytest.raises(ApiError, match="too_many_alerts") as refused:
        await jobs.run(lambda: "sent", sends=True)
    assert refused.value.retry_after_s == WINDOW_S
    assert await jobs.run(lambda: "muted") == "muted"
    now_s = WINDOW_S
    assert await jobs.run(lambda: "sent", sends=True) == "sent"
    jobs.close()
    with pytest.raises(ApiError, match="shutting_down"):
        await jobs.run(lambda: "late")
