"""An exporter gets from the durable processor what it gets from the SDK's batch processor."""

import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.sdk._logs import LoggerProvider, LogRecordLimits, ReadableLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from realm_telemetry.otel.durable import DurableLogRecordProcessor

from .conftest import Recording

TEXT = st.text(max_size=20)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), TEXT, st.binary(max_size=20)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(TEXT, inner, max_size=4),
    ),
    max_leaves=12,
)
ATTRIBUTES = st.dictionaries(TEXT.filter(bool), VALUES, max_size=8)
NANOS = st.one_of(st.none(), st.integers(0, 2**63 - 1))
SPANS = st.one_of(
    st.none(),
    st.tuples(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.integers(0, 255)),
)


def context_of(span: tuple[int, int, int] | None) -> Context:
    if span is None:
        return Context({"nothing": True})
    trace_id, span_id, flags = span
    context = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
    return set_span_in_context(NonRecordingSpan(context), Context())


RECORDS = st.builds(
    lambda span, **fields: LogRecord(context=context_of(span), **fields),
    span=SPANS,
    timestamp=NANOS,
    observed_timestamp=NANOS,
    severity_number=st.one_of(st.none(), st.sampled_from(SeverityNumber)),
    severity_text=st.one_of(st.none(), TEXT),
    body=VALUES,
    attributes=st.one_of(st.none(), ATTRIBUTES),
    event_name=st.one_of(st.none(), TEXT),
)


class Pair:
    """One provider with both processors."""

    def __init__(self, home: Path, **options: Any) -> None:
        self.ours, self.theirs = Recording(), Recording()
        self.provider = LoggerProvider(shutdown_on_exit=False, **options)
        self.provider.add_log_record_processor(
            DurableLogRecordProcessor("pair", self.ours, home=home, max_export_batch_size=2048)
        )
        self.provider.add_log_record_processor(BatchLogRecordProcessor(self.theirs))

    def exported(self) -> list[tuple[ReadableLogRecord, ReadableLogRecord]]:
        """What both got since the last call."""
        assert self.provider.force_flush()
        pairs = list(zip(self.ours.records, self.theirs.records, strict=True))
        self.ours.records, self.theirs.records = [], []
        return pairs


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made = Pair(tmp_path_factory.mktemp("pair"))
    yield made
    made.provider.shutdown()


FIELDS = (
    "timestamp",
    "observed_timestamp",
    "trace_id",
    "span_id",
    "trace_flags",
    "severity_number",
    "severity_text",
    "body",
    "event_name",
    "context",
)


def fields(readable: ReadableLogRecord) -> dict[str, str]:
    """Everything, as text: 1, 1.0 and True are not the same, nor a list and a tuple."""
    record, scope = readable.log_record, readable.instrumentation_scope
    named = {name: repr(getattr(record, name)) for name in FIELDS}
    assert scope is not None
    return named | {
        "attributes": repr(dict(record.attributes or {})),
        "dropped": repr(readable.dropped_attributes),
        "resource": repr((dict(readable.resource.attributes), readable.resource.schema_url)),
        "scope": repr((scope.name, scope.version, scope.schema_url, dict(scope.attributes or {}))),
    }


@settings(max_examples=settings().max_examples * 3 // 5, deadline=None)
@given(records=st.lists(RECORDS, min_size=1, max_size=8))
def test_every_record_arrives_as_from_the_batch_processor(
    records: list[LogRecord], pair: Pair
) -> None:
    """Bodies, attributes, times, flags and fields that are None, whatever they hold."""
    logger = pair.provider.get_logger("lab")
    for record in records:
        logger.emit(record)
    exported = pair.exported()
    assert len(exported) == len(records)
    for ours, theirs in exported:
        assert fields(ours) == fields(theirs)


@settings(max_examples=settings().max_examples // 2, deadline=None)
@given(name=TEXT, version=st.one_of(st.none(), TEXT), attributes=st.one_of(st.none(), ATTRIBUTES))
def test_every_scope_arrives_as_from_the_batch_processor(
    name: str, version: str | None, attributes: dict[str, Any] | None, pair: Pair
) -> None:
    pair.provider.get_logger(name, version, "https://x/1", attributes).emit(LogRecord(body="b"))
    ((ours, theirs),) = pair.exported()
    assert fields(ours) == fields(theirs)


def test_a_collector_is_sent_the_same_bytes(tmp_path: Path) -> None:
    """Resource, scope, dropped attributes and a structured body, as OTLP has them."""
    resource = Resource({"service.name": "lab", "ports": [1, 2]}, "https://schema/1")
    limits = LogRecordLimits(max_log_record_attributes=2)
    pair = Pair(tmp_path, resource=resource, log_record_limits=limits)
    body: Any = {"loss": 0.25, "shape": [1, [2, 3]], "raw": b"\x00\xff", "nothing": None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that attributes are dropped, on purpose
        for index in range(3):
            pair.provider.get_logger("lab", str(index)).emit(
                LogRecord(body=body, attributes={"a": 1, "b": [1], "c": {"d": True}}, timestamp=5)
            )
    exported = pair.exported()
    pair.provider.shutdown()
    ours = encode_logs([ours for ours, _ in exported])
    assert ours == encode_logs([theirs for _, theirs in exported])
    assert ours.resource_logs[0].schema_url == "https://schema/1"
    assert ours.resource_logs[0].scope_logs[0].log_records[0].dropped_attributes_count == 1


def test_an_exception_arrives_as_its_attributes(pair: Pair) -> None:
    pair.provider.get_logger("lab").emit(LogRecord(body="b", exception=ValueError("bad lr")))
    ((ours, theirs),) = pair.exported()
    assert fields(ours) == fields(theirs)
    assert (ours.log_record.attributes or {})["exception.message"] == "bad lr"


def test_a_body_that_is_no_value_arrives_as_text(pair: Pair) -> None:
    """The SDK hands the object itself over; a file cannot hold it."""
    pair.provider.get_logger("lab").emit(LogRecord(body=Path("/ckpt/7")))  # type: ignore[call-overload]
    ((ours, _),) = pair.exported()
    assert ours.log_record.body == "/ckpt/7"
