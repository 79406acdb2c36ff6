"""The third-party example, installed as a user installs it, at work in a real shipper process."""

import csv
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from .conftest import Home

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_exporter"


def test_the_example_distribution_gets_every_event_by_its_name(
    make_home: Callable[..., Home], tmp_path: Path
) -> None:
    target = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index"]
    options = ["--no-build-isolation", "--no-deps", "--target", str(target)]
    subprocess.run([*pip, *options, str(EXAMPLE)], check=True)
    home = make_home(PYTHONPATH=str(target))
    path = tmp_path / "events.csv"
    producer = home.producer(
        ("battle_log", "csv"), processors=["round_losses"], options={"csv": {"path": str(path)}}
    )
    ids = producer.emit(500, loss=0.123456789).ids
    flushed = producer.flush()
    assert flushed["delivered"], flushed
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ids == home.logged()
    assert all('"loss":0.1235' in row["details"] for row in rows)
    producer.exit()
