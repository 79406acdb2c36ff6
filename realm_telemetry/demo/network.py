"""A small neural network in numpy: one hidden layer, softmax, momentum."""

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from realm_telemetry.demo.digits import Floats, Labels

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
