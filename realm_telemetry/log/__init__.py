"""The log: one SQLite table, its writer, its readers."""

import realm_telemetry.compat.renamed  # noqa: F401  # first: for live processes of 0.1.0
from realm_telemetry.log.filters import Filters, InvalidFilterError, parse_filters, to_params
from realm_telemetry.log.rows import LogRow
from realm_telemetry.log.sqlite.pages import Page
from realm_telemetry.log.sqlite.producers import ProducerInfo, Receipt
from realm_telemetry.log.sqlite.reader import LogReader
from realm_telemetry.log.sqlite.writer import AppendResult, LogWriter

__all__ = [
    "AppendResult",
    "Filters",
    "InvalidFilterError",
    "LogReader",
    "LogRow",
    "LogWriter",
    "Page",
    "ProducerInfo",
    "Receipt",
    "parse_filters",
    "to_params",
]
