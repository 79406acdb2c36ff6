"""Ten thousand events from eight processes, beside a job store that writes to the same file."""

import sqlite3
import threading
import time
from pathlib import Path

import pytest

from .conftest import Home, check_once_in_order

LONGEST_HOLD_S = 0.1


class JobStore:
    """An older program with a table of its own in the log's file; one commit a job."""

    def __init__(self, path: Path) -> None:
        self.took_s: list[float] = []
        self.problems: list[str] = []
        self._stop = threading.Event()
        self._path = path
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self) -> None:
        database = sqlite3.connect(self._path, timeout=5.0, isolation_level=None)
        database.execute("CREATE TABLE IF NOT EXISTS jobs (id INTEGER PRIMARY KEY, state TEXT)")
        while not self._stop.is_set():
            began = time.perf_counter()
            try:
                database.execute("INSERT INTO jobs (state) VALUES ('queued')")
            except sqlite3.Error as error:
                self.problems.append(str(error))
            self.took_s.append(time.perf_counter() - began)
            time.sleep(0.002)
        database.close()

    def stop(self) -> None:
        """End after the commit in hand."""
        self._stop.set()
        self._thread.join()


@pytest.mark.alone
@pytest.mark.parametrize(("pace_s", "commits"), [(0.004, 200), (0.0, 5)], ids=["paced", "at once"])
def test_ten_thousand_events_from_eight_processes_and_a_job_store_that_is_never_held_up(
    home: Home, pace_s: float, commits: int
) -> None:
    """Over some seconds, where the store commits often, and as fast as they can."""
    home.log_path.parent.mkdir(parents=True)
    store = JobStore(home.log_path)
    producers = [home.producer() for _ in range(8)]
    assert all(producer.emit(1) and producer.flush()["delivered"] for producer in producers)
    store.took_s.clear()
    for producer in producers:
        producer.tell("emit", count=1249, pace_s=pace_s)
    emitted = [producer.answer() for producer in producers]
    assert all(producer.flush()["delivered"] for producer in producers)
    store.stop()
    output = [producer.exit() for producer in producers]
    logged = home.logged()
    check_once_in_order(logged, *(answer.ids for answer in emitted))
    assert len(logged) == 10_000
    receipts = home.receipts()
    assert all(receipts[producer.id].stored == 1250 for producer in producers)
    assert "locked" not in "".join(output) + home.shipper_log()
    assert store.problems == []
    assert len(store.took_s) > commits
    assert max(store.took_s) < LONGEST_HOLD_S
