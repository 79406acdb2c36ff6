"""docs/semantic-conventions.md says what the tables say."""

import inspect
import re
from pathlib import Path

import pytest

from realm_telemetry.kinds import catalog
from realm_telemetry.kinds import typed as kinds
from realm_telemetry.values import conversions
from realm_telemetry.values import details as values

DOCUMENT = (Path(__file__).parents[2] / "docs" / "semantic-conventions.md").read_text("utf-8")
ROWS = {
    cells[0].strip("`"): cells[1:]
    for line in DOCUMENT.splitlines()
    if line.startswith("| `")
    for cells in [[cell.strip() for cell in line.strip("|").split(" | ")]]
}


def documented_fields(kind):
    parameters = inspect.signature(getattr(kinds, kind)).parameters.values()
    fields = [
        f"`{each.name}`" + ("" if each.default is each.empty else "?")
        for each in parameters
        if each.kind is not each.VAR_KEYWORD and each.name != "message"
    ]
    return ", ".join(fields) or "-"


@pytest.mark.parametrize("kind", catalog.KIND_METADATA)
def test_every_kind_is_documented_as_it_is(kind):
    spec = catalog.spec(kind)
    assert ROWS[kind] == [
        spec.channel,
        spec.severity,
        "yes" if spec.routine else "no",
        f"`{spec.template}`" if spec.template else "-",
        documented_fields(kind),
    ]


def test_no_kind_is_documented_that_is_not_there():
    listed = re.findall(r"^\| `(\w+)` \| \w+ \| \w+ \| (?:yes|no) \|", DOCUMENT, re.MULTILINE)
    assert sorted(listed) == sorted(catalog.KIND_METADATA)


@pytest.mark.parametrize("channel", catalog.CHANNEL_ICONS)
def test_every_channel_is_documented(channel):
    icon, description = catalog.CHANNEL_ICONS[channel], catalog.CHANNEL_DESCRIPTIONS[channel]
    assert ROWS[channel] == [icon, description]


@pytest.mark.parametrize("severity", catalog.SEVERITY_ICONS)
def test_every_severity_is_documented(severity):
    assert ROWS[severity][:2] == [
        catalog.SEVERITY_ICONS[severity],
        f"`{catalog.SEVERITY_COLOURS[severity]}`",
    ]


@pytest.mark.parametrize(
    ("what", "limit"),
    [
        ("details of an event", values.MAX_DETAILS),
        ("an event as msgpack", values.MAX_EVENT_BYTES),
        ("containers in containers", conversions.MAX_DEPTH),
        ("items of one container", conversions.MAX_ITEMS),
        ("values in one detail", conversions.MAX_NODES),
        ("characters in one converted detail", conversions.MAX_TEXT_CHARS),
        ("characters of a converted key", conversions.MAX_KEY_CHARS),
    ],
)
def test_every_limit_is_documented(what, limit):
    assert re.search(rf"^\| {what} \| {limit:,}( bytes)? \|", DOCUMENT, re.MULTILINE)


def test_the_mark_of_what_was_cut_is_documented():
    assert f"`{values.TRUNCATED}`" in DOCUMENT
