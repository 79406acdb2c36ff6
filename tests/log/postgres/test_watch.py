"""A watch wakes up by a notice, and outlives its server."""

import select
from collections.abc import Callable
from contextlib import closing, suppress

import pytest

from realm_telemetry.log.engine import open_log
from realm_telemetry.log.errors import LogUnavailableError
from tests.postgres_server import Server
from tests.waiting import PATIENCE_S, wait_until

from .conftest import make_event

pytestmark = pytest.mark.processes


def test_a_commit_makes_the_descriptor_readable(url: Callable[..., str]) -> None:
    log = open_log(url())
    with log.writer() as writer, closing(log.watch()) as watch:
        assert watch.changed()
        watch.caught_up()
        watch.drain()
        writer.append([make_event(1)])
        descriptor = watch.descriptor()
        assert descriptor is not None
        assert select.select([descriptor], [], [], PATIENCE_S)[0]
        assert watch.changed()
        assert watch.drain()


def test_a_watch_goes_on_after_a_restart_and_says_so_meanwhile() -> None:
    with Server() as server:
        log = open_log(server.url())
        log.writer().close()
        with closing(log.watch()) as watch:
            watch.changed()
            watch.caught_up()
            server.kill()

            def is_away() -> bool:
                try:
                    watch.changed()
                except LogUnavailableError:
                    return True
                return False

            wait_until(is_away)
            server.start()
            with log.writer() as writer:
                writer.append([make_event(1)])

            def has_changed() -> bool:
                with suppress(LogUnavailableError):
                    return watch.changed()
                return False

            wait_until(has_changed)
