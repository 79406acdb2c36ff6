"""For tests of exporters and of programs that emit: fakes, and the exporter conformance check."""

import realm_telemetry.compat.renamed  # noqa: F401  # first: for live processes of 0.1.0
from realm_telemetry.testing.broken_server import BrokenServer
from realm_telemetry.testing.clock import FakeClock
from realm_telemetry.testing.conformance import (
    CASES,
    Case,
    ConformanceError,
    Subject,
    check_exporter,
)
from realm_telemetry.testing.samples import sample_events

__all__ = [
    "CASES",
    "BrokenServer",
    "Case",
    "ConformanceError",
    "FakeClock",
    "Subject",
    "check_exporter",
    "sample_events",
]
