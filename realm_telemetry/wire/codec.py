"""Event batches and their answers as bytes: the body of POST /api/v1/events.

Details travel as JSON bytes: lossless for what an event may hold, and several times faster than
a tree of protobuf values (docs/decisions/0010-details-on-the-wire.md).
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from google.protobuf.message import DecodeError

from realm_telemetry.errors import ConfigError, PayloadTooLargeError
from realm_telemetry.event import CHANNELS, SEVERITIES, Event, InvalidEventError
from realm_telemetry.kinds.catalog import KindSpec, check_kind
from realm_telemetry.values.json_text import read_json
from realm_telemetry.values.rank import rank_of, with_rank
from realm_telemetry.wire.fields import (
    MAX_BATCH_BYTES,
    MAX_BATCH_EVENTS,
    MAX_ENTRY_BYTES,
    MAX_READ_ENTRIES,
    check_shape,
    parse_mended,
)
from realm_telemetry.wire.messages import Batch, BatchAnswer, BatchProducer, Rejected
from realm_telemetry.wire.v1 import event_pb2 as pb

CONTENT_TYPE: Final = "application/x-protobuf"

_MAX_WEBHOOKS: Final = 64
_MAX_LOG_ID: Final = 64
_CHANNELS: Final = frozenset(CHANNELS)
_SEVERITIES: Final = frozenset(SEVERITIES)
_to_json = msgspec.json.Encoder().encode
_from_json: Final = msgspec.json.Decoder(dict[str, Any])


def encode_batch(
    events: Sequence[Event],
    producers: Sequence[BatchProducer] = (),
    kinds: Sequence[KindSpec] = (),
    *,
    log_id: str = "",
    max_bytes: int = MAX_BATCH_BYTES,
) -> bytes:
    """Encode events as one EventBatch body, uncompressed.

    events: 0 to 512, oldest first. log_id: of the log that they are read from.
    Raises InvalidEventError that names the event and the field, PayloadTooLargeError above
    max_bytes (64 MiB), 512 events or 1 MiB an event.
    Source: proto/realm_telemetry/wire/v1/event.proto.
    """
    if len(events) > MAX_BATCH_EVENTS:
        raise PayloadTooLargeError(f"{len(events)} events, a batch holds {MAX_BATCH_EVENTS}")
    batch = pb.EventBatch(log_id=log_id)
    for event in events:
        try:
            _fill_event(batch.events.add(), event)
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise InvalidEventError(f"event {_name(event)} cannot be encoded: {error}") from error
    for producer in producers:
        _fill_producer(batch.producers.add(), producer)
    for kind in kinds:
        _fill_kind(batch.kinds.add(), kind)
    data = batch.SerializeToString()
    if len(data) > max_bytes:
        raise PayloadTooLargeError(f"the batch has {len(data):,} bytes, the limit is {max_bytes:,}")
    if len(data) > MAX_ENTRY_BYTES:
        _check_entry_sizes(batch)
    return data


def _fill_event(message: pb.Event, event: Event) -> None:
    message.producer_id = int(event.producer, 16)
    message.number = event.number
    message.time_unix_nano = event.time_unix_nano
    message.kind = event.kind
    message.channel = event.channel
    message.severity = event.severity
    message.message = event.message
    if event.details:
        message.details_json = _to_json(event.details)
    if event.hero_id is not None:
        message.hero_id = event.hero_id
    if event.campaign_id is not None:
        message.campaign_id = event.campaign_id
    if event.run_id is not None:
        message.run_id = event.run_id
    if event.source is not None:
        message.source = event.source
    if event.observed_unix_nano is not None:
        message.observed_unix_nano = event.observed_unix_nano
    if event.trace_id or event.span_id or event.trace_flags:
        message.trace_id = bytes.fromhex(event.trace_id or "")
        message.span_id = bytes.fromhex(event.span_id or "")
        message.trace_flags = event.trace_flags
    if (rank := rank_of(event)) is not None:
        message.rank = rank
    if event.webhooks:
        message.webhooks.extend(event.webhooks)


def _fill_producer(message: pb.Producer, producer: BatchProducer) -> None:
    message.producer_id = int(producer.producer, 16)
    message.pipeline = producer.pipeline
    message.resource_json = _to_json(producer.resource)
    message.history = producer.history
    message.clock_offset_ns = producer.clock_offset_ns
    message.ended = producer.ended
    if producer.emitted is not None:
        message.emitted = producer.emitted
    if producer.dropped is not None:
        message.dropped = producer.dropped


def _fill_kind(message: pb.Kind, kind: KindSpec) -> None:
    message.kind = kind.kind
    message.channel = kind.channel
    message.severity = kind.severity
    message.routine = kind.routine
    if kind.template is not None:
        message.message = kind.template


def _check_entry_sizes(batch: pb.EventBatch) -> None:
    for message in batch.events:
        if message.ByteSize() > MAX_ENTRY_BYTES:
            raise PayloadTooLargeError(
                f"event {_id(message)} has {message.ByteSize():,} bytes, "
                f"the limit is {MAX_ENTRY_BYTES:,}"
            )


def decode_batch(
    data: bytes, *, max_bytes: int = MAX_BATCH_BYTES, max_entries: int = MAX_READ_ENTRIES
) -> list[Event]:
    """Decode the events of an EventBatch body, all or none.

    Raises what `read_batch` raises, and InvalidEventError if one event is not valid.
    """
    batch = read_batch(data, max_bytes=max_bytes, max_entries=max_entries)
    if batch.rejected:
        first = batch.rejected[0]
        raise InvalidEventError(f"event {first.event_id}: {first.reason}")
    return batch.events


def read_batch(
    data: bytes, *, max_bytes: int = MAX_BATCH_BYTES, max_entries: int = MAX_READ_ENTRIES
) -> Batch:
    """Decode an EventBatch body; single events that are not valid are listed apart.

    data: uncompressed.
    Raises InvalidEventError if it is no EventBatch or a producer is not valid,
    PayloadTooLargeError above max_bytes, max_entries, or 1 MiB an entry.
    """
    check_shape(data, max_bytes, max_entries)
    try:
        message = parse_mended(pb.EventBatch, data)
    except DecodeError as error:
        raise InvalidEventError(f"the body is not an EventBatch: {error}") from None
    if data and not message.ListFields():
        raise InvalidEventError("the body is not an EventBatch: it has none of its fields")
    events, rejected = [], []
    for each in message.events:
        try:
            events.append(_event(each))
        except InvalidEventError as error:
            rejected.append(Rejected(_id(each), str(error)))
    producers = [_producer(each) for each in message.producers]
    kinds = [kind for each in message.kinds if (kind := _kind(each)) is not None]
    return Batch(events, producers, rejected, kinds, message.log_id[:_MAX_LOG_ID])


def _event(message: pb.Event) -> Event:
    kind, channel, severity = message.kind, message.channel, message.severity
    if not kind or channel not in _CHANNELS or severity not in _SEVERITIES or not message.number:
        raise InvalidEventError(_problem(message))
    details = message.details_json
    trace_id, span_id, webhooks = message.trace_id, message.span_id, message.webhooks
    asked = len(webhooks)
    if len(trace_id) not in (0, 16) or len(span_id) not in (0, 8) or asked > _MAX_WEBHOOKS:
        raise InvalidEventError(_problem(message))
    event = Event(
        kind,
        channel,
        severity,
        message.message,
        _object(details, "details_json") if details else {},
        message.time_unix_nano,
        f"{message.producer_id:016x}",
        message.number,
        # An empty text is rare: only then is it asked whether the field is there at all.
        message.hero_id or _empty_or_none(message, "hero_id"),
        message.campaign_id or _empty_or_none(message, "campaign_id"),
        message.run_id or _empty_or_none(message, "run_id"),
        message.source or _empty_or_none(message, "source"),
        trace_id.hex() or None,
        span_id.hex() or None,
        message.trace_flags,
        tuple(webhooks) if asked else (),
        message.observed_unix_nano if message.HasField("observed_unix_nano") else None,
    )
    return with_rank(event, message.rank) if message.HasField("rank") else event


def _empty_or_none(message: pb.Event, field: Any) -> str | None:
    return "" if message.HasField(field) else None


def _object(data: bytes, field: str) -> dict[str, Any]:
    try:
        return read_json(data, _from_json)
    except InvalidEventError as error:
        raise InvalidEventError(f"{field} is not a JSON object: {error}") from None


def _problem(message: pb.Event) -> str:
    """Say which field no event can have."""
    if not message.kind:
        return "kind is missing"
    if message.channel not in _CHANNELS:
        return f"channel must be one of {', '.join(CHANNELS)}; got {message.channel[:80]!r}"
    if message.severity not in _SEVERITIES:
        return f"severity must be one of {', '.join(SEVERITIES)}; got {message.severity[:80]!r}"
    if not message.number:
        return "number must be 1 or more"
    if len(message.webhooks) > _MAX_WEBHOOKS:
        return f"webhooks: {len(message.webhooks)} addresses, the limit is {_MAX_WEBHOOKS}"
    return "trace_id must have 16 bytes and span_id 8, or none"


def _producer(message: pb.Producer) -> BatchProducer:
    resource = message.resource_json
    return BatchProducer(
        f"{message.producer_id:016x}",
        message.pipeline,
        _object(resource, "resource_json") if resource else {},
        message.history,
        message.clock_offset_ns,
        message.emitted if message.HasField("emitted") else None,
        message.dropped if message.HasField("dropped") else None,
        message.ended,
    )


def _kind(message: pb.Kind) -> KindSpec | None:
    """The kind; None for what could not be registered here, which harms no event."""
    template = message.message if message.HasField("message") else None
    try:
        check_kind(message.kind, message.channel, message.severity, template)
    except ConfigError:
        return None
    return KindSpec(message.kind, message.channel, message.severity, template, message.routine)


def encode_answer(answer: BatchAnswer) -> bytes:
    """Encode the answer to a batch."""
    message = pb.BatchAnswer(
        accepted=answer.accepted, duplicates=answer.duplicates, log_id=answer.log_id
    )
    for each in answer.rejected:
        message.rejected.add(event_id=each.event_id, reason=each.reason)
    return message.SerializeToString()


def decode_answer(data: bytes) -> BatchAnswer:
    """Decode the answer to a batch.

    Raises InvalidEventError if it is no BatchAnswer.
    """
    try:
        message = pb.BatchAnswer.FromString(data)
    except DecodeError as error:
        raise InvalidEventError(f"the body is not a BatchAnswer: {error}") from None
    rejected = [Rejected(each.event_id, each.reason) for each in message.rejected]
    return BatchAnswer(message.accepted, message.duplicates, rejected, message.log_id)


def _id(message: pb.Event) -> str:
    return f"{message.producer_id:016x}{message.number:016x}"


def _name(event: Event) -> str:
    """Name an event whose own fields may be what is wrong with it."""
    return f"{event.producer}/{event.number}"
