"""Tests that look inside SQLite: plans, schema, WAL, locks, files, older tables.

They share what the tests of the log's interface share.
"""

from ..conftest import (  # noqa: TID252 - these tests are a part of those
    HOUR,
    NOW,
    OLDER_INSERT,
    PRODUCER,
    SECOND,
    Clock,
    all_pages,
    make_event,
    older_row,
    receipt,
    scattered,
    training_step,
)

__all__ = [
    "HOUR",
    "NOW",
    "OLDER_INSERT",
    "PRODUCER",
    "SECOND",
    "Clock",
    "all_pages",
    "make_event",
    "older_row",
    "receipt",
    "scattered",
    "training_step",
]
