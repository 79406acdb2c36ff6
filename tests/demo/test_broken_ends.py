"""Demos that end otherwise than they should."""

import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from realm_telemetry import demo
from realm_telemetry.errors import ConfigError

from .test_demo import SERVICE, SHIPPER, Until


def test_trainer_and_workers_end_with_a_lab_that_is_killed(
    tmp_path: Path, demo_process: Any, until: Until
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        with demo_process(tmp_path, port=port) as lab:
            assert f"Port {port} is busy" in lab.read_until("job_completed")
            lab.send(signal.SIGKILL)
            lab.ended()
            assert until(lambda: not lab.left(SHIPPER, SERVICE), 60), lab.left()


def test_a_trainer_that_fails_ends_the_campaign_with_its_output(
    tmp_path: Path, demo_process: Any
) -> None:
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "digits.npz").write_text("no digits here")
    with demo_process(tmp_path, once=True) as lab:
        end = lab.ended()
    assert end.returncode == 1
    assert "trainer ended with exit code 1" in end.stdout
    assert "trainer.py" in end.stdout


def test_a_reader_that_goes_away_ends_the_demo(tmp_path: Path, demo_process: Any) -> None:
    with demo_process(tmp_path, once=True) as lab:
        lab.read_until("training_started")
        lab.stop_reading()
        end = lab.ended()
        assert (end.returncode, end.stderr) == (demo.INTERRUPTED, "")
        assert lab.left(SHIPPER) == {}


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ConfigError, match=r"pip install 'realm-telemetry\[demo\]'"):
        demo.run(home=tmp_path)
