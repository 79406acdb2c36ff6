"""The log: what is read from it and how, and its engine, SQLite.

Names are imported when they are first used: the table of filters is light, an engine is not.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import realm_telemetry.compat.renamed  # noqa: F401  # first: for live processes of 0.1.0

if TYPE_CHECKING:
    from realm_telemetry.log.filters import Filters, InvalidFilterError, parse_filters, to_params
    from realm_telemetry.log.outbox import redacted
    from realm_telemetry.log.records import AppendResult, ProducerInfo, Receipt
    from realm_telemetry.log.rows import LogRow, Page
    from realm_telemetry.log.sqlite.reader import LogReader
    from realm_telemetry.log.sqlite.writer import LogWriter

_MODULES: Final = {
    "AppendResult": "records",
    "Filters": "filters",
    "InvalidFilterError": "filters",
    "LogReader": "sqlite.reader",
    "LogRow": "rows",
    "LogWriter": "sqlite.writer",
    "Page": "rows",
    "ProducerInfo": "records",
    "Receipt": "records",
    "parse_filters": "filters",
    "redacted": "outbox",
    "to_params": "filters",
}

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
    "redacted",
    "to_params",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
