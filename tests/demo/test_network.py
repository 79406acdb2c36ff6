"""The network of the demo really learns."""

from pathlib import Path

import numpy as np
import pytest

from realm_telemetry.demo import network
from realm_telemetry.demo import network as digits
from realm_telemetry.demo.campaign import QUICK


@pytest.fixture(scope="module")
def data() -> digits.Digits:
    return network.bundled()


def trained(data: digits.Digits, steps: int, seed: int = 1) -> network.Network:
    made = network.Network.initial(QUICK.hidden, seed)
    optimizer = network.Momentum(made)
    batches = network.batches(len(data.train_labels), QUICK.batch_size, seed)
    for step in range(1, steps + 1):
        batch = next(batches)
        optimizer.step(data.train_images[batch], data.train_labels[batch], QUICK.rate_at(step))
    return made


@pytest.mark.parametrize("seed", range(1, 6))
def test_it_reads_95_percent_of_unseen_digits_after_a_quick_campaign(
    data: digits.Digits, seed: int
) -> None:
    made = trained(data, QUICK.steps, seed)
    assert made.accuracy(data.test_images, data.test_labels) >= 0.95


def test_an_untrained_network_guesses(data: digits.Digits) -> None:
    made = network.Network.initial(QUICK.hidden, seed=1)
    assert made.accuracy(data.test_images, data.test_labels) < 0.4


def test_training_and_test_images_never_mix(data: digits.Digits) -> None:
    train = {image.tobytes() for image in data.train_images}
    assert len(data.train_labels) + len(data.test_labels) == 1797
    assert not any(image.tobytes() in train for image in data.test_images)


def test_the_same_seed_gives_the_same_network(data: digits.Digits) -> None:
    one, other = trained(data, 20), trained(data, 20)
    for name, values in one.parameters.items():
        np.testing.assert_array_equal(values, other.parameters[name])


def test_gradients_agree_with_finite_differences(data: digits.Digits) -> None:
    made = trained(data, 5)
    images, labels = data.test_images[:16], data.test_labels[:16]
    _, gradients = made.loss_and_gradients(images, labels)
    for name, values in made.parameters.items():
        index = tuple(size // 2 for size in values.shape)
        before, values[index] = values[index], values[index] + 1e-5
        above, _ = made.loss_and_gradients(images, labels)
        values[index] = before - 1e-5
        below, _ = made.loss_and_gradients(images, labels)
        values[index] = before
        assert gradients[name][index] == pytest.approx((above - below) / 2e-5, abs=1e-6)


def test_a_checkpoint_comes_back_as_it_was(data: digits.Digits, tmp_path: Path) -> None:
    made = trained(data, 20)
    path = tmp_path / "step.npz"
    assert network.save_checkpoint(made, path) == path.stat().st_size
    read = network.load_checkpoint(path)
    assert (read.predict(data.test_images) == made.predict(data.test_images)).all()
    assert list(tmp_path.iterdir()) == [path]


def test_a_torn_checkpoint_cannot_be_loaded(tmp_path: Path) -> None:
    whole, torn = tmp_path / "whole.npz", tmp_path / "torn.npz"
    network.save_checkpoint(network.Network.initial(8, seed=1), whole)
    network.tear_checkpoint(whole, torn)
    with pytest.raises(Exception, match="zip"):
        network.load_checkpoint(torn)


def test_prepared_digits_are_the_bundled_ones(data: digits.Digits, tmp_path: Path) -> None:
    path = tmp_path / "digits.npz"
    network.prepare_digits(path)
    for name, values in network.load_digits(path)._asdict().items():
        np.testing.assert_array_equal(values, getattr(data, name))
