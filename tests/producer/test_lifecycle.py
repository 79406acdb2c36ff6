"""lifecycle as a context, an async context and a decorator."""

import asyncio
import sys

import pytest

from realm_telemetry.producer import instrument
from realm_telemetry.producer.instrument import lifecycle


def kinds(events):
    return [event.kind for event in events]


def test_a_block_that_ends_well_is_started_and_completed(emitted):
    with lifecycle("job", job_id="abc123", job_type="eval", worker_id="w1") as job:
        assert kinds(emitted) == ["job_started"]
        job.set(accuracy=0.9)
        job.set(tries=2)
    started, completed = emitted
    fields = {"job_id": "abc123", "job_type": "eval", "worker_id": "w1"}
    assert started.details == fields
    assert started.message == "Job abc123 started (eval, on w1)"
    assert (completed.kind, completed.severity) == ("job_completed", "success")
    duration_s = completed.details["duration_s"]
    assert 0 <= duration_s < 60
    assert completed.details == fields | {
        "duration_s": duration_s,
        "accuracy": 0.9,
        "tries": 2,
    }
    assert completed.message == f"Job abc123 completed ({duration_s:.1f} s)"


def test_a_block_that_raises_has_failed_and_the_exception_goes_on(emitted):
    error = ValueError("bad")
    job = lifecycle("job", job_id="j")
    with pytest.raises(ValueError, match="bad") as caught, job:
        raise error
    assert caught.value is error
    assert error.__context__ is None
    failed = emitted[1]
    assert (failed.kind, failed.severity) == ("job_failed", "error")
    assert failed.message == "Job j failed: ValueError: bad"
    assert failed.details["error_type"] == "ValueError"


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), SystemExit(), SystemExit(0), asyncio.CancelledError(), GeneratorExit()],
)
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("job", "job_cancelled"),
        ("training", "training_cancelled"),
        ("eval", "eval_cancelled"),
        ("backup", "backup_failed"),
    ],
)
def test_what_is_no_exception_has_cancelled_or_where_there_is_no_such_kind_failed(
    emitted, error, name, kind
):
    with pytest.raises(type(error)), lifecycle(name, job_id="j"):
        raise error
    assert emitted[1].kind == kind
    field = "reason" if kind.endswith("cancelled") else "error_type"
    assert emitted[1].details[field].startswith(type(error).__name__)


@pytest.mark.parametrize("code", [3, "no data", True, -1, ""])
def test_an_exit_with_another_code_than_0_has_failed(emitted, code):
    with pytest.raises(SystemExit), lifecycle("training"):
        sys.exit(code)
    assert emitted[1].kind == "training_failed"
    assert emitted[1].details["error_type"] == "SystemExit"


def test_a_name_of_ones_own_works_and_has_fitting_severities(emitted):
    with lifecycle("backup", path="/data"):
        pass
    with pytest.raises(OSError, match="full"), lifecycle("backup"):
        raise OSError("full")
    assert kinds(emitted) == [
        "backup_started",
        "backup_completed",
        "backup_started",
        "backup_failed",
    ]
    assert [event.severity for event in emitted] == ["info", "success", "info", "error"]
    assert emitted[0].message == "Backup started (path: /data)"
    assert {event.channel for event in emitted} == {"system"}


def test_hero_and_campaign_are_the_events_own_and_none_is_left_out(emitted):
    with lifecycle("training", hero_id="dio", campaign_id="c1", model=None, source="disk"):
        pass
    assert {(event.hero_id, event.campaign_id) for event in emitted} == {("dio", "c1")}
    assert emitted[0].details == {"source": "disk"}


def test_it_is_an_async_context(emitted):
    async def run():
        async with lifecycle("job", job_id="j") as job:
            await asyncio.sleep(0)
            job.set(accuracy=0.5)

    asyncio.run(run())
    assert kinds(emitted) == ["job_started", "job_completed"]
    assert emitted[1].details["accuracy"] == 0.5


def test_a_cancelled_task_has_cancelled(emitted):
    async def work():
        async with lifecycle("job", job_id="j"):
            await asyncio.sleep(60)

    async def run():
        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(run())
    assert kinds(emitted) == ["job_started", "job_cancelled"]


def test_it_decorates_functions_and_takes_what_they_return(emitted):
    @lifecycle("eval", skill="sums", level=3)
    def evaluate(accuracy):
        return {"accuracy": accuracy}

    assert evaluate(0.925) == {"accuracy": 0.925}
    assert kinds(emitted) == ["eval_started", "eval_completed"]
    assert emitted[1].message == "Eval completed (sums level 3, 92.5%)"


def test_it_decorates_coroutines_and_each_call_is_a_block_of_its_own(emitted):
    @lifecycle("eval", skill="sums", level=3)
    async def evaluate(accuracy):
        await asyncio.sleep(0)
        return {"accuracy": accuracy}

    async def run():
        await asyncio.gather(evaluate(0.1), evaluate(0.2))

    asyncio.run(run())
    assert kinds(emitted) == ["eval_started"] * 2 + ["eval_completed"] * 2
    assert sorted(event.details["accuracy"] for event in emitted[2:]) == [0.1, 0.2]


def test_a_recursive_function_nests(emitted):
    @lifecycle("job", job_id="j")
    def down(depth):
        if depth:
            down(depth - 1)

    down(1)
    assert kinds(emitted) == ["job_started"] * 2 + ["job_completed"] * 2


def test_a_bare_decorator_is_an_error_that_says_so():
    with pytest.raises(TypeError, match=r'A name has to be given: lifecycle\("job"\)'):
        lifecycle(print)


def test_the_wrong_order_of_decorators_is_an_error_that_says_so():
    with pytest.raises(TypeError, match="Put @staticmethod first"):
        lifecycle("job")(staticmethod(lambda: None))


def test_a_lifecycle_used_again_starts_afresh(emitted):
    job = lifecycle("job", job_id="j")
    with job:
        job.set(first=True)
    with job:
        pass
    assert "first" in emitted[1].details
    assert "first" not in emitted[3].details


def test_telemetrys_own_trouble_never_escapes(monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("telemetry is broken")

    monkeypatch.setattr(instrument, "emit", broken)
    with lifecycle("job", job_id="j"):
        reached = True
    assert reached
    with pytest.raises(ValueError, match="bad") as caught, lifecycle("job", job_id="j"):
        raise ValueError("bad")
    assert caught.value.__context__ is None
