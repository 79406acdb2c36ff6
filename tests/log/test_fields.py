"""The table of filter fields: every row is whole, and reaches everything that filters."""

import subprocess
import sys
from pathlib import Path

import pytest
from realm_exporter_webhook.rules import GROUP_FIELDS, RULE_FILTERS

from realm_telemetry.cli.query import query
from realm_telemetry.client.requests import filter_params
from realm_telemetry.log import Filters, InvalidFilterError, LogReader, LogWriter, parse_filters
from realm_telemetry.log.fields import FIELDS, FILTER_PARAMETERS, Field
from realm_telemetry.service import routes

from .conftest import make_event

EVERY_FIELD = pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)


def name_of(field: Field) -> str:
    if field.number:
        return "3"
    return field.allowed[-1] if field.allowed else "ab"


def test_no_two_fields_share_a_name() -> None:
    names = [*FILTER_PARAMETERS, *(field.alias for field in FIELDS if field.alias)]
    assert len(set(names)) == len(names)
    assert len({field.plural for field in FIELDS}) == len(FIELDS)


@EVERY_FIELD
def test_a_field_is_a_parameter_an_option_an_argument_and_a_rules_filter(field: Field) -> None:
    name = name_of(field)
    filters = parse_filters({field.name: f"{name},!{name}"})
    assert (filters.wanted(field), filters.unwanted(field)) == ((name,), (name,))
    assert field.name in {option.name for option in query.params}
    assert filter_params({field.name: name}) == [(field.name, name)]
    assert field.name in RULE_FILTERS
    assert GROUP_FIELDS[field.name] == field.column
    endpoints = {one.path: one for one in routes.ENDPOINTS}
    for path in ("/api/battle_log", "/api/events", "/api/events/stream"):
        described = {one.name: one.description for one in endpoints[path].parameters}
        assert described[field.name].startswith(field.help)


@EVERY_FIELD
def test_a_field_is_documented_as_a_parameter(field: Field) -> None:
    document = (Path(__file__).parents[2] / "docs" / "http-api.md").read_text(encoding="utf-8")
    row = next(line for line in document.splitlines() if line.startswith("| `channel`, `kind`"))
    assert f"`{field.name}`" in row.split("|")[1]


@EVERY_FIELD
def test_a_field_finds_and_leaves_out_the_same_events_in_python_and_sql(
    field: Field, writer: LogWriter, reader: LogReader
) -> None:
    name = name_of(field) * {"producer": 8, "trace": 16}.get(field.name, 1)
    value = int(name) if field.number else name
    writer.append([make_event(1), make_event(2, **{field.column: value})])
    rows = reader.now.after(0)
    for filters in (Filters(**{field.plural: (name,)}), Filters(**{field.not_plural: (name,)})):
        expected = [row.cursor for row in rows if filters.matches(row.event)]
        assert [row.cursor for row in reader.now.page(filters).rows] == expected
        assert len(expected) == 1


def test_a_name_that_is_none_of_a_field_is_refused() -> None:
    with pytest.raises(TypeError, match="colours"):
        Filters(colours=("red",))
    with pytest.raises(InvalidFilterError, match="colour"):
        parse_filters({"colour": "red"})


@pytest.mark.processes
def test_the_pages_have_the_same_fields() -> None:
    script = Path(routes.__file__).parent / "web" / "fields.py"
    checked = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.processes
def test_clients_and_options_have_the_fields_without_an_engine() -> None:
    program = (
        "import sys, realm_telemetry.client, realm_telemetry.cli.filter_options;"
        "print('sqlite3' in sys.modules, 'realm_telemetry.log.fields' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.stdout.split() == ["False", "True"]


def test_a_rank_is_a_whole_number_however_it_is_written() -> None:
    filters = parse_filters({"rank": "007,0, !00"})
    assert (filters.ranks, filters.not_ranks) == (("7", "0"), ("0",))
    for wrong in ("one", "-1", "1.5", "!x", "\u0663"):
        with pytest.raises(InvalidFilterError, match=r"not a rank.*whole number"):
            parse_filters({"rank": wrong})
