"""Checkpoints: networks on disk."""

from pathlib import Path

import numpy as np

from realm_telemetry.demo.files import written_whole
from realm_telemetry.demo.network import Network


def save(network: Network, path: Path) -> int:
    """Write a network's parameters as .npz, all or nothing; returns the size in bytes."""
    with written_whole(path) as file:
        np.savez(file, **network.parameters)  # type: ignore[arg-type]  # a name could be allow_pickle
    return path.stat().st_size


def load(path: Path) -> Network:
    """Read a network.

    Raises OSError, zipfile.BadZipFile or ValueError for a file that is not a whole checkpoint.
    """
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return Network({name: arrays[name] for name in arrays.files})


def tear(source: Path, path: Path) -> None:
    """Write only half of a checkpoint, as a disk that runs full would leave it."""
    whole = source.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
