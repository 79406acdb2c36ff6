"""`realm.log`, the everyday call."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import realm_telemetry as realm
from realm_telemetry.event import InvalidEventError
from realm_telemetry.producer import appenders, emission
from realm_telemetry.spool.writer import SpoolWriter

from .programs import HEAD, environment, program


@pytest.fixture(autouse=True)
def run(tmp_path: Path) -> Iterator[None]:
    """A configured process."""
    realm.shutdown(0)
    appenders.set_current(appenders.Early(lambda: None))
    realm.configure(home=tmp_path, shipper="none", run_id="r0")
    yield
    realm.shutdown(0)
    appenders.set_current(appenders.Early(lambda: None))


def test_numbers_are_the_details_of_a_step() -> None:
    event = realm.log({"loss": 0.25, "acc": 0.5}, step=12)
    assert event.kind == "training_step"
    assert event.details == {"step": 12, "loss": 0.25, "acc": 0.5}
    assert event.message == "Step 12: loss 0.2500"
    assert event.run_id == "r0"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"acc": 0.91, "lr": 1e-05}, "Step 1,003: acc 0.91, lr 1e-05"),
        ({"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}, "Step 1,003: a 1, b 2, c 3, d 4"),
        ({"phase": "warm-up", "done": True}, "Step 1,003"),
        ({}, "Step 1,003"),
        ({"loss": float("nan"), "acc": 0.5}, "Step 1,003: loss NaN"),
        ({"grad_norm": float("inf")}, "Step 1,003: grad_norm Infinity"),
        ({"train/loss": 0.123456}, "Step 1,003: train/loss 0.1235"),
        ({"a": "nan", "b": "-INF", "c": "+inf"}, "Step 1,003: a NaN, b -Infinity, c Infinity"),
        ({"norm": "infinity", "name": "information", "other": "nano"}, "Step 1,003: norm Infinity"),
    ],
)
def test_a_step_without_a_loss_says_what_it_has(values: dict[str, object], message: str) -> None:
    assert realm.log(values, step=1003).message == message


def test_steps_are_counted_from_the_last_of_the_run() -> None:
    assert [realm.log({"x": 1}).details["step"] for _ in range(2)] == [1, 2]
    realm.training_step(step=40, loss=1.0)
    assert realm.log({"x": 1}).details["step"] == 41
    assert realm.log({"x": 1, "step": 7}).details == {"step": 7, "x": 1}
    assert realm.log({"x": 1, "step": 7}, step=9).details == {"step": 9, "x": 1}
    realm.training_completed()
    assert realm.log({"x": 1}).details["step"] == 1


def test_an_odd_step_is_kept_and_begins_the_count_again() -> None:
    assert realm.log({"x": 1}, step="ten").message == "Step ten: x 1"  # type: ignore[arg-type]
    assert realm.log({"x": 1}).details["step"] == 1


class Tensor:
    """A tensor on a device: whoever reads its value waits for the device."""

    shape = (1,)
    dtype = "float32"
    device = "cuda:0"

    def item(self) -> float:
        raise AssertionError("read back")

    def __repr__(self) -> str:
        raise AssertionError("read back")

    tolist = __float__ = item
    __str__ = __repr__


def test_a_value_on_a_device_is_described_and_never_read() -> None:
    details = realm.log({"loss": Tensor(), "acc": 0.5}, step=3).details
    assert details["acc"] == 0.5
    assert not isinstance(details["loss"], float)


def test_what_is_no_mapping_is_a_mistake_of_the_program() -> None:
    with pytest.raises(InvalidEventError, match="needs a mapping"):
        realm.log(0.5)  # type: ignore[arg-type]


def test_details_of_a_block_join_and_names_of_arguments_are_details() -> None:
    with realm.bound(epoch=2):
        event = realm.log({"kind": 1, "message": 2, "channel": 3}, step=1)
    assert event.details == {"epoch": 2, "step": 1, "kind": 1, "message": 2, "channel": 3}


@pytest.mark.processes
def test_it_sets_the_process_up_by_itself(tmp_path: Path) -> None:
    ended = program(
        tmp_path / "home",
        "realm.log({'acc': 0.5})\n",
        setup=HEAD,
        REALM_HOME=str(tmp_path / "home"),
        REALM_SHIPPER="none",
    )
    assert [event.kind for event in ended.events] == ["run_started", "training_step", "run_ended"]
    assert ended.errors == ""


@pytest.mark.processes
def test_settings_set_the_process_up_too(tmp_path: Path) -> None:
    """As the first example of docs/runs.md has them, before the first step."""
    ended = program(
        tmp_path / "home",
        "realm.run_config(lr=0.1)\nrealm.log({'acc': 0.5})\n",
        setup=HEAD,
        REALM_HOME=str(tmp_path / "home"),
        REALM_SHIPPER="none",
    )
    assert ended.one("run_config").details == {"lr": 0.1}
    assert ended.errors == ""


@pytest.mark.processes
def test_a_wrong_setting_is_a_warning_and_the_training_goes_on(tmp_path: Path) -> None:
    ended = program(
        tmp_path,
        "print([realm.log({'acc': 0.5}).details['step'] for _ in range(3)])\n",
        setup=HEAD,
        REALM_SHIPPER="boat",
    )
    assert ended.code == 0
    assert ended.output == "[1, 1, 1]\n", "there is no run to count in"
    assert ended.errors.count("could not be set up") == 1


@pytest.mark.processes
def test_it_can_be_called_where_the_package_of_the_same_name_is_imported() -> None:
    """And the package is the same as ever."""
    code = (
        "import realm_telemetry as realm, realm_telemetry.log.filters\n"
        "from realm_telemetry import log\n"
        "from realm_telemetry.log import Filters\n"
        "assert realm_telemetry.log.Filters is Filters\n"
        "assert realm.log({'a': 1}, step=3).message == 'Step 3: a 1'\n"
        "assert log({'a': 1}, step=3).message == 'Step 3: a 1'\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], env=environment(OTEL_SDK_DISABLED="true"), check=False
    )
    assert answer.returncode == 0


def shown() -> tuple[int, int]:
    """What the control page of this process shows."""
    writer = appenders.current
    assert isinstance(writer, SpoolWriter)
    return writer.control.progress


def last_step_ns() -> int:
    """When this process made its last step, as its control page shows."""
    writer = appenders.current
    assert isinstance(writer, SpoolWriter)
    return writer.control.last_step_ns


def test_each_step_that_is_an_event_shows_its_time_on_the_control_page() -> None:
    assert last_step_ns() == 0
    for step in (1, 2, 2.5, "three"):
        event = realm.emit("training_step", step=step)
        assert last_step_ns() == event.time_unix_nano
    realm.note("no step")
    assert last_step_ns() == event.time_unix_nano
    assert realm.training_step(step=8, loss=0.5).time_unix_nano == last_step_ns()
    assert shown() == (0, 0), "the step itself is in its event"


def test_a_time_that_is_none_harms_nothing() -> None:
    realm.log({"loss": 0.5}, step=1)
    before = last_step_ns()
    emission.record("training_step", None, {"step": 2}, time_unix_nano=2**63)
    assert last_step_ns() == before


def test_progress_is_shown_without_an_event_and_begins_the_run() -> None:
    realm.progress(3)
    assert shown() == (3, last_step_ns())
    assert emission.run.id == "r0"
    number = realm.note("here").number
    realm.progress(4)
    assert shown()[0] == 4
    assert realm.note("there").number == number + 1
    assert realm.note("in the run").run_id == "r0"
    with pytest.raises(InvalidEventError, match="whole number"):
        realm.progress("five")  # type: ignore[arg-type]
    with pytest.raises(InvalidEventError, match="whole number"):
        realm.progress(2**64)
    assert shown()[0] == 4


@pytest.mark.processes
def test_a_forked_child_shows_its_own_steps_alone(tmp_path: Path) -> None:
    ended = program(
        tmp_path,
        """
from realm_telemetry.producer import appenders
realm.progress(5)
parent = appenders.current
pid = os.fork()
if pid == 0:
    realm.progress(9)
    mine = appenders.current
    assert mine is not parent and mine.control.progress[0] == 9
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
assert parent.control.progress[0] == 5
""",
    )
    assert ended.code == 0, ended.errors
