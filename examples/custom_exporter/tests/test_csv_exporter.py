"""The exporter keeps every rule of realm_telemetry's conformance check."""

import csv
from pathlib import Path

import msgspec
import pytest
from realm_csv_exporter import CsvExporter, round_losses

from realm_telemetry.plugins import ExporterContext
from realm_telemetry.testing import CASES, Case, Subject, sample_events


def make(home: Path, **options: str) -> CsvExporter:
    context = ExporterContext(home=home, log_path=home / "vault" / "jobs.db", options=options)
    return CsvExporter.from_context(context)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_exporter_keeps_the_rule(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "logs" / "events.csv"
    (tmp_path / "file").touch()

    def delivered() -> list[str]:
        with path.open(newline="", encoding="utf-8") as file:
            return [row["id"] for row in csv.DictReader(file)]

    case(
        Subject(
            make=lambda: make(tmp_path),
            delivered=delivered,
            make_broken=lambda: make(tmp_path, path=str(tmp_path / "file" / "events.csv")),
        )
    )


def test_the_processor_rounds_losses_only() -> None:
    (event,) = sample_events(1)
    event = msgspec.structs.replace(event, details={"loss": 0.123456, "step": 1})
    rounded = round_losses(event)
    assert rounded is not None
    assert rounded.details == {"loss": 0.1235, "step": 1}
