"""How SQLite samples a long run."""

import pytest

from realm_telemetry.log import Filters, LogReader, LogWriter
from realm_telemetry.log.sqlite import series as series_module

from .conftest import training_step

STEPS = Filters(kinds=("training_step",), runs=("r1",))


def test_a_long_run_is_sampled_over_its_whole_time(
    writer: LogWriter, reader: LogReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One row over the limit: the answer says so, and reaches from the first to the last."""
    monkeypatch.setattr(series_module, "EXACT_ROWS", 300)
    writer.append([training_step(number, 1 / number) for number in range(1, 301)])
    assert not reader.now.series(STEPS, ["loss"], 50).sampled
    writer.append([training_step(301, 0.1)])
    found = reader.now.series(STEPS, ["loss"], 50)
    assert found.sampled
    assert 40 <= len(found.points) <= 60
    assert (found.points[0][2], found.points[-1][2]) == (1, 301)
