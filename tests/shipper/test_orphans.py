"""A pipeline of which no process is left is adopted, and one that is looked after is left alone."""

import pytest

from realm_telemetry.shipper.orphans import Adoption


@pytest.fixture
def started(monkeypatch):
    """The pipelines that a shipper was started for; none is really started."""
    started = []
    monkeypatch.setattr(
        "realm_telemetry.shipper.orphans.launch", lambda path: started.append(path) or 0
    )
    monkeypatch.setattr("realm_telemetry.shipper.orphans.reap", lambda _pid: True)
    return started


def adoption_of(lab, clock, log_path=None):
    log_path = log_path or lab.home / "vault" / "jobs.db"
    roots = [lab.home / "nowhere", lab.spool_root]
    return Adoption(roots, log_path, lambda _text: None, clock)


def test_a_dead_producer_without_a_shipper_is_adopted_and_a_living_one_is_not(make_lab, started):
    lab = make_lab()
    producer = lab.producer()
    producer.emit_many(3)
    looking = adoption_of(lab, lambda: 0.0)
    looking.look()
    assert started == []
    producer.die()
    looking.look()
    assert started == [lab.pipeline_dir]


def test_a_pipeline_of_another_log_is_left_alone(make_lab, started, tmp_path):
    lab = make_lab()
    producer = lab.producer()
    producer.emit_many(3)
    producer.die()
    adoption_of(lab, lambda: 0.0, tmp_path / "other.db").look()
    assert started == []


def test_a_shipper_that_does_not_finish_is_started_ever_less_often(make_lab, started):
    """Until there is another spool."""
    lab = make_lab()
    producer = lab.producer()
    producer.emit_many(3)
    producer.die()
    now_s = 0.0
    looking = adoption_of(lab, lambda: now_s)
    for now_s in range(0, 3600, 4):  # noqa: B007 - the clock reads it
        looking.look()
    assert 8 <= len(started) <= 20
    looking.look()
    before = len(started)
    another = lab.producer()
    another.emit_many(1)
    another.die()
    looking.look()
    assert len(started) == before + 1
