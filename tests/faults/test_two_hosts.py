"""Two homes stand for two hosts: a worker ships over HTTP to a service elsewhere."""

from collections.abc import Callable

import pytest

from tests.waiting import wait_until

from .conftest import Home, check_once_in_order


@pytest.mark.parametrize("count", [500, pytest.param(5000, marks=pytest.mark.long)])
def test_a_service_away_for_a_while_delays_and_loses_nothing(
    make_home: Callable[..., Home], count: int
) -> None:
    elsewhere, here = make_home("elsewhere"), make_home("here")
    elsewhere.service.start()
    worker = here.producer(["realm_service"], service_url=elsewhere.service.url)
    ids = worker.emit(count).ids
    flushed = worker.flush()
    assert flushed["delivered"], flushed
    assert elsewhere.logged() == ids

    elsewhere.service.kill()
    ids += worker.emit(count, pace_s=0.0005).ids
    waiting = f"{count} of {2 * count} events wait for an exporter"
    assert "realm serve" in worker.flush_in_vain(waiting, elsewhere.service.url)
    assert elsewhere.logged() == ids[:count]

    elsewhere.service.start()
    flushed = worker.flush()
    assert flushed["delivered"], flushed
    check_once_in_order(elsewhere.logged(), ids)
    assert len(elsewhere.logged()) == 2 * count
    output = worker.exit()
    assert output.count(elsewhere.service.url) == 1, output
    wait_until(lambda: elsewhere.receipts()[worker.id].ended)
    receipt = elsewhere.receipts()[worker.id]
    assert (receipt.emitted, receipt.stored, receipt.dropped) == (2 * count, 2 * count, 0)
    assert receipt.complete


def test_a_worker_that_ends_while_the_service_is_away_is_delivered_by_its_shipper(
    make_home: Callable[..., Home],
) -> None:
    elsewhere, here = make_home("elsewhere"), make_home("here")
    worker = here.producer(["realm_service"], service_url=elsewhere.service.url)
    ids = worker.emit(300).ids
    worker.exit()
    elsewhere.service.start()
    wait_until(lambda: elsewhere.logged() == ids)
    wait_until(lambda: elsewhere.receipts()[worker.id].complete)
