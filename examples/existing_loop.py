"""Instrument a training loop that is there already: decorators, and not a line inside it.

The classes stand for what a program has anyway; with PyTorch it looks the same.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import realm_telemetry as realm


class Model:
    """One weight that ought to be 3."""

    weight = 0.0

    def loss(self) -> float:
        """How far off the weight is."""
        return (self.weight - 3.0) ** 2

    def state_dict(self) -> dict[str, float]:
        """What a checkpoint holds."""
        return {"weight": self.weight}


@dataclass
class StepResult:
    """What a step returns; its fields become the event's details."""

    loss: float
    learning_rate: float


@realm.emits("training_step", include=["step", "loss", "learning_rate"])
def train_step(model: Model, step: int, learning_rate: float) -> StepResult:
    """Take one step of gradient descent."""
    model.weight -= learning_rate * 2 * (model.weight - 3.0)
    return StepResult(model.loss(), learning_rate)


@realm.emits("checkpoint_saved", include=["step", "loss", "path"], on_error="error_occurred")
def save(model: Model, step: int, loss: float, path: Path) -> None:
    """Write a checkpoint; should the disk be full, the error is an event and is raised again."""
    path.write_text(repr(model.state_dict()))


@realm.lifecycle("training", model="one-weight")
def train(model: Model, directory: Path, steps: int = 50) -> StepResult:
    """Train. The decorator emits start, end and failure."""
    result = StepResult(model.loss(), 0.1)
    for step in range(1, steps + 1):
        result = train_step(model, step, learning_rate=0.1)
        if step % 25 == 0:
            save(model, step, result.loss, directory / f"{step}.ckpt")
    return result


if __name__ == "__main__":
    realm.configure(service_name="existing_loop")
    with TemporaryDirectory() as directory, realm.bound(campaign_id="one-weight"):
        print(train(Model(), Path(directory)))
    realm.flush(timeout_s=5.0)
