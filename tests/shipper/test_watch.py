"""A loss gone wrong and steps that stay away are found once, and noise is not taken for either."""

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from realm_telemetry.errors import ConfigError
from realm_telemetry.event import Event
from realm_telemetry.shipper.spools import Spool
from realm_telemetry.shipper.watch import Watch, WatchSettings, watch_settings

SECOND_NS = 1_000_000_000


class Trainer:
    """A producer's spool, what it emits, and a watch over it. Time is the test's."""

    def __init__(self, lab: Any, settings: WatchSettings | None = None) -> None:
        self.producer = lab.producer()
        self.watch = Watch(settings or WatchSettings(), lambda: 0)
        self.spool = Spool(self.producer.writer.directory, lambda *_: None)
        self.now_s, self._number, self._step = 1000.0, 0, 0
        self.emit("run_started")

    def emit(
        self, kind: str, run_id: str | None = "r", channel: str = "training", **details: Any
    ) -> None:
        self._number += 1
        now_ns = round(self.now_s * SECOND_NS)
        event = Event(
            kind, channel, "info", "", details, now_ns, self.spool.producer, self._number,
            run_id=run_id,
        )  # fmt: skip
        self.spool.notes.follow([event])
        self.spool.last_frame_s = self.now_s
        self.watch.read(self.spool, [event])

    def steps(self, count: int, every_s: float = 1.0) -> None:
        for _ in range(count):
            self._step += 1
            self.now_s += every_s
            self.emit("training_step", step=self._step, loss=0.5)

    def losses(self, values: list[Any], field: str = "loss") -> None:
        for step, value in enumerate(values):
            shown = value if isinstance(value, str) else float(value)
            details: dict[str, Any] = {"step": step, field: shown}
            self.emit("training_step", **details)

    def wait(self, seconds: float) -> list[Event]:
        """What is found while nothing happens for some time."""
        found = []
        for _ in range(int(seconds)):
            self.now_s += 1
            self.watch.look([self.spool], self.now_s)
            found += self.watch.take()
        return found

    def found(self) -> list[tuple[str, dict[str, Any]]]:
        return [(event.kind, event.details) for event in self.watch.take()]


@pytest.fixture
def trainer(make_lab: Callable[..., Any]) -> Trainer:
    return Trainer(make_lab())


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_any_number_that_is_not_finite_is_found_once_for_each_field(
    trainer: Trainer, value: str
) -> None:
    trainer.losses([0.5, value, value])
    trainer.losses([value, 0.5, value], field="grad_norm")
    assert trainer.found() == [
        ("loss_not_finite", {"field": "loss", "value": value, "step": 1}),
        ("loss_not_finite", {"field": "grad_norm", "value": value, "step": 0}),
    ]


def test_a_shipper_that_begins_again_finds_the_same_event(make_lab: Callable[..., Any]) -> None:
    first = Trainer(make_lab())
    first.losses(["NaN"])
    (event,) = first.watch.take()
    again = Watch(WatchSettings(), lambda: 1)
    first.watch = again
    first.losses(["NaN"])
    (repeated,) = again.take()
    assert repeated.id == event.id
    assert (event.run_id, event.severity) == ("r", "error")


def test_a_loss_of_exactly_zero_twice_is_reported_as_a_hidden_nan(trainer: Trainer) -> None:
    trainer.losses([3.14, 0.0, 0.5, 0.0, 0.0, 0.0])
    ((kind, details),) = trainer.found()
    assert (kind, details["value"], details["step"]) == ("loss_not_finite", "0.0", 4)
    assert "NaN" in details["note"]


def test_events_of_no_run_are_not_looked_at(trainer: Trainer) -> None:
    trainer.emit("note", run_id=None, value="NaN")
    assert trainer.found() == []


def test_a_spike_is_reported_at_its_third_step_and_once(trainer: Trainer) -> None:
    noise = random.Random(1)
    usual = [2.0 + noise.gauss(0, 0.05) for _ in range(100)]
    trainer.losses([*usual, 9.0, 9.0, 2.0, 9.0, 9.0, 9.0, 9.0, 2.0])
    ((kind, details),) = trainer.found()
    assert (kind, details["field"], details["value"]) == ("loss_spiked", "loss", 9.0)
    assert details["step"] == 105
    assert details["median"] == pytest.approx(2.0, abs=0.05)


def test_a_rise_below_a_quarter_or_within_the_noise_is_no_spike(trainer: Trainer) -> None:
    noise = random.Random(1)
    trainer.losses([2.0] * 100 + [2.49] * 50)
    trainer.losses([noise.uniform(0.1, 4.0) for _ in range(100)] + [5.0] * 10, field="val_loss")
    assert trainer.found() == []


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["normal", "lognormal", "t3", "falling"])
def test_noise_is_no_spike(trainer: Trainer, shape: str) -> None:
    chance = random.Random(7)

    def t3() -> float:
        return chance.gauss(0, 1) / math.sqrt(chance.gammavariate(1.5, 2.0) / 3)

    draw = {
        "normal": lambda _: 2.0 + chance.gauss(0, 0.3),
        "lognormal": lambda _: chance.lognormvariate(0, 1),
        "t3": lambda _: 2.0 + 0.3 * t3(),
        "falling": lambda step: 10 / (1 + step / 50) + abs(chance.gauss(0, 0.1)),
    }[shape]
    trainer.losses([draw(step) for step in range(20_000)])
    assert trainer.found() == []


def test_a_process_that_makes_no_steps_for_far_longer_than_usual_has_stalled(
    trainer: Trainer,
) -> None:
    """Once; and the next step ends the stall."""
    trainer.steps(20, every_s=10.0)
    assert trainer.wait(199) == []
    (event,) = trainer.wait(300)
    assert (event.kind, event.run_id) == ("run_stalled", "r")
    assert event.details["silent_s"] == pytest.approx(200, abs=1.5)
    assert event.details["threshold_s"] == 200
    assert event.details["median_step_s"] == 10
    assert event.details["last_step"] == 20
    trainer.steps(1)
    (resumed,) = trainer.wait(2)
    assert resumed.kind == "run_resumed_progress"
    assert resumed.details["silent_s"] == pytest.approx(500, abs=2)


@pytest.mark.parametrize(
    ("steps", "every_s", "threshold_s"),
    [(30, 0.01, 120), (30, 30, 600), (5, 1, 1800), (0, 1, 1800)],
)
def test_the_threshold_follows_the_pace(
    trainer: Trainer, steps: int, every_s: float, threshold_s: int
) -> None:
    trainer.steps(steps, every_s=every_s)
    assert trainer.wait(threshold_s - 2) == []
    assert [event.kind for event in trainer.wait(4)] == ["run_stalled"]


def test_a_pause_that_was_seen_before_is_no_stall(trainer: Trainer) -> None:
    trainer.steps(30)
    trainer.steps(1, every_s=400)
    trainer.steps(30)
    assert trainer.wait(790) == []
    assert len(trainer.wait(20)) == 1


def test_a_program_that_hangs_in_its_exit_is_found_sooner(trainer: Trainer) -> None:
    trainer.steps(30)
    trainer.emit(
        "uncaught_exception", error="ValueError: x", thread="MainThread", ends_process=True
    )
    assert trainer.wait(59) == []
    (event,) = trainer.wait(2)
    found = {name: event.details[name] for name in ("phase", "error", "threshold_s")}
    assert found == {"phase": "exit", "error": "ValueError: x", "threshold_s": 60.0}


@pytest.mark.parametrize("goes_on", ["it makes a step", "its exception ended nothing"])
def test_a_program_that_goes_on_after_an_exception_has_its_usual_time(
    trainer: Trainer, goes_on: str
) -> None:
    trainer.steps(30)
    ends: dict[str, Any] = {"ends_process": True} if goes_on == "it makes a step" else {}
    trainer.emit("uncaught_exception", error="ValueError: x", thread="MainThread", **ends)
    trainer.steps(1 if ends else 0)
    assert trainer.wait(110) == []
    assert "phase" not in trainer.wait(20)[0].details


def test_an_evaluation_may_take_longer(trainer: Trainer) -> None:
    trainer.steps(30)
    trainer.emit("eval_started", skill="logic", level=1)
    assert trainer.wait(890) == []
    (event,) = trainer.wait(20)
    assert event.details["phase"] == "eval"


def test_an_evaluation_of_the_loop_may_take_longer_until_it_has_finished(
    trainer: Trainer,
) -> None:
    trainer.steps(30)
    trainer.emit("evaluation_started", step=30)
    assert trainer.wait(300) == []
    trainer.emit("evaluation_finished", step=30, loss=0.5)
    assert trainer.wait(590) == []  # twice the longest pause
    (event,) = trainer.wait(20)
    assert event.kind == "run_stalled"
    assert "phase" not in event.details


def test_any_event_of_the_process_is_a_sign_of_life(trainer: Trainer) -> None:
    trainer.steps(30)
    for _ in range(10):
        assert trainer.wait(100) == []
        trainer.emit("note")


def test_a_rank_without_steps_may_leave_them_to_another(make_lab: Callable[..., Any]) -> None:
    """As frameworks record steps on rank 0 alone; where no rank steps, 1,800 s are too long."""
    lab = make_lab()
    silent, stepping = Trainer(lab), Trainer(lab)
    silent.watch = stepping.watch
    silent.emit("note")
    stepping.now_s = silent.now_s
    stepping.steps(20)
    begin_s = stepping.now_s
    found = []
    for second in range(0, 4000, 10):
        stepping.now_s = begin_s + second
        stepping.emit("note")
        stepping.watch.look([silent.spool, stepping.spool], stepping.now_s)
        found += stepping.watch.take()
    assert found == []


def test_a_supervisor_is_silent_on_purpose(make_lab: Callable[..., Any]) -> None:
    trainer = Trainer(make_lab())
    trainer.emit("run_started", launcher="realm run")
    assert trainer.wait(4000) == []


def test_runs_in_one_process_are_watched_apart(make_lab: Callable[..., Any]) -> None:
    trainer = Trainer(make_lab())
    trainer.emit("run_started", run_id="s")
    for step in range(5):
        for run_id in ("r", "s"):
            trainer.emit("training_step", run_id=run_id, step=step, loss="NaN")
    assert [event.run_id for event in trainer.watch.take()] == ["r", "s"]
    trainer.emit("run_ended", run_id="s", status="completed")
    assert [run.id for run in trainer.spool.notes.open_runs()] == ["r"]


@pytest.mark.parametrize(
    ("kind", "details"),
    [
        ("run_config", {"max_grad_norm": "Infinity"}),
        ("training_started", {"clip": "NaN"}),
        ("note", {"text": "NaN"}),
    ],
)
def test_what_is_no_step_has_no_loss(trainer: Trainer, kind: str, details: dict[str, Any]) -> None:
    trainer.emit(kind, **details)
    assert trainer.found() == []


def test_a_run_that_has_ended_does_not_stall(trainer: Trainer) -> None:
    trainer.steps(30)
    trainer.emit("run_ended", status="completed")
    assert trainer.wait(2000) == []


def test_a_run_of_which_all_is_read_at_once_is_looked_at_too(trainer: Trainer) -> None:
    """As when the shipper starts late, or the machine is busy."""
    given: list[tuple[str, dict[str, Any]]] = [
        ("training_step", {"step": 1, "loss": "NaN"}),
        ("run_ended", {"status": "failed"}),
    ]
    events = [
        Event(kind, "training", "info", "", details, 0, trainer.spool.producer, number, run_id="r")
        for number, (kind, details) in enumerate(given, 2)
    ]
    trainer.spool.notes.follow(events)
    trainer.watch.read(trainer.spool, events)
    assert [kind for kind, _ in trainer.found()] == ["loss_not_finite"]


def test_a_run_that_ended_and_made_room_for_the_next_within_one_read_is_looked_at(
    trainer: Trainer,
) -> None:
    """By the notes alone it is gone by then, whether it began in this read or before."""
    for begins in (True, False):
        run_id = "short" if begins else "r"
        told: list[tuple[str, str, dict[str, Any]]] = [
            *([("run_started", run_id, {})] if begins else []),
            ("training_step", run_id, {"step": 1, "loss": "NaN"}),
            ("run_ended", run_id, {"status": "completed"}),
            ("run_started", "next", {}),
            ("training_step", "next", {"step": 1, "loss": 0.5}),
            ("run_ended", "next", {"status": "completed"}),
            ("run_started", "last", {}),
        ]
        events = []
        for kind, run, details in told:
            trainer._number += 1
            events.append(
                Event(
                    kind, "training", "info", "", details, 1, trainer.spool.producer,
                    trainer._number, run_id=run,
                )
            )  # fmt: skip
        trainer.spool.notes.follow(events)
        assert run_id not in trainer.spool.notes.runs
        trainer.watch.read(trainer.spool, events)
        found = trainer.watch.take()
        assert [(each.kind, each.run_id) for each in found] == [("loss_not_finite", run_id)]


def test_an_evaluation_and_a_checkpoint_set_no_pace(trainer: Trainer) -> None:
    """They name a step that was made before: a hundred of them are no hundred quick steps."""
    trainer.steps(15, every_s=60.0)
    for number in range(100):
        channel = "eval" if number % 2 else "checkpoint"
        trainer.now_s += 0.01
        trainer.emit("evaluation_finished", channel=channel, step=15)
    assert trainer.wait(1_100) == []
    (stalled,) = trainer.wait(200)
    assert stalled.details["median_step_s"] == 60.0


def test_each_rule_can_be_switched_off(make_lab: Callable[..., Any]) -> None:
    trainer = Trainer(make_lab(), WatchSettings(loss=False, stalls=False))
    trainer.losses([2.0] * 100 + [9.0] * 5 + ["NaN"])
    assert trainer.found() == []
    assert trainer.wait(4000) == []


def test_the_settings_come_from_realm_toml_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    assert watch_settings(str(tmp_path)) == WatchSettings()
    (tmp_path / "realm.toml").write_text("[watch]\nstall_min_s = 5\nspikes = false\n")
    assert watch_settings(str(tmp_path)) == WatchSettings(stall_min_s=5.0, spikes=False)
    (tmp_path / "realm.toml").write_text("[watch]\nstal_min_s = 5\n")
    with pytest.raises(ConfigError, match="stal_min_s"):
        watch_settings(str(tmp_path))


class Ranks:
    """Several processes of one run, under one watch; each shows its steps if it is told to."""

    def __init__(self, lab: Any, count: int, *, trains: bool = False) -> None:
        self.trainers = [Trainer(lab) for _ in range(count)]
        self.watch = self.trainers[0].watch
        for rank, trainer in enumerate(self.trainers):
            trainer.watch = self.watch
            trainer.spool.notes.resource = {"realm.rank": rank}
            trainer.emit("training_started" if trains else "run_started")

    def go_on(self, seconds: int, *ranks: int, by_events: bool = False) -> list[Event]:
        """Time goes by; these ranks make a step a second, on their control pages or as events."""
        found = []
        for _ in range(seconds):
            for rank, trainer in enumerate(self.trainers):
                trainer.now_s += 1
                if rank in ranks:
                    self._step(trainer, by_events)
            spools = [trainer.spool for trainer in self.trainers]
            self.watch.look(spools, self.trainers[0].now_s)
            found += self.watch.take()
        return found

    def _step(self, trainer: Trainer, by_events: bool) -> None:
        trainer._step += 1
        words, moment_ns = trainer.producer.writer.progress, round(trainer.now_s * SECOND_NS)
        words[2] = moment_ns
        if by_events:
            trainer.emit("training_step", step=trainer._step)
        else:
            words[0], words[1] = trainer._step, moment_ns

    def asked(self) -> list[int]:
        """The ranks whose stacks were asked for."""
        return [
            rank
            for rank, trainer in enumerate(self.trainers)
            if trainer.spool.control.stacks_wanted
        ]


def test_steps_on_the_control_page_are_signs_of_life(lab: Any) -> None:
    ranks = Ranks(lab, 2)
    assert ranks.go_on(3000, 0, 1) == []


def test_a_rank_that_falls_behind_is_named_with_the_stacks_of_both_sides(lab: Any) -> None:
    ranks = Ranks(lab, 3)
    ranks.go_on(50, 0, 1, 2)
    ranks.go_on(5, 0, 1)
    found = ranks.go_on(200)
    kinds = [(event.kind, event.producer) for event in found]
    producers = [trainer.spool.producer for trainer in ranks.trainers]
    assert sorted(kinds) == sorted(("run_stalled", producer) for producer in producers)
    assert all(event.details["behind"] == [2] for event in found)
    assert {event.details["steps_behind"] for event in found} == {5}
    assert ranks.asked() == [0, 1, 2]
    assert all(trainer.spool.control.stacks_wanted == 1 for trainer in ranks.trainers)


def test_where_all_ranks_stop_at_one_step_nobody_is_named(lab: Any) -> None:
    ranks = Ranks(lab, 3)
    ranks.go_on(50, 0, 1, 2)
    found = ranks.go_on(200)
    assert len(found) == 3
    for event in found:
        assert "behind" not in event.details
        assert "steps are equal" in event.details["cannot_tell"]


def test_one_that_stands_still_while_the_others_go_on_is_found_with_one_of_them(lab: Any) -> None:
    ranks = Ranks(lab, 3)
    ranks.go_on(50, 0, 1, 2)
    (stalled,) = ranks.go_on(200, 0, 1)
    assert stalled.producer == ranks.trainers[2].spool.producer
    assert stalled.details["behind"] == [2]
    assert ranks.asked() == [0, 2]
    (again,) = ranks.go_on(5, 0, 1, 2)
    assert again.kind == "run_resumed_progress"
    (second,) = ranks.go_on(500, 0, 1)  # twice the longest pause
    assert second.kind == "run_stalled"
    assert second.id != stalled.id


def test_a_rank_that_trains_and_makes_no_first_step_is_found_where_two_others_step(
    lab: Any,
) -> None:
    ranks = Ranks(lab, 3, trains=True)
    assert ranks.go_on(600) == []
    assert ranks.go_on(110, 0, 1) == []
    (stalled,) = ranks.go_on(30, 0, 1)
    assert stalled.producer == ranks.trainers[2].spool.producer
    assert stalled.details["threshold_s"] == 120
    assert stalled.details["behind"] == [2]


@pytest.mark.parametrize(
    ("count", "trains", "stepping"),
    [(2, True, (0,)), (8, True, (0,)), (3, False, (0, 1))],
    ids=["of two ranks one records", "of eight ranks one records", "a helper that trains nothing"],
)
def test_a_rank_that_shows_no_steps_is_not_called_stalled_for_that(
    lab: Any, count: int, trains: bool, stepping: tuple[int, ...]
) -> None:
    ranks = Ranks(lab, count, trains=trains)
    assert ranks.go_on(6000, *stepping) == []
    assert Ranks(lab, count, trains=trains).go_on(6000, *stepping, by_events=True) == []


def test_steps_that_are_events_as_well_count_once(lab: Any) -> None:
    ranks = Ranks(lab, 1)
    ranks.go_on(50, 0, by_events=True)
    (stalled,) = ranks.go_on(150)
    assert stalled.details["median_step_s"] == 1.0
    assert "behind" not in stalled.details
    run = next(iter(ranks.watch._runs.values()))
    assert run.progress_ns == 0


def test_a_page_of_an_older_version_shows_no_progress(lab: Any) -> None:
    ranks = Ranks(lab, 2)
    control = ranks.trainers[1].spool.control
    for words in (bytes(16), b"\xff" * 16, b"\x01" * 8 + bytes(8), b"\xff" * 8 + b"\x01" * 8):
        control.write(120, words)
        assert ranks.trainers[1].spool.control.progress == (0, 0)
    control.write(136, b"\xff" * 8)
    assert ranks.trainers[1].spool.control.last_step_ns == 0
    control.write(136, b"\x01" * 8)
    control.write(0, b"nonsense")
    control.write(120, b"\x01" + bytes(7) + b"\x01" + bytes(7))
    assert ranks.trainers[1].spool.control.progress == (0, 0)
    assert ranks.trainers[1].spool.control.last_step_ns == 0


def test_steps_that_are_dropped_or_wait_for_the_log_are_signs_of_life(lab: Any) -> None:
    ranks = Ranks(lab, 1)
    ranks.go_on(50, 0, by_events=True)
    words = ranks.trainers[0].producer.writer.progress
    for _ in range(300):
        words[2] = round((ranks.trainers[0].now_s + 1) * SECOND_NS)
        assert ranks.go_on(1) == []
    (stalled,) = ranks.go_on(150)
    assert stalled.kind == "run_stalled"
