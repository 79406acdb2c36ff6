"""The table of filter fields against the columns of the file."""

import sqlite3
from contextlib import closing

import pytest

from realm_telemetry.event import Event
from realm_telemetry.log import LogWriter
from realm_telemetry.log.fields import FIELDS, Field


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_a_field_is_a_column_of_the_log_and_of_an_event(field: Field, writer: LogWriter) -> None:
    with closing(sqlite3.connect(writer.path)) as connection:
        columns = {row[1] for row in connection.execute("PRAGMA table_info(battle_log)")}
    assert field.column in columns
    assert field.column in Event.__struct_fields__
