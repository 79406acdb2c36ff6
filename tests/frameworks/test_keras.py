"""`Model.fit` of keras: with no line of code below `realm run`, or with one."""

import sys
from pathlib import Path

import pytest

from .conftest import Told, script, tell

pytestmark = [pytest.mark.long, pytest.mark.processes]

MODEL = """
import os, signal, sys, keras, numpy
x, y = numpy.random.rand(64, 4), numpy.random.rand(64, 1)

def fit(out, *more, epochs=2, **given):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)], name="tiny")
    model.compile(optimizer=keras.optimizers.SGD(0.01), loss="mse")
    saver = keras.callbacks.ModelCheckpoint(out + "-{epoch}.keras")
    model.fit(x, y, batch_size=8, epochs=epochs, validation_split=0.25, verbose=0,
              callbacks=[saver, *more], **given)
"""

PLAIN = MODEL + "fit('out')\n"

ONE_LINE = (
    MODEL
    + """
from realm_telemetry.integrations.keras import RealmCallback

class Do(keras.callbacks.Callback):
    def __init__(self, what): super().__init__(); self.what = what
    def on_train_batch_end(self, batch, logs=None):
        if batch == 3: self.what()

def broken(): raise OSError("the disk is gone")
def spoil(): x[:] = float("nan")

fit("first", RealmCallback())
try: fit("second", RealmCallback(), Do(broken))
except OSError as error: print("caught", error)
try: fit("third", RealmCallback(), Do(lambda: signal.raise_signal(signal.SIGINT)))
except KeyboardInterrupt: print("interrupted")
spoil()
fit("fourth", RealmCallback())
print("done")
"""
)


def test_a_fit_below_realm_run_tells_its_whole_story(place: Path) -> None:
    told = tell(place / "home", [sys.executable, script(place / "a.py", PLAIN)], under="r1")
    assert (told.code, told.errors.count("realm_telemetry:")) == (0, 0), told.errors
    started = told.one("training_started")
    assert (started["model"], started["total_steps"], started["parameters"]) == ("tiny", 12, 5)
    config = told.one("run_config")
    assert (config["optimizer"], config["epochs"]) == ("SGD", 2)
    assert config["learning_rate"] == pytest.approx(0.01)
    logged = [step for step in told.of("training_step") if "loss" in step]
    assert [(step["step"], step["epoch"]) for step in logged] == [(6, 1), (12, 2)]
    assert len(told.of("evaluation_started")) == 2
    assert ["val_loss" in each for each in told.of("evaluation_finished")] == [True, True]
    saved = told.of("checkpoint_saved")
    assert [each["step"] for each in saved] == [6, 12]
    assert all(Path(each["path"]).stat().st_size == each["bytes"] for each in saved)
    assert told.one("training_completed") == {"step": 12}
    assert told.run("r1")["status"] == "completed"


@pytest.fixture(scope="module")
def one_line(place: Path) -> Told:
    return tell(place / "other", [sys.executable, script(place / "b.py", ONE_LINE)])


def test_one_line_sees_an_exception_an_interrupt_and_a_nan(one_line: Told) -> None:
    assert (one_line.code, one_line.errors.count("realm_telemetry:")) == (0, 0), one_line.errors
    assert one_line.output == "caught the disk is gone\ninterrupted\ndone\n"
    assert "the disk is gone" in one_line.one("training_failed")["error"]
    assert one_line.one("training_cancelled")["reason"] == "KeyboardInterrupt"
    runs = [event["run_id"] for event in one_line.events if event["kind"] == "training_started"]
    assert len(set(runs)) == 4
    assert len(one_line.of("training_completed")) == 2
    assert {step.get("loss") for step in one_line.of("training_step", run=runs[3])} >= {"NaN"}


def test_asynchronous_dispatch_stays_on(place: Path) -> None:
    code = (
        "from realm_telemetry.integrations.keras import RealmCallback\n"
        "print(RealmCallback().async_safe)\n"
    )
    told = tell(place / "flag", [sys.executable, script(place / "c.py", code)])
    assert told.output == "True\n"
