"""Event <-> log record: ours come back as they were, anybody's become events without loss."""

from inspect import signature
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import (
    InMemoryLogRecordExporter,
    SimpleLogRecordProcessor,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span

from realm_telemetry.event import CHANNELS, SEVERITIES, Event
from realm_telemetry.otel import from_log_record, producer_of, to_log_record
from realm_telemetry.otel.foreign import content_number

text = st.text(st.characters(exclude_categories=["Cs"]))
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text
    | st.sampled_from(["NaN", "Infinity", "-Infinity"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=8,
)
int64 = st.integers(-(2**63), 2**63 - 1)
maybe_text = st.none() | text


def hex_digits(count: int) -> st.SearchStrategy[str]:
    return st.binary(min_size=count // 2, max_size=count // 2).filter(any).map(bytes.hex)


events = st.builds(
    Event,
    kind=text.filter(bool),
    channel=st.sampled_from(CHANNELS),
    severity=st.sampled_from(SEVERITIES),
    message=text,
    details=st.dictionaries(text, json_values, max_size=96),
    time_unix_nano=int64,
    producer=hex_digits(16),
    number=st.integers(1, 2**64 - 1),
    hero_id=maybe_text,
    campaign_id=maybe_text,
    run_id=maybe_text,
    source=maybe_text,
    trace_id=st.none() | hex_digits(32),
    span_id=st.none() | hex_digits(16),
    trace_flags=st.integers(0, 255),
    rank=st.none() | st.integers(0, 2**32 - 1),
    webhooks=st.lists(text, max_size=3).map(tuple),
    observed_unix_nano=st.none() | int64.filter(bool),
)


def event(**changes: Any) -> Event:
    plain = Event("note", "debug", "info", "hello", {"step": 1}, 1, "ab" * 8, 1)
    return msgspec.structs.replace(plain, **changes)


@given(events)
def test_an_event_comes_back_from_its_log_record_as_it_was(original: Event) -> None:
    assert from_log_record(to_log_record(original)) == original


def test_the_record_says_what_the_table_says() -> None:
    original = event(severity="success", hero_id="dio", details={"step": 7, "nested": {"a": [1]}})
    record = to_log_record(original).log_record
    assert record.event_name == "realm.note"
    assert (record.severity_number, record.severity_text) == (SeverityNumber.INFO2, "SUCCESS")
    assert record.body == "hello"
    assert record.attributes == {
        "realm.details.step": 7,
        "realm.details.nested": {"a": [1]},
        "realm.hero.id": "dio",
        "realm.kind": "note",
        "realm.channel": "debug",
        "realm.severity": "success",
        "log.record.uid": original.id,
    }


def test_the_events_name_among_the_attributes_is_no_detail() -> None:
    """Exporters repeat it there, because some stores drop the record's own field."""
    original = event(details={"event.name": "mine"})
    record = to_log_record(original)
    record.log_record.attributes = {
        **(record.log_record.attributes or {}),
        "event.name": "realm.note",
    }
    assert from_log_record(record) == original
    record.log_record.attributes["event.name"] = "other"
    assert from_log_record(record).details["attributes.event.name"] == "other"


def test_webhook_addresses_are_in_no_exported_field() -> None:
    """They are secrets, and a record goes to any backend."""
    record = to_log_record(event(webhooks=("https://hooks.example/secret",)))
    assert "secret" not in record.to_json()
    assert "secret" not in str(record.log_record.attributes)


def test_an_active_span_is_not_taken_for_the_events() -> None:
    span = NonRecordingSpan(SpanContext(1, 2, False, TraceFlags(1)))
    with use_span(span):
        record = to_log_record(event())
        back = from_log_record(record)
    assert back == event()
    assert record.log_record.span_id == 0


def test_96_details_survive_the_limits_of_the_sdk() -> None:
    crowded = event(
        details={f"d{n}": n for n in range(96)},
        hero_id="h",
        campaign_id="c",
        run_id="r",
        source="s",
    )
    assert through_sdk(crowded) == crowded


def test_nested_lists_survive_the_sdks_tuples() -> None:
    nested = event(details={"a": [[1, 2], [3]], "t": [], "d": {"b": [4]}})
    assert through_sdk(nested) == nested


def through_sdk(original: Event) -> Event:
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(Resource({}), shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    provider.get_logger("t").emit(to_log_record(original).log_record)
    (record,) = exporter.get_finished_logs()
    return from_log_record(record)


def foreign(scope: str | None = None, resource: Any = None, **fields: Any) -> Event:
    fields = {"timestamp": 5, "observed_timestamp": 5, "context": None} | fields
    record = ReadableLogRecord(
        LogRecord(**fields),
        Resource(resource or {}),
        InstrumentationScope(scope) if scope else None,
    )
    return from_log_record(record)


def test_a_plain_log_line_becomes_a_log_record_event() -> None:
    back = foreign(
        "my.module",
        body="disk is full",
        severity_number=SeverityNumber.WARN,
        severity_text="WARN",
        attributes={"code.lineno": 7, "tags": ("a", "b")},
    )
    assert (back.kind, back.severity, back.message) == ("log_record", "warning", "disk is full")
    assert back.details == {"code.lineno": 7, "tags": ["a", "b"]}
    assert back.source == "my.module"
    assert (back.time_unix_nano, back.observed_unix_nano) == (5, 5)


def test_when_a_record_was_observed_is_kept_if_it_is_not_its_time() -> None:
    """The log puts its own arrival into the event's field."""
    back = foreign(body="b", timestamp=5, observed_timestamp=6)
    assert (back.time_unix_nano, back.observed_unix_nano) == (5, 6)
    assert back.details == {"otel.observed_time_unix_nano": "6"}
    assert foreign(body="b", timestamp=None, observed_timestamp=6).time_unix_nano == 6


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("realm.checkpoint_saved", "checkpoint_saved"),
        ("app.Button-Clicked", "app_button_clicked"),
        ("deviceAppLifecycle", "device_app_lifecycle"),
        ("---", "log_record"),
        (None, "log_record"),
    ],
)
def test_the_event_name_becomes_the_kind(name: str | None, kind: str) -> None:
    back = foreign(event_name=name)
    assert back.kind == kind
    lost = name is not None and name.removeprefix("realm.") != kind
    assert back.details.get("otel.event_name") == (name if lost else None)


def test_a_known_kind_brings_its_channel_severity_and_message() -> None:
    back = foreign(event_name="realm.checkpoint_saved", attributes={"realm.details.step": 9})
    assert (back.channel, back.severity) == ("checkpoint", "success")
    assert back.message
    assert back.details == {"step": 9}


@pytest.mark.parametrize(
    ("number", "text_", "severity", "channel", "kept"),
    [
        (1, "TRACE", "info", "debug", {"otel.severity_number": 1, "otel.severity_text": "TRACE"}),
        (9, "INFO", "info", "system", {}),
        (10, "SUCCESS", "success", "system", {}),
        (
            10,
            "INFO2",
            "info",
            "system",
            {"otel.severity_number": 10, "otel.severity_text": "INFO2"},
        ),
        (14, None, "warning", "system", {"otel.severity_number": 14}),
        (
            21,
            "FATAL",
            "error",
            "system",
            {"otel.severity_number": 21, "otel.severity_text": "FATAL"},
        ),
        (0, "CRITICAL", "error", "system", {"otel.severity_text": "CRITICAL"}),
        (None, None, "info", "system", {}),
    ],
)
def test_severity_is_read_from_number_and_text_and_nothing_of_it_lost(
    number: int | None, text_: str | None, severity: str, channel: str, kept: dict[str, Any]
) -> None:
    severity_number = None if number is None else SeverityNumber(number)
    back = foreign(severity_number=severity_number, severity_text=text_, body="b")
    assert (back.severity, back.channel) == (severity, channel)
    assert back.details == kept


def test_a_structured_body_becomes_json_text_and_stays_whole_among_the_details() -> None:
    back = foreign(body={"a": [1, None]})
    assert back.message == '{"a":[1,null]}'
    assert back.details == {"otel.body": {"a": [1, None]}}


def test_a_structured_body_with_a_message_shows_it() -> None:
    assert foreign(body={"level": 3, "msg": "disk is full"}).message == "disk is full"
    assert foreign(body={"message": 3}).message == '{"message":3}'


def test_values_that_json_cannot_hold_are_converted() -> None:
    back = foreign(attributes={"nan": float("nan"), "raw": b"\x00\xff"}, body="b")
    assert back.details["nan"] == "NaN"
    assert isinstance(back.details["raw"], str)
    msgspec.json.encode(back.details)


def test_lone_surrogates_anywhere_are_made_safe() -> None:
    bad = "a\ud800b"
    back = foreign(
        bad,
        body=bad,
        severity_text=bad,
        event_name=bad,
        attributes={bad: [bad], "realm.run.id": bad},
    )
    msgspec.json.encode(back)


def test_an_attribute_never_hides_a_detail_of_the_same_name() -> None:
    back = foreign(attributes={"realm.details.host": 1, "host": 2})
    assert back.details == {"host": 1, "attributes.host": 2}


def test_the_same_record_is_the_same_event_and_another_one_is_not() -> None:
    first, again, other = foreign(body="a"), foreign(body="a"), foreign(body="b")
    assert first.id == again.id != other.id
    assert foreign(attributes={"log.record.uid": "01ARZ3NDEKTSV4RRFFQ69G5FAV"}, body="a").id == (
        foreign(attributes={"log.record.uid": "01ARZ3NDEKTSV4RRFFQ69G5FAV"}, body="b").id
    )


def test_the_producer_is_the_resources_own_or_made_of_it() -> None:
    assert producer_of(Resource({"realm.producer.id": "0123456789abcdef"})) == "0123456789abcdef"
    instance = {"service.name": "a", "service.instance.id": "1"}
    assert producer_of(Resource(instance)) == producer_of(Resource(instance | {"extra": 1}))
    assert producer_of(Resource({"service.name": "a"})) != producer_of(Resource({"k": "b"}))
    assert producer_of(Resource({"k": ("a", "b")})) == producer_of(Resource({"k": ("a", "b")}))


def test_the_resource_of_a_foreign_record_is_kept() -> None:
    back = foreign(body="b", resource={"service.name": "app", "tags": ["a"]})
    assert back.details == {"otel.resource": {"service.name": "app", "tags": ["a"]}}


def test_a_resource_names_run_and_rank_of_records_that_name_none() -> None:
    """And a record keeps its id: it may come again after an upgrade to this."""
    resource = {"service.name": "app", "service.instance.id": "1"}
    named = resource | {"realm.run.id": "r42", "realm.rank": "3"}
    back = foreign(body="b", resource=named)
    assert (back.run_id, back.rank) == ("r42", 3)
    own = foreign(body="b", resource=named, attributes={"realm.run.id": "r7", "realm.rank": 0})
    assert (own.run_id, own.rank) == ("r7", 0)
    assert foreign(body="b", resource=named | {"realm.run.id": "r" * 300}).run_id == "r" * 256
    for nothing in ("", 5, None):
        assert foreign(body="b", resource=resource | {"realm.run.id": nothing}).run_id is None
    before = msgspec.structs.replace(back, run_id=None, rank=None, number=1)
    content = msgspec.json.encode(before, order="deterministic").removesuffix(b',"rank":null}')
    assert back.number == content_number(content + b"}")


def test_a_scope_keeps_its_version_and_attributes() -> None:
    record = ReadableLogRecord(
        LogRecord(body="b", attributes={"realm.source": "mine"}),
        Resource({}),
        InstrumentationScope("lib", "1.2", "https://schema", {"k": "v"}),
    )
    back = from_log_record(record)
    assert back.source == "mine"
    assert back.details == {
        "otel.scope.name": "lib",
        "otel.scope.version": "1.2",
        "otel.scope.schema_url": "https://schema",
        "otel.scope.attributes": {"k": "v"},
    }


attribute_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.text(min_size=1)
        | st.sampled_from(["realm.kind", "realm.channel", "realm.severity", "log.record.uid"])
        | st.sampled_from(["realm.hero.id", "realm.details.a", "realm.run.id", "event.name"]),
        attribute_values,
    ),
    attribute_values,
    st.none() | st.text(),
    st.none() | st.sampled_from(list(SeverityNumber)),
)
def test_any_record_of_any_logger_becomes_a_valid_event(
    attributes: dict[str, Any], body: Any, name: str | None, number: SeverityNumber | None
) -> None:
    back = foreign(attributes=attributes, body=body, event_name=name, severity_number=number)
    assert back.kind
    assert back.channel in CHANNELS
    assert back.severity in SEVERITIES
    assert 2**63 <= back.number < 2**64 - 1 or "realm.kind" in attributes
    for field in (back.message, back.kind, back.source, back.hero_id, back.run_id):
        assert field is None or isinstance(field, str)
    msgspec.json.encode(back)
    assert from_log_record(to_log_record(back)) == back


@pytest.mark.skipif(
    "exception" not in signature(LogRecord.__init__).parameters,
    reason="this opentelemetry-api is older than exceptions in records",
)
def test_a_record_with_an_exception_keeps_it() -> None:
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    logger = provider.get_logger("app")
    try:
        raise ValueError("bad step")
    except ValueError as error:
        logger.emit(LogRecord(body="failed", severity_number=SeverityNumber.ERROR, exception=error))
    (record,) = exporter.get_finished_logs()
    back = from_log_record(record)
    assert back.severity == "error"
    assert back.details["exception.message"] == "bad step"


@pytest.mark.parametrize("rank", ["first", -1, 2**32, True, 1.5, None])
def test_a_foreign_rank_that_is_none_stays_a_detail(rank: Any) -> None:
    found = foreign(attributes={"realm.rank": rank})
    assert (found.rank, found.details["realm.rank"]) == (None, rank)


def test_the_number_made_of_a_record_is_that_of_version_0_1_0() -> None:
    """A record that is sent again after an upgrade is the event that it was."""
    found = foreign(timestamp=1, body="hello", attributes={"b": 1, "a": [1, {"c": None}]})
    assert found.number == 14640959994023464412
    ranked = foreign(body="hello", attributes={"realm.rank": "3"})
    assert (ranked.rank, ranked.details) == (3, {})
