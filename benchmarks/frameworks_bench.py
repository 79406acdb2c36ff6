"""What an adapter costs a step of training, beside the same steps without it, in turns.

Processor time of the process is measured, so that work beside it counts less.

    .venv/frameworks/bin/python -m benchmarks.frameworks_bench [accelerate ...]

It needs the environment of `make test-frameworks`, and is no part of `make bench`.
"""

import logging
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.measure import Figure, at_most, machine, show

STEPS = 400
LOGGED_EVERY = 50
ROUNDS = 9
TARGET = 1.02

Timed = Callable[[bool], float]
"""Trains with or without the adapter; returns processor seconds a step."""


def _plain() -> Timed:
    import torch

    import realm_telemetry as realm

    model = torch.nn.Sequential(torch.nn.Linear(128, 256), torch.nn.ReLU(), torch.nn.Linear(256, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    batches = [torch.randn(64, 128) for _ in range(STEPS)]

    def train(adapted: bool) -> float:
        began = time.process_time()
        for batch in realm.steps(batches, every=10) if adapted else batches:
            optimizer.zero_grad()
            model(batch).square().mean().backward()
            optimizer.step()
        return (time.process_time() - began) / STEPS

    return train


def _transformers() -> Timed:
    import torch
    from transformers import (
        BertConfig,
        BertForSequenceClassification,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    from realm_telemetry.integrations.transformers import RealmCallback

    class Clock(TrainerCallback):  # type: ignore[misc]  # of a package that is not installed here
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.process_time()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            self.seconds = time.process_time() - self.began

    config = BertConfig(
        vocab_size=32,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    data = [{"input_ids": torch.arange(8), "labels": torch.tensor(n % 2)} for n in range(64)]
    model = BertForSequenceClassification(config)

    def train(adapted: bool) -> float:
        clock = Clock()
        arguments = TrainingArguments(
            output_dir=tempfile.gettempdir(), max_steps=STEPS, logging_steps=LOGGED_EVERY,
            use_cpu=True, disable_tqdm=True, save_strategy="no", per_device_train_batch_size=4,
        )  # fmt: skip
        callbacks = [clock, RealmCallback()] if adapted else [clock]
        Trainer(model=model, args=arguments, train_dataset=data, callbacks=callbacks).train()
        return float(clock.seconds) / STEPS

    return train


def _lightning() -> Timed:
    import lightning
    import torch
    from lightning.pytorch.loggers import CSVLogger

    from realm_telemetry.integrations import lightning as adapter

    class Model(lightning.LightningModule):  # type: ignore[misc]  # as above
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(64, 64)

        def training_step(self, batch: Any, index: int) -> Any:
            loss = self.layer(batch).square().mean()
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.01)

        def on_train_start(self) -> None:
            self.began = time.process_time()

        def on_train_end(self) -> None:
            self.seconds = time.process_time() - self.began

    data = torch.utils.data.DataLoader(torch.randn(STEPS * 4, 64), batch_size=4)

    def train(adapted: bool) -> float:
        model = Model()
        lightning.Trainer(
            max_epochs=1, accelerator="cpu", enable_progress_bar=False,
            log_every_n_steps=LOGGED_EVERY, enable_model_summary=False,
            enable_checkpointing=False,
            logger=CSVLogger(tempfile.mkdtemp()),
            callbacks=[adapter.RealmCallback()] if adapted else [],
        ).fit(model, data)  # fmt: skip
        return float(model.seconds) / STEPS

    return train


def _accelerate() -> Timed:
    import torch
    from accelerate import Accelerator

    import realm_telemetry.integrations.accelerate  # noqa: F401  # makes the tracker known

    data = torch.utils.data.DataLoader(torch.randn(STEPS * 4, 64), batch_size=4)

    def train(adapted: bool) -> float:
        accelerator = Accelerator(log_with="realm" if adapted else None, cpu=True)
        accelerator.init_trackers("bench", config={"lr": 0.01})
        layer = torch.nn.Linear(64, 64)
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.01)
        model, prepared, batches = accelerator.prepare(layer, optimizer, data)
        began = time.process_time()
        for step, batch in enumerate(batches, 1):
            loss = model(batch).square().mean()
            accelerator.backward(loss)
            prepared.step()
            prepared.zero_grad()
            if step % LOGGED_EVERY == 0:
                accelerator.log({"loss": loss.item()}, step=step)
        seconds = time.process_time() - began
        accelerator.end_training()
        return seconds / STEPS

    return train


def _keras() -> Timed:
    import keras
    import numpy

    from realm_telemetry.integrations.keras import RealmCallback

    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64)])
    model.compile(optimizer="sgd", loss="mse")
    data = numpy.random.rand(STEPS * 4, 64)

    def train(adapted: bool) -> float:
        began = time.process_time()
        callbacks = [RealmCallback()] if adapted else []
        model.fit(data, data, batch_size=4, epochs=1, verbose=0, callbacks=callbacks)
        return (time.process_time() - began) / STEPS

    return train


CASES: dict[str, Callable[[], Timed]] = {
    "realm.steps around a loop of torch": _plain,
    "Trainer of transformers": _transformers,
    "Trainer of Lightning": _lightning,
    "a loop of accelerate that logs every 50 steps": _accelerate,
    "Model.fit of keras": _keras,
}


def _pairs(train: Timed) -> list[tuple[float, float]]:
    """Bare and adapted, in turns; which one comes first changes each time."""
    train(False), train(True)
    pairs = []
    for turn in range(ROUNDS):
        first = train(bool(turn % 2))
        second = train(not turn % 2)
        pairs.append((second, first) if turn % 2 else (first, second))
    return pairs


def figures(wanted: Sequence[str] = ()) -> list[Figure]:
    """One row a framework: the median of the ratios of neighbours.

    wanted: parts of the names of those to measure; empty for all.
    """
    found = []
    for name, make in CASES.items():
        if wanted and not any(each in name for each in wanted):
            continue
        pairs = _pairs(make())
        ratio = statistics.median(adapted / bare for bare, adapted in pairs)
        bare_us = statistics.median(bare for bare, _ in pairs) * 1e6
        note = f"a step takes {bare_us:,.0f} us without it"
        found.append(at_most(f"{name}, a step", ratio, TARGET, "x bare", note))
    return found


def main() -> None:
    """Measure with a home of its own, and no service."""
    os.environ |= {
        "KERAS_BACKEND": "torch",
        "REALM_HOME": tempfile.mkdtemp(prefix="realm-bench-"),
        "REALM_EXPORTERS": "battle_log",
        "REALM_STEP_EVENTS_PER_S": os.environ.get("REALM_STEP_EVENTS_PER_S", "10"),
    }
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    import torch

    import realm_telemetry as realm

    torch.set_num_threads(1)
    realm.configure(service_name="bench")
    print(machine())
    show("frameworks", figures(sys.argv[1:]))


if __name__ == "__main__":
    main()
