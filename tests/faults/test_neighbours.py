"""Exporters of one pipeline: what one cannot take is nothing to the other."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from realm_telemetry.log.sqlite.reader import LogReader
from tests.waiting import wait_until

from .conftest import Home

PLUGIN = '''
"""An exporter that chokes on a poisoned event, and takes all others."""

import os


class Choking:
    def export_events(self, events):
        if any(event.details.get("poison") for event in events):
            raise ValueError("poison")
        with open(os.environ["OTEL_EXPORTER_TAKEN"], "a") as file:
            file.writelines(f"{event.id}\\n" for event in events)
'''


@pytest.fixture
def plugged(make_home: Callable[..., Home], tmp_path: Path) -> Home:
    """A home whose producers can import the exporter."""
    (tmp_path / "plugin_of_a_hostile_test.py").write_text(PLUGIN)
    (tmp_path / "taken").touch()
    return make_home(PYTHONPATH=str(tmp_path), OTEL_EXPORTER_TAKEN=str(tmp_path / "taken"))


EXPORTERS = ("battle_log", "plugin_of_a_hostile_test:Choking", "jsonl")
OPTIONS = {"jsonl": {"format": "event"}}


def dead(home: Home) -> list[str]:
    """Ids of the dead letters."""
    with LogReader(home.log_path) as reader:
        cursors = [letter.cursor for letter in reader.now.dead_letters()]
        return [row.event.id for cursor in cursors if (row := reader.now.get(cursor))]


def exported(home: Home) -> list[str]:
    path = home.path / "logs" / "events.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line)["id"] for line in lines]


def test_a_poisoned_event_is_given_up_alone_and_the_healthy_exporter_has_all(
    plugged: Home, tmp_path: Path
) -> None:
    producer = plugged.producer(EXPORTERS, options=OPTIONS)
    ids = producer.emit(20).ids + producer.emit(1, poison=True).ids + producer.emit(20).ids
    wait_until(lambda: exported(plugged) == ids)
    assert dead(plugged) == []
    wait_until(lambda: dead(plugged) == [ids[20]], explain=plugged.shipper_log)
    assert sorted((tmp_path / "taken").read_text().split()) == sorted(ids[:20] + ids[21:])
    problem = producer.flush_in_vain("1 events were given up by an exporter")
    assert ids[20] in producer.exit() + problem


@pytest.mark.long
def test_a_poisoned_event_is_blamed_only_once_a_neighbour_has_gone_through(
    plugged: Home, tmp_path: Path
) -> None:
    """As long as nothing goes through, it may be the other side that is broken."""
    producer = plugged.producer(EXPORTERS, options=OPTIONS)
    poisoned = producer.emit(1, poison=True).ids
    assert not producer.flush(25.0)["delivered"]
    assert dead(plugged) == []
    others = producer.emit(3).ids
    wait_until(lambda: dead(plugged) == poisoned, 60, plugged.shipper_log)
    assert sorted((tmp_path / "taken").read_text().split()) == others  # halves change the order
    assert exported(plugged) == poisoned + others
