"""Values on a real GPU: none is read back, whatever work is queued on it. Skipped without one."""

import importlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from realm_telemetry.values.details import clean_fields

BUSY = 40
"""Products of large matrices: a second and more of work, which a read-back would wait for."""


def imported(name: str) -> Any:
    """A package, if this machine has it and a GPU for it."""
    try:
        package = importlib.import_module(name)
        has_gpu = {
            "torch": lambda: package.cuda.is_available(),
            "jax": lambda: any(device.platform == "gpu" for device in package.devices()),
            "cupy": lambda: package.cuda.runtime.getDeviceCount() > 0,
        }[name]()
    except Exception as error:
        pytest.skip(f"needs {name} and a GPU: {error}")
    if not has_gpu:
        pytest.skip(f"needs a GPU that {name} sees")
    return package


@contextmanager
def no_synchronisation(torch: Any) -> Iterator[None]:
    """Let PyTorch raise where a call waits for the GPU."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def queued(torch: Any, times: int) -> Any:
    """Work on the GPU that is not done yet; its result."""
    matrix = torch.randn(16384, 16384, device="cuda")
    torch.cuda.synchronize()
    for _ in range(times):
        matrix = matrix @ matrix
    return matrix


def test_pytorch_is_not_waited_for() -> None:
    torch = imported("torch")
    queued(torch, 1)
    matrix = queued(torch, BUSY)
    loss, few = matrix[0, 0], matrix[0, :3]
    done = torch.cuda.Event()
    done.record()
    with no_synchronisation(torch):
        began = time.perf_counter()
        details, _ = clean_fields(
            {"loss": loss, "few": few, "parameter": torch.nn.Parameter(few), "in_list": [loss]}
        )
        took_s = time.perf_counter() - began
    assert not done.query(), "the work was done before: it proves nothing"
    assert took_s < 0.05
    assert details["loss"] == {"shape": [], "dtype": "torch.float32"}
    assert details["few"] == {"shape": [3], "dtype": "torch.float32"}
    assert details["in_list"] == [details["loss"]]
    torch.cuda.synchronize()


def test_pytorch_on_the_host_is_read() -> None:
    torch = imported("torch")
    details, _ = clean_fields({"loss": torch.tensor(0.5), "few": torch.tensor([1, 2])})
    assert details == {"loss": 0.5, "few": [1, 2]}
    pinned, _ = clean_fields({"loss": torch.tensor(0.5).pin_memory()})
    assert pinned == {"loss": 0.5}


def test_jax_is_not_waited_for() -> None:
    jax = imported("jax")
    matrix = jax.numpy.ones((16384, 16384))
    (matrix @ matrix).block_until_ready()
    for _ in range(BUSY):
        matrix = matrix @ matrix
    loss = matrix.sum()
    began = time.perf_counter()
    details, _ = clean_fields({"loss": loss})
    took_s = time.perf_counter() - began
    assert not loss.is_ready(), "the work was done before: it proves nothing"
    assert took_s < 0.05
    assert details == {"loss": {"shape": [], "dtype": "float32"}}


def test_cupy_is_not_waited_for() -> None:
    cupy = imported("cupy")
    matrix = cupy.ones((16384, 16384), dtype="float32")
    matrix @ matrix
    cupy.cuda.Device().synchronize()
    for _ in range(BUSY):
        matrix = matrix @ matrix
    done = cupy.cuda.Event(disable_timing=True)
    done.record()
    began = time.perf_counter()
    details, _ = clean_fields({"loss": matrix[0, 0]})
    took_s = time.perf_counter() - began
    assert not done.done, "the work was done before: it proves nothing"
    assert took_s < 0.05
    assert details == {"loss": {"shape": [], "dtype": "float32"}}
