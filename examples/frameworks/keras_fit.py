"""A tiny model trained with keras, in seconds and on a CPU.

Without a line for it: realm run -- python examples/frameworks/keras_fit.py
"""

import os
import tempfile
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy

from realm_telemetry.integrations.keras import RealmCallback

numbers = numpy.random.default_rng(0).normal(size=(512, 4))
sums = numbers.sum(axis=1, keepdims=True)

model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)], name="sums")
model.compile(optimizer=keras.optimizers.SGD(0.05), loss="mse")
best = Path(tempfile.mkdtemp()) / "best.keras"
model.fit(
    numbers,
    sums,
    batch_size=16,
    epochs=3,
    validation_split=0.25,
    verbose=0,
    callbacks=[
        keras.callbacks.ModelCheckpoint(best, save_best_only=True),
        RealmCallback(),  # the one line
    ],
)
