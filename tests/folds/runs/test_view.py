"""What a run shows beside its status: progress, checkpoints, configuration, the exception."""

from typing import Any

import msgspec
import pytest

from realm_telemetry.event import Event
from realm_telemetry.folds.clock import stamp_of
from realm_telemetry.folds.runs import RunRecord, is_shown, report, run_of, shown, summary
from realm_telemetry.folds.runs.record import MAX_CONFIG, MAX_METRICS, MAX_NAME, MAX_TRACEBACK
from realm_telemetry.folds.runs.view import inline

from .conftest import BEGIN_NS, SECOND, folded, told


def test_progress_is_that_of_the_last_step_and_the_least_loss() -> None:
    steps = [
        told(number, "training_step", step=number, loss=abs(5 - number) / 10, total_steps=20)
        for number in range(11)
    ]
    run = shown("r1", folded(*steps))
    assert (run["step"], run["total_steps"], run["progress"]) == (10, 20, 0.5)
    assert (run["loss"], run["best_loss"], run["steps_per_second"]) == (0.5, 0.0, 1.0)
    assert run["started_at"] == "2025-11-29T00:00:00.000000Z"
    assert (run["ended_at"], run["duration_s"]) == (None, 10.0)
    assert run["counts"] == {"events": 11, "warnings": 0, "errors": 0}


def test_speed_is_that_of_the_newest_attempt() -> None:
    events = [
        *(told(number, "training_step", step=number) for number in range(100)),
        told(200, "run_started", process="b"),
        *(told(201 + n, "training_step", process="b", step=50 + 2 * n) for n in range(20)),
    ]
    run = shown("r1", folded(*events))
    assert (run["step"], run["steps_per_second"]) == (88, 2.0)


def test_an_evaluation_of_an_older_checkpoint_is_no_progress() -> None:
    run = shown("r1", folded(told(1, "training_step", step=9), told(2, "eval_completed", step=3)))
    assert run["step"] == 9


def test_the_last_evaluation_has_its_numbers() -> None:
    """Any of them by name, NaN among them; a late one changes nothing; text is no number."""
    assert shown("r1", folded(told(1, "training_step", step=9)))["last_evaluation"] is None
    numbers: dict[str, Any] = {"step": 500, "loss": 0.31, "bleu": "NaN", "samples": 64}
    newest = told(20, "evaluation_finished", split="val", ok=True, **numbers)
    older = told(10, "evaluation_finished", step=250, loss=0.5, accuracy=0.8)
    for order in ([newest, older], [older, newest]):
        run = shown("r1", folded(told(1, "training_step", step=500), *order))
        assert run["last_evaluation"] == {
            "step": 500,
            "metrics": {"loss": 0.31, "bleu": "NaN", "samples": 64},
            "finished_at": "2025-11-29T00:00:20.000000Z",
        }
        assert (run["loss"], run["step"]) == (None, 500)
        line = "- Last evaluation: step 500, loss 0.31, bleu NaN, samples 64 (2025-11-29T00:00:20"
        assert line in report(run, [])


def test_an_evaluation_keeps_a_bounded_number_of_numbers() -> None:
    many: dict[str, Any] = {
        f"metric_{number}" + "x" * 300: number for number in range(MAX_METRICS + 1)
    }
    found = shown("r1", folded(told(1, "evaluation_finished", **many)))["last_evaluation"]
    assert len(found["metrics"]) == MAX_METRICS
    assert {len(name) for name in found["metrics"]} == {MAX_NAME}


def test_the_last_finite_checkpoint_is_before_the_first_value_that_is_not() -> None:
    saved = [told(n, "checkpoint_saved", step=n, path=f"c/{n}") for n in (1, 3, 5)]
    bad = [
        told(4, "training_step", step=4, grad_norm="NaN"),
        told(6, "training_step", step=6, loss="NaN"),
    ]
    run = shown("r1", folded(*saved, *bad))
    assert run["last_checkpoint"]["path"] == "c/5"
    assert run["last_finite_checkpoint"] == {
        "step": 3,
        "path": "c/3",
        "loss": None,
        "size_bytes": None,
        "saved_at": "2025-11-29T00:00:03.000000Z",
    }
    assert run["warnings"]["not_finite"]["field"] == "grad_norm"
    again = [told(8, "run_started", process="b"), told(9, "checkpoint_saved", process="b", step=4)]
    run = shown("r1", folded(*saved, *bad, *again))
    assert run["last_finite_checkpoint"]["step"] == 4


def test_what_the_watch_says_is_counted() -> None:
    run = shown(
        "r1",
        folded(
            told(1, "training_step", step=1),
            told(2, "loss_not_finite", by_shipper=True, field="loss", value="Infinity", step=1),
            told(3, "loss_spiked", by_shipper=True, field="loss", value=9.0, step=1),
            told(4, "run_stalled", by_shipper=True, silent_s=9),
        ),
    )
    assert run["warnings"] == {
        "not_finite": {
            "field": "loss",
            "step": 1,
            "value": "Infinity",
            "at": "2025-11-29T00:00:02.000000Z",
        },
        "spikes": 1,
        "stalls": 1,
    }


def test_configuration_is_merged_and_bounded() -> None:
    many = {f"f{number:04d}": number for number in range(300)}
    run = shown(
        "r1",
        folded(
            told(1, "run_config", more=many),
            told(2, "training_started", model="tiny", lr=0.1, total_steps=9),
            told(3, "run_config", lr=0.2, big=list(range(9_000))),
        ),
    )
    assert run["config"]["lr"] == 0.2
    assert run["config"]["model"] == "tiny"
    assert run["config"]["big"]["truncated"] is True
    assert len(run["config"]) == MAX_CONFIG


def test_the_exception_is_that_of_the_rank_that_failed_first() -> None:
    long = "x" * 20_000 + "the end"
    events = [
        *(told(0, "run_started", rank, world_size=2) for rank in (0, 1)),
        told(1, "uncaught_exception", 1, error="handled", thread="loader"),
        told(2, "training_step", 1, step=1),
        told(3, "uncaught_exception", 1, error="no data", error_type="ValueError", traceback=long),
        told(
            3.1,
            "uncaught_exception",
            0,
            error="closed",
            error_type="ConnectionError",
            traceback="t",
        ),
        told(3.2, "run_ended", 0, status="failed", reason="ConnectionError: closed"),
        told(4, "run_ended", 1, status="failed", reason="ValueError: no data", by_shipper=True),
    ]
    run = shown("r1", folded(*events))
    assert (run["reason"], run["first_failed_rank"]) == ("ValueError: no data", 1)
    assert run["exception"] == {
        "rank": 1,
        "error": "no data",
        "error_type": "ValueError",
        "thread": None,
        "traceback": long[-MAX_TRACEBACK:],
        "at": "2025-11-29T00:00:03.000000Z",
    }
    short = summary("r1", folded(*events))
    assert "traceback" not in short["exception"]
    assert not {"ranks", "config", "evidence"} & short.keys()


def test_an_exception_is_shown_until_its_process_goes_on() -> None:
    """Other software does not say that its process has ended."""
    error = {"exception.type": "ValueError", "exception.message": "no data"}
    events = [told(1, "training_step", step=1), told(2, "exception", more=error)]
    run = shown("r1", folded(*events))
    assert (run["status"], run["exception"]["error"]) == ("running", "no data")
    assert shown("r1", folded(*events, told(3, "training_step", step=2)))["exception"] is None
    assert shown("r1", folded(events[1]))["exception"]["error_type"] == "ValueError"


def test_a_process_without_a_run_id_is_a_run_only_once_it_trains() -> None:
    step, note = (told(1, kind, step=1) for kind in ("training_step", "note"))
    lost = told(2, "process_lost")
    alone = [type(one)(**{**_fields(one), "run_id": None}) for one in (step, note, lost)]
    assert [run_of(event) for event in alone] == ["a" * 16, None, "a" * 16]
    assert not is_shown(folded(alone[2]))
    assert is_shown(folded(alone[0], alone[2]))


def _fields(event: Event) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__struct_fields__}


def test_a_report_says_what_a_person_needs_and_no_text_is_read_as_markdown() -> None:
    events = [
        told(0, "run_started", command="python train.py <b>", git_commit="abc"),
        told(1, "checkpoint_saved", step=1, path="c/1"),
        told(2, "uncaught_exception", error="bad | *thing*", error_type="E", traceback="a\n```\nb"),
        told(3, "run_ended", status="failed", reason="E: bad", evidence={"exit_code": 1}),
        told(4, "<img src=x>"),
    ]
    text = report(shown("team/r 1 🐉", folded(*events)), events)
    assert text.startswith("# Run team/r 1 🐉\n\n**failed** · E: bad\n")
    assert "- Command: python train.py \\<b\\>" in text
    assert "- Last checkpoint: step 1, c/1 (2025-11-29T00:00:01.000000Z)" in text
    assert "- exit_code: 1" in text
    assert "E: bad \\| \\*thing\\*" in text
    assert "````\na\n```\nb\n````" in text
    assert "- 2025-11-29T00:00:03Z run_ended: run_ended" in text
    assert "- 2025-11-29T00:00:04Z \\<img src=x\\>: " in text


def test_a_clock_that_is_ahead_does_not_freeze_a_run() -> None:
    ahead = told(9_000, "training_step", step=5)
    ahead = type(ahead)(**{**_fields(ahead), "observed_unix_nano": BEGIN_NS + 10 * SECOND})
    run = shown("r1", folded(ahead, told(11, "training_step", step=6)))
    assert run["step"] == 6


def test_hosts_and_the_most_memory_come_from_what_shippers_say() -> None:
    events = [
        told(0, "run_started", 0),
        told(10, "resource_sampled", 0, by_shipper=True, host="node7", rss_bytes=5),
        told(11, "run_ended", 0, by_shipper=True, status="killed", peak_rss_bytes=9, host="node7"),
        told(12, "run_ended", 1, by_shipper=True, status="killed", peak_rss_bytes=7, host="node8"),
    ]
    run = shown("r1", folded(*events))
    assert run["hosts"] == ["node7", "node8"]
    assert run["peak_rss_bytes"] == 9


def test_the_exception_that_ended_a_run_is_shown_though_other_threads_went_on() -> None:
    error = {"error": "ValueError: main", "error_type": "ValueError", "traceback": "T"}
    run = shown(
        "r1",
        folded(
            told(1, "training_step", step=1),
            told(1.5, "uncaught_exception", error="KeyError: other", thread="loader"),
            told(2, "uncaught_exception", thread="MainThread", more=error),
            told(3, "training_step", step=2),
            told(4, "run_ended", status="failed", reason="ValueError: main"),
        ),
    )
    assert run["exception"]["traceback"] == "T"
    assert run["exception"]["error"] == "ValueError: main"


def test_the_exception_below_a_supervisor_is_shown_where_the_program_had_ended_its_run() -> None:
    error = {"error": "ValueError: late", "error_type": "ValueError", "traceback": "T"}
    run = shown(
        "r1",
        folded(
            told(0, "run_started", process="f", launcher="realm run"),
            told(1, "training_step", step=1),
            told(2, "training_completed", step=1),
            told(3, "uncaught_exception", thread="MainThread", more=error),
            told(4, "run_ended", process="f", status="failed", reason="ValueError: late"),
        ),
    )
    assert (run["status"], run["exception"]["traceback"]) == ("failed", "T")


def test_of_many_numbers_those_stay_that_came_last() -> None:
    """At the limit, one above it, and with names that come only once."""
    many = [told(at, "training_step", step=at, more={f"n{at}": at}) for at in range(1, 66)]
    assert len(shown("r1", folded(*many[:64]))["metrics"]) == 64
    kept = shown("r1", folded(*many))["metrics"]
    assert (len(kept), "n1" in kept, kept["n65"]) == (64, False, 65)
    again = RunRecord.load(folded(*many).dump())
    assert shown("r1", again)["metrics"] == kept


def test_a_record_of_an_older_version_has_no_numbers_until_its_next_event() -> None:
    old = msgspec.msgpack.encode(msgspec.msgpack.decode(folded(told(1, "note")).dump())[:-1])
    record = RunRecord.load(old)
    assert shown("r1", record)["metrics"] == {}
    step = told(2, "training_step", step=1, acc=0.5)
    record.apply(step, stamp_of(step))
    assert shown("r1", record)["metrics"] == {"acc": 0.5}


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("~~no~~ ~5", r"\~\~no\~\~ ~5"),
        ("$x$", r"\$x\$"),
        ("&lt;b&#62; a & b", r"\&lt;b\&\#62; a & b"),
        ("<b>[a](x)|`", r"\<b\>\[a\](x)\|\`"),
        ("a_b _c_", r"a_b \_c\_"),
    ],
)
def test_text_of_an_event_is_no_markdown(text: str, left: str) -> None:
    assert inline(text) == left
