"""Lightning: with no line of code below `realm run`, or with one; and its older package."""

import sys
from pathlib import Path

import pytest

from .conftest import HOSTILE, Told, script, tell

pytestmark = [pytest.mark.long, pytest.mark.processes]

MODEL = """
import importlib, os, signal, sys, warnings, torch
warnings.simplefilter("ignore")
name = os.environ.get("PACKAGE", "lightning.pytorch")
pl = importlib.import_module(name)
loggers = importlib.import_module(name + ".loggers")
callbacks = importlib.import_module(name + ".callbacks")

class Model(pl.LightningModule):
    def __init__(self, lr=0.01, way=""):
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(4, 1)
    def training_step(self, batch, index):
        loss = self.layer(batch).mean()
        if self.hparams.way == "raise" and self.global_step == 3: raise OSError("the disk is gone")
        if self.hparams.way == "interrupt" and self.global_step == 3:
            signal.raise_signal(signal.SIGINT)
        if self.hparams.way == "nan" and self.global_step >= 3: loss = loss * float("nan")
        self.log("train_loss", loss)
        return loss
    def validation_step(self, batch, index): self.log("val_loss", self.layer(batch).mean().abs())
    def configure_optimizers(self): return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)

def data(): return torch.utils.data.DataLoader(torch.randn(32, 4), batch_size=4)

def fit(out, model=None, ckpt_path=None, logger=True, more=(), **given):
    torch.manual_seed(0)
    logger = loggers.CSVLogger(out) if logger else False
    trainer = pl.Trainer(**{**dict(max_epochs=2, accelerator="cpu", logger=logger,
        log_every_n_steps=4, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=out, callbacks=list(more)), **given})
    trainer.fit(model or Model(), data(), data(), ckpt_path=ckpt_path)
    return trainer
"""

PLAIN = MODEL + "fit('out')\n"

ONE_LINE = (
    MODEL
    + HOSTILE
    + """
from realm_telemetry.integrations.lightning import RealmCallback

first = fit("first", more=[RealmCallback()])
path = first.checkpoint_callback.best_model_path
fit("second", more=[RealmCallback()], ckpt_path=path, max_epochs=3)
try: fit("third", Model(way="raise"), more=[RealmCallback()])
except OSError as error: print("caught", error)
fit("fourth", Model(way="nan"), more=[RealmCallback()], log_every_n_steps=1, max_epochs=1)
try: fit("fifth", Model(way="interrupt"), more=[RealmCallback()])
except SystemExit: print("interrupted")

class Hand(callbacks.Callback):
    def on_train_batch_end(self, trainer, module, outputs, batch, index):
        ours.on_train_batch_end(trainer, module, {"loss": hostile()}, hostile(), index)
ours = RealmCallback()
fit("sixth", more=[ours, Hand()], logger=False)
print("done")
"""
)


@pytest.fixture(scope="module")
def one_line(place: Path) -> Told:
    program = script(place / "one_line.py", ONE_LINE)
    return tell(place / "other", [sys.executable, program])


@pytest.mark.parametrize("package", ["lightning.pytorch", "pytorch_lightning"])
def test_a_trainer_below_realm_run_tells_its_whole_story(place: Path, package: str) -> None:
    program = script(place / f"train_{package}.py", PLAIN)
    told = tell(place / package, [sys.executable, program], under="r1", PACKAGE=package)
    assert (told.code, told.errors.count("realm_telemetry:")) == (0, 0), told.errors
    started = told.one("training_started")
    assert (started["model"], started["total_steps"]) == ("Model", 16)
    assert (started["parameters"], started["world_size"]) == (5, 1)
    assert started["framework"] == package.partition(".")[0]
    config = told.one("run_config")
    assert (config["lr"], config["max_epochs"], config["log_every_n_steps"]) == (0.01, 2, 4)
    logged = [step for step in told.of("training_step") if "train_loss" in step]
    assert [step["step"] for step in logged] == [4, 8, 12, 16]
    assert all("epoch" in step for step in logged)
    assert [each["step"] for each in told.of("evaluation_started")] == [8, 16]
    assert [each["step"] for each in told.of("evaluation_finished")] == [8, 16]
    assert all("val_loss" in each for each in told.of("evaluation_finished"))
    saved = told.of("checkpoint_saved")
    assert [each["step"] for each in saved] == [8, 16]
    assert all(each["bytes"] > 1000 for each in saved)
    assert Path(saved[-1]["path"]).stat().st_size == saved[-1]["bytes"]
    assert told.one("training_completed") == {"step": 16}
    assert told.run("r1")["status"] == "completed"


def test_a_checkpoint_goes_on_with_its_run(one_line: Told) -> None:
    assert one_line.code == 0, one_line.errors
    started = [event for event in one_line.events if event["kind"] == "training_started"]
    assert started[0]["run_id"] == started[1]["run_id"]
    assert len({event["run_id"] for event in started}) == 5
    assert one_line.one("training_resumed")["step"] == 16


def test_an_exception_an_interrupt_and_a_nan_are_seen(one_line: Told) -> None:
    assert "the disk is gone" in one_line.one("training_failed")["error"]
    assert "interrupted" in one_line.output
    assert one_line.one("training_cancelled")["reason"] == "KeyboardInterrupt"
    (spoilt,) = {
        event["run_id"]
        for event in one_line.events
        if event["details"].get("train_loss") == "NaN" and event["kind"] == "training_step"
    }
    assert "train_loss" in str(one_line.run(spoilt)["warnings"])


def test_nothing_is_read_where_the_trainer_logs_nothing(one_line: Told) -> None:
    assert one_line.output.endswith("done\n")
    assert "realm_telemetry:" not in one_line.errors
    last = [event for event in one_line.events if event["kind"] == "training_started"][-1]
    steps = one_line.of("training_step", run=last["run_id"])
    assert steps
    assert all("train_loss" not in step for step in steps)
