"""The log: one SQLite table, its writer, its readers."""

from realm_telemetry.log.filters import Filters, InvalidFilterError, parse_filters, to_params
from realm_telemetry.log.pages import Page
from realm_telemetry.log.producers import ProducerInfo, Receipt
from realm_telemetry.log.reader import LogReader
from realm_telemetry.log.rows import LogRow
from realm_telemetry.log.writer import AppendResult, LogWriter

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
