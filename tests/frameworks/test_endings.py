"""How trainings end, framework by framework, with no line of code below `realm run` or with one.

One program a framework and way of being adapted: it imports the framework once, and each training
is a process that it forks, a run of its own.
"""

import sys
from pathlib import Path

import pytest

from .conftest import HOSTILE, Told, script, tell

pytestmark = [pytest.mark.long, pytest.mark.processes, pytest.mark.timeout(400)]

TIMEOUT_S = 380
"""Of a program with seven trainings, beside other work."""

ENDS = """
import os, signal, sys
ONE_LINE = len(sys.argv) > 1
# Ignored where this was started in the background of a shell.
signal.signal(signal.SIGINT, signal.default_int_handler)

def at(step, way):
    if way == "raise" and step == 5: raise OSError("the disk is gone")
    if way == "interrupt" and step == 5: signal.raise_signal(signal.SIGINT)
    if way == "terminate" and step == 5: os.kill(os.getpid(), signal.SIGTERM)
"""

MAIN = """
for way in ("raise", "interrupt", "terminate", "nan", "save", "resume", "hostile"):
    child = os.fork()
    if not child:
        os.environ["REALM_RUN_ID"] = "save" if way == "resume" else way
        train(way)
        sys.exit(0)
    print(way, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""

TRANSFORMERS = """
import torch, transformers
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments
transformers.utils.logging.set_verbosity_error()
data = [{"input_ids": torch.arange(8), "labels": torch.tensor(n % 2)} for n in range(64)]

class At(transformers.TrainerCallback):
    def __init__(self, way): self.way = way
    def on_step_end(self, args, state, control, model=None, **kwargs):
        if self.way == "nan" and state.global_step == 3:
            for each in model.parameters(): each.data.fill_(float("nan"))
        if self.way == "hostile" and state.global_step == 3:
            for each in self.beside():
                if type(each).__name__ == "RealmCallback":
                    each.on_log(args, state, control, logs={"odd": hostile()})
        at(state.global_step, self.way)

def train(way):
    ours = []
    if ONE_LINE:
        from realm_telemetry.integrations.transformers import RealmCallback
        ours = [RealmCallback()]
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(vocab_size=32, hidden_size=8,
        num_hidden_layers=1, num_attention_heads=2, intermediate_size=8))
    arguments = TrainingArguments(output_dir="t", max_steps=12 if way == "resume" else 8,
        logging_steps=2, save_steps=4, per_device_train_batch_size=4, use_cpu=True,
        save_strategy="steps" if way in ("save", "resume") else "no", disable_tqdm=True)
    trainer = Trainer(model=model, args=arguments, train_dataset=data, callbacks=ours)
    first = At(way)
    first.beside = lambda: trainer.callback_handler.callbacks
    trainer.callback_handler.callbacks.insert(0, first)
    trainer.train(resume_from_checkpoint="t/checkpoint-8" if way == "resume" else None)
"""

LIGHTNING = """
import torch, warnings, lightning.pytorch as pl
from lightning.pytorch.loggers import CSVLogger
warnings.simplefilter("ignore")
data = torch.utils.data.DataLoader(torch.randn(32, 4), batch_size=4)

class Model(pl.LightningModule):
    def __init__(self, way=""):
        super().__init__()
        self.way, self.layer = way, torch.nn.Linear(4, 1)
    def training_step(self, batch, index):
        at(self.global_step, self.way)
        loss = self.layer(batch).mean()
        if self.way == "nan" and self.global_step >= 3: loss = loss * float("nan")
        self.log("train_loss", loss)
        return loss
    def configure_optimizers(self): return torch.optim.SGD(self.parameters(), lr=0.01)

class Hand(pl.Callback):
    def on_train_batch_end(self, trainer, module, outputs, batch, index):
        for each in trainer.callbacks:
            if type(each).__name__ == "RealmCallback":
                each.on_train_batch_end(trainer, module, {"loss": hostile()}, hostile(), index)

def train(way):
    ours = [Hand()] if way == "hostile" else []
    if ONE_LINE:
        from realm_telemetry.integrations.lightning import RealmCallback
        ours.append(RealmCallback())
    saver = pl.callbacks.ModelCheckpoint("l", "last", enable_version_counter=False)
    pl.Trainer(max_epochs=2 if way == "resume" else 1, accelerator="cpu", logger=CSVLogger("l"),
        log_every_n_steps=2, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[saver, *ours]).fit(
            Model(way), data, ckpt_path="l/last.ckpt" if way == "resume" else None)
"""

KERAS = """
import keras, numpy
x, y = numpy.random.rand(64, 4), numpy.random.rand(64, 1)

class At(keras.callbacks.Callback):
    def __init__(self, way): super().__init__(); self.way = way
    def on_train_batch_end(self, batch, logs=None): at(batch + 1, self.way)

class Hand(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        for each in self.ours: each.on_train_batch_end(batch, {"loss": hostile()})
    def on_epoch_end(self, epoch, logs=None): logs["odd"] = hostile()
    def on_train_begin(self, logs=None):
        import gc
        self.ours = [o for o in gc.get_objects() if type(o).__name__ == "RealmCallback"]

def train(way):
    ours = [At(way)] + ([Hand()] if way == "hostile" else [])
    if way in ("save", "resume"): ours.append(keras.callbacks.ModelCheckpoint("k.keras"))
    if ONE_LINE:
        from realm_telemetry.integrations.keras import RealmCallback
        ours.append(RealmCallback())
    if way == "nan": x[:] = float("nan")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    if way == "resume": model = keras.models.load_model("k.keras")
    model.compile(optimizer="sgd", loss="mse")
    model.fit(x, y, batch_size=8, epochs=2 if way == "resume" else 1, verbose=0, callbacks=ours,
              initial_epoch=1 if way == "resume" else 0)
"""

ACCELERATE = """
import torch
from accelerate import Accelerator

def train(way):
    if ONE_LINE:
        import realm_telemetry.integrations.accelerate
    accelerator = Accelerator(log_with="realm", cpu=True)
    accelerator.init_trackers("tiny", config={"lr": 0.1})
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    data = torch.utils.data.DataLoader(torch.randn(32, 4), batch_size=4)
    model, optimizer, data = accelerator.prepare(model, optimizer, data)
    first = 0
    if way == "resume":
        accelerator.load_state("a")
        first = 8
    for step, batch in enumerate(data, first + 1):
        loss = model(batch).square().mean()
        accelerator.backward(loss)
        optimizer.step()
        bad = way == "nan" and step >= 3
        values = {"loss": float("nan") if bad else loss.item()}
        if way == "hostile": values["odd"] = hostile()
        accelerator.log(values, step=step)
        at(step, way)
    if way == "save": accelerator.save_state("a")
    accelerator.end_training()
"""

FRAMEWORKS = {
    "transformers": TRANSFORMERS,
    "lightning": LIGHTNING,
    "keras": KERAS,
    "accelerate": ACCELERATE,
}
CASES = [(name, line) for name in FRAMEWORKS for line in ("no line", "one line")]
RUNS = ("raise", "interrupt", "terminate", "nan", "save", "hostile")


@pytest.fixture(scope="module", params=CASES, ids=" ".join)
def ended(request: pytest.FixtureRequest, place: Path) -> tuple[str, Told]:
    """A framework, and what its trainings left behind."""
    name, line = request.param
    hostile = HOSTILE if name != "keras" else "import torch\n" + HOSTILE
    program = script(place / f"ends_{name}.py", ENDS + FRAMEWORKS[name] + hostile + MAIN)
    words = [sys.executable, program, *(["1"] if line == "one line" else [])]
    home = place / f"{name}-{line[:2]}" / "home"
    home.mkdir(parents=True)
    return name, tell(
        home, words, under=None if line == "one line" else "outer", timeout_s=TIMEOUT_S
    )


def test_every_ending_has_its_status_and_reason(ended: tuple[str, Told]) -> None:
    name, told = ended
    codes = dict(line.split() for line in told.output.splitlines() if len(line.split()) == 2)
    # Lightning leaves a Ctrl-C with exit code 1, and SIGTERM with 0.
    interrupted, terminated = ("1", "0") if name == "lightning" else ("-2", "-15")
    assert codes == {
        "raise": "1", "interrupt": interrupted, "terminate": terminated, "nan": "0", "save": "0",
        "resume": "0", "hostile": "0",
    }, told.errors  # fmt: skip
    assert "realm_telemetry:" not in told.errors
    runs = told.runs()
    assert {run: runs[run]["status"] for run in RUNS} == {
        "raise": "failed", "interrupt": "cancelled", "terminate": "killed",
        "nan": "completed", "save": "completed", "hostile": "completed",
    }  # fmt: skip
    assert "the disk is gone" in runs["raise"]["reason"]
    assert runs["terminate"]["reason"] == "SIGTERM"
    assert runs["nan"]["warnings"]


def test_a_start_says_what_trains_where(ended: tuple[str, Told]) -> None:
    name, told = ended
    started = told.of("training_started", run="save")[0]
    described = started | (told.of("run_config", run="save")[-1] if name == "accelerate" else {})
    assert described["model"]
    assert described["parameters"] >= 5
    assert described["world_size"] == 1
    assert described["device"]
    assert described["precision"]
    assert told.of("run_config", run="save")


def test_a_training_goes_on_from_a_checkpoint(ended: tuple[str, Told]) -> None:
    _, told = ended
    assert told.of("checkpoint_saved", run="save")
    resumed = told.one("training_resumed", run="save")
    assert resumed.get("step") == 8 or resumed["path"]
    assert told.runs()["save"]["step"] > 8


def test_nothing_on_a_device_is_read(ended: tuple[str, Told]) -> None:
    _, told = ended
    assert told.of("training_step", run="hostile")
    assert "AssertionError" not in str(told.events)
