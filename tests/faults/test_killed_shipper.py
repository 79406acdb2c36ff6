"""The shipper is killed at any instant: the next one goes on where it was."""

import random
import signal
import time

import pytest

from tests.waiting import wait_until

from .conftest import Home, check_once_in_order, holder, kill_shipper, start_shipper


@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=pytest.mark.long)])
def test_a_shipper_killed_while_two_producers_emit_loses_and_repeats_nothing(
    home: Home, kills: int
) -> None:
    first, second = home.producer(), home.producer()
    for producer in (first, second):
        producer.tell("emit", count=10**6, seconds=kills * 0.75, pace_s=0.0005)
    chance, killed = random.Random(kills), 0
    while killed < kills:
        start_shipper(first.pipeline_dir)
        wait_until(lambda: holder(first.pipeline_dir))
        time.sleep(chance.uniform(0.0, 0.4))
        killed += kill_shipper(first.pipeline_dir)
    start_shipper(first.pipeline_dir)
    emitted = [producer.answer().ids for producer in (first, second)]
    assert all(producer.flush()["delivered"] for producer in (first, second))
    check_once_in_order(home.logged(), *emitted)
    assert len(home.logged()) == sum(map(len, emitted)) > kills * 300


def test_a_producer_that_ends_after_its_shipper_was_killed_starts_another(home: Home) -> None:
    """Its heartbeat is fresh for a while yet; the events must not wait for the next producer."""
    producer = home.producer()
    producer.emit(10)
    assert producer.flush()["delivered"]
    kill_shipper(producer.pipeline_dir)
    time.sleep(5.1)  # a keeper starts one every 5 s at the most
    ids = producer.emit(10).ids
    producer.exit()
    wait_until(lambda: set(ids) <= set(home.logged()))


@pytest.mark.parametrize("serving", ["before", pytest.param("after", marks=pytest.mark.long)])
def test_program_and_shipper_killed_together_are_told_by_the_service(
    home: Home, serving: str
) -> None:
    """As by `scancel`, `docker stop` or a power failure: within ten seconds or of its start."""
    if serving == "before":
        home.service.start()
    producer = home.producer()
    ids = producer.emit(50).ids
    wait_until(lambda: holder(producer.pipeline_dir) != 0)
    # The program stands still, so that it cannot start another shipper before it is killed.
    producer.process.send_signal(signal.SIGSTOP)
    assert kill_shipper(producer.pipeline_dir)
    producer.process.kill()
    producer.process.wait()
    if serving == "after":
        home.service.start()
    wait_until(lambda: home.logged("kind = 'process_lost'"))
    check_once_in_order(home.logged(), ids)
    wait_until(lambda: holder(producer.pipeline_dir) == 0)
