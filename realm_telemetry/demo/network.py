"""What the demo trains: a small neural network in numpy, its data, its checkpoints.

The network has one hidden layer and softmax. The data are the UCI handwritten digits that
scikit-learn brings along.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from realm_telemetry.demo.files import written_whole

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

TEST_SHARE: Final = 0.2
_BRIGHTEST: Final = 16.0
_SPLIT_SEED: Final = 1998


class Digits(NamedTuple):
    """1,797 scanned digits of 8 x 8 pixels, split into two parts that never mix.

    images: float64 of shape (n, 64), each pixel within 0 and 1. labels: 0 to 9, of shape (n,).
    """

    train_images: Floats
    train_labels: Labels
    test_images: Floats
    test_labels: Labels


def prepare_digits(path: Path) -> None:
    """Write the digits as .npz, so that not every process has to import scikit-learn."""
    if not path.exists():
        with written_whole(path) as file:
            np.savez(file, **bundled()._asdict())


def load_digits(path: Path) -> Digits:
    """Read what `prepare` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        return Digits(**arrays)


def bundled() -> Digits:
    """Return scikit-learn's digits; the split is the same each time.

    Source: Alpaydin and Kaynak (1998), https://doi.org/10.24432/C50P49.
    """
    from sklearn.datasets import load_digits  # type: ignore[import-untyped]

    whole = load_digits()
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(whole.target))
    images = (whole.data / _BRIGHTEST)[order]
    labels = whole.target[order].astype(np.int64)
    first = int(len(order) * TEST_SHARE)
    return Digits(images[first:], labels[first:], images[:first], labels[:first])


PIXELS: Final = 64
CLASSES: Final = 10

Parameters = dict[str, Floats]
"""Weights and biases by name: hidden_weights (64, h), hidden_biases (h,), output_weights (h, 10),
output_biases (10,)."""


class Network:
    """A multilayer perceptron: 64 pixels, one hidden layer of ReLU units, 10 digits."""

    def __init__(self, parameters: Mapping[str, Floats]) -> None:
        self.parameters = dict(parameters)

    @classmethod
    def initial(cls, hidden: int, seed: int) -> "Network":
        """Return an untrained network; weights as in He et al. (2015), arXiv:1502.01852."""
        random = np.random.default_rng(seed)
        return cls(
            {
                "hidden_weights": random.normal(0, np.sqrt(2 / PIXELS), (PIXELS, hidden)),
                "hidden_biases": np.zeros(hidden),
                "output_weights": random.normal(0, np.sqrt(2 / hidden), (hidden, CLASSES)),
                "output_biases": np.zeros(CLASSES),
            }
        )

    @property
    def name(self) -> str:
        """Its layers, such as mlp-64-48-10."""
        return f"mlp-{PIXELS}-{len(self.parameters['hidden_biases'])}-{CLASSES}"

    def predict(self, images: Floats) -> Labels:
        """Return the digit that each image (n, 64) most likely shows."""
        digits: Labels = self._output(self._hidden(images)).argmax(axis=1)
        return digits

    def accuracy(self, images: Floats, labels: Labels) -> float:
        """Return the fraction of images that it reads as labelled."""
        return float((self.predict(images) == labels).mean())

    def loss_and_gradients(self, images: Floats, labels: Labels) -> tuple[float, Parameters]:
        """Return the mean cross-entropy in nats, and its gradient by each parameter."""
        hidden = self._hidden(images)
        rows = np.arange(len(labels))
        probabilities = _softmax(self._output(hidden))
        loss = -float(np.log(probabilities[rows, labels] + 1e-12).mean())
        error = probabilities
        error[rows, labels] -= 1
        error /= len(labels)
        behind = error @ self.parameters["output_weights"].T * (hidden > 0)
        return loss, {
            "hidden_weights": images.T @ behind,
            "hidden_biases": behind.sum(axis=0),
            "output_weights": hidden.T @ error,
            "output_biases": error.sum(axis=0),
        }

    def _hidden(self, images: Floats) -> Floats:
        weighted = images @ self.parameters["hidden_weights"]
        rectified: Floats = np.maximum(weighted + self.parameters["hidden_biases"], 0)
        return rectified

    def _output(self, hidden: Floats) -> Floats:
        return hidden @ self.parameters["output_weights"] + self.parameters["output_biases"]


class Momentum:
    """Stochastic gradient descent with momentum (Polyak, 1964)."""

    def __init__(self, network: Network, momentum: float = 0.9) -> None:
        self._network = network
        self._momentum = momentum
        self._velocities = {
            name: np.zeros_like(values) for name, values in network.parameters.items()
        }

    def step(self, images: Floats, labels: Labels, learning_rate: float) -> float:
        """Learn from one batch; returns its loss before the step."""
        loss, gradients = self._network.loss_and_gradients(images, labels)
        for name, gradient in gradients.items():
            velocity = self._velocities[name]
            velocity *= self._momentum
            velocity -= learning_rate * gradient
            self._network.parameters[name] += velocity
        return loss


def batches(examples: int, size: int, seed: int) -> Iterator[Labels]:
    """Yield the indices of one batch after the other, for ever, newly shuffled each epoch."""
    random = np.random.default_rng(seed)
    while True:
        order = random.permutation(examples)
        for start in range(0, examples - size + 1, size):
            yield order[start : start + size]


def _softmax(logits: Floats) -> Floats:
    # The largest is taken off, so that exp cannot overflow.
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    normalised: Floats = powers / powers.sum(axis=1, keepdims=True)
    return normalised


def save_checkpoint(network: Network, path: Path) -> int:
    """Write a network's parameters as .npz, all or nothing; returns the size in bytes."""
    with written_whole(path) as file:
        np.savez(file, **network.parameters)  # type: ignore[arg-type]  # a name could be allow_pickle
    return path.stat().st_size


def load_checkpoint(path: Path) -> Network:
    """Read a network.

    Raises OSError, zipfile.BadZipFile or ValueError for a file that is not a whole checkpoint.
    """
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return Network({name: arrays[name] for name in arrays.files})


def tear_checkpoint(source: Path, path: Path) -> None:
    """Write only half of a checkpoint, as a disk that runs full would leave it."""
    whole = source.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
