"""The data: the UCI handwritten digits, the copy that scikit-learn brings along."""

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


def prepare(path: Path) -> None:
    """Write the digits as .npz, so that not every process has to import scikit-learn."""
    if not path.exists():
        with written_whole(path) as file:
            np.savez(file, **bundled()._asdict())


def load(path: Path) -> Digits:
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
