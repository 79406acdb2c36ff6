"""The log: one SQLite table, its writer, its readers."""

from realm_telemetry.log.filters import Filters, InvalidFilterError, parse_filters, to_params
from realm_telemetry.log.records import AppendResult, ProducerInfo, Receipt
from realm_telemetry.log.rows import LogRow
from realm_telemetry.log.sqlite.history import Page
from realm_telemetry.log.sqlite.reader import LogReader
from realm_telemetry.log.sqlite.writer import LogWriter

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
