"""The limits of `emit` hold for every event that is stored, whichever way it came."""

from typing import Any

import msgspec
import pytest

from realm_telemetry.event import Event
from realm_telemetry.log import ProducerInfo
from realm_telemetry.log.engine import Reader, Writer
from realm_telemetry.values.details import (
    ADDED_BYTES,
    MAX_DETAILS,
    MAX_EVENT_BYTES,
    TRUNCATED,
    clean_details,
)

from .conftest import PRODUCER, make_event


def nested(depth: int) -> Any:
    """Objects and lists in turns, inside each other."""
    value: Any = 1
    for level in range(depth):
        value = {"a": value} if level % 2 else [value]
    return value


def stored(writer: Writer, reader: Reader, event: Event) -> Event:
    """The event as it is read back."""
    writer.append([event])
    return reader.now.after(0)[-1].event


@pytest.mark.parametrize("depth", [1, 15, 16, 17, 100, 400])
def test_details_are_cut_at_the_depth_of_emit(depth: int, writer: Writer, reader: Reader) -> None:
    """And marked as emit marks them; its neighbours in the batch stay whole."""
    details = {"deep": nested(depth), "step": 1}
    event = make_event(2, details=details)
    writer.append([make_event(1), event, make_event(3)])
    found = [row.event.details for row in reader.now.after(0)]
    assert found == [{"step": 1}, clean_details(details)[0], {"step": 3}]
    assert (found[1].get(TRUNCATED) == ["deep"]) is (depth > 16)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
        (2**63 - 1, 2**63 - 1),
        (2**63, str(2**63)),
        (-(2**63), -(2**63)),
        (10**30, str(10**30)),
        ((1, 2), [1, 2]),
        ({"": 1}, {"(empty)": 1}),
        ({1: 2}, {"1": 2}),
        ("\ud83d", "\ufffd"),
        ({"half \ud83d": 1}, {"half \ufffd": 1}),
        (b"\x00", "AA=="),
    ],
)
def test_values_become_those_of_emit(
    value: Any, expected: Any, writer: Writer, reader: Reader
) -> None:
    for details, wanted in (({"x": value}, expected), ({"x": [value]}, [expected])):
        event = make_event(1 + len(reader.now.after(0)), details=details)
        assert stored(writer, reader, event).details == {"x": wanted}


@pytest.mark.parametrize("count", [MAX_DETAILS - 1, MAX_DETAILS, MAX_DETAILS + 1])
def test_an_event_has_so_many_details(count: int, writer: Writer, reader: Reader) -> None:
    details = {f"d{number}": number for number in range(count)}
    found = stored(writer, reader, make_event(1, details=details)).details
    if count <= MAX_DETAILS:
        assert found == details
    else:
        assert len(found) == MAX_DETAILS
        assert found[TRUNCATED] == ["d95", "d96"]


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_an_event_has_so_many_bytes(beyond: int, writer: Writer, reader: Reader) -> None:
    """With room for what a processor has added since `emit`."""
    event = make_event(1, details={"text": ""})
    size = len(msgspec.msgpack.encode(event))
    # 4 more bytes for the length of the text.
    text = "x" * (MAX_EVENT_BYTES + ADDED_BYTES - size - 4 + beyond)
    event = make_event(1, details={"text": text})
    assert len(msgspec.msgpack.encode(event)) == MAX_EVENT_BYTES + ADDED_BYTES + beyond
    found = stored(writer, reader, event)
    assert (found.details == {"text": text}) is (beyond <= 0)
    assert (found.details.get(TRUNCATED) == ["text"]) is (beyond > 0)


def test_a_long_message_without_details_is_cut(writer: Writer, reader: Reader) -> None:
    event = make_event(1, details={}, message="m" * 200_000)
    found = stored(writer, reader, event)
    assert len(found.message) < MAX_EVENT_BYTES
    assert found.details == {TRUNCATED: ["(message)"]}


def test_a_resource_is_within_the_limits_too(writer: Writer, reader: Reader) -> None:
    """Registered, or noted of a producer that has no receipt."""
    resource = {"deep": nested(100), "service.name": "trainer", "nan": float("nan")}
    writer.register_producer(ProducerInfo(PRODUCER, "p", resource))
    writer.note_resource("00000000000000bb", "p", resource)
    for producer in reader.now.producers():
        assert producer.resource == clean_details(resource)[0]
        assert producer.resource[TRUNCATED] == ["deep"]
    (live,) = reader.now.receipt_totals().newest_live
    assert live.service_name == "trainer"


@pytest.mark.parametrize("odd", ["", "\x1e", "\x1d", "\x1e\x1d\x1e", "\0", "\uffff"])
def test_text_that_an_engine_might_use_itself_comes_back(
    writer: Writer, reader: Reader, odd: str
) -> None:
    events = [make_event(1, message=odd), make_event(2, message=odd, hero_id=odd, run_id=None)]
    writer.append(events[:1])
    writer.append([*events, make_event(3, message="plain", hero_id=None)])
    found = [(row.event.message, row.event.hero_id) for row in reader.now.after(0)]
    assert found == [(odd, None), (odd, odd), ("plain", None)]
