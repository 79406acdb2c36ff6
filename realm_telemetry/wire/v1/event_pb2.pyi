from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Event(_message.Message):
    __slots__ = ("producer_id", "number", "time_unix_nano", "kind", "channel", "severity", "message", "details_json", "hero_id", "campaign_id", "run_id", "source", "trace_id", "span_id", "trace_flags", "webhooks", "observed_unix_nano", "rank")
    PRODUCER_ID_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TIME_UNIX_NANO_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DETAILS_JSON_FIELD_NUMBER: _ClassVar[int]
    HERO_ID_FIELD_NUMBER: _ClassVar[int]
    CAMPAIGN_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TRACE_ID_FIELD_NUMBER: _ClassVar[int]
    SPAN_ID_FIELD_NUMBER: _ClassVar[int]
    TRACE_FLAGS_FIELD_NUMBER: _ClassVar[int]
    WEBHOOKS_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_UNIX_NANO_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    producer_id: int
    number: int
    time_unix_nano: int
    kind: str
    channel: str
    severity: str
    message: str
    details_json: bytes
    hero_id: str
    campaign_id: str
    run_id: str
    source: str
    trace_id: bytes
    span_id: bytes
    trace_flags: int
    webhooks: _containers.RepeatedScalarFieldContainer[str]
    observed_unix_nano: int
    rank: int
    def __init__(self, producer_id: _Optional[int] = ..., number: _Optional[int] = ..., time_unix_nano: _Optional[int] = ..., kind: _Optional[str] = ..., channel: _Optional[str] = ..., severity: _Optional[str] = ..., message: _Optional[str] = ..., details_json: _Optional[bytes] = ..., hero_id: _Optional[str] = ..., campaign_id: _Optional[str] = ..., run_id: _Optional[str] = ..., source: _Optional[str] = ..., trace_id: _Optional[bytes] = ..., span_id: _Optional[bytes] = ..., trace_flags: _Optional[int] = ..., webhooks: _Optional[_Iterable[str]] = ..., observed_unix_nano: _Optional[int] = ..., rank: _Optional[int] = ...) -> None: ...

class Producer(_message.Message):
    __slots__ = ("producer_id", "pipeline", "resource_json", "history", "clock_offset_ns", "emitted", "dropped", "ended")
    PRODUCER_ID_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_JSON_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    CLOCK_OFFSET_NS_FIELD_NUMBER: _ClassVar[int]
    EMITTED_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    producer_id: int
    pipeline: str
    resource_json: bytes
    history: bool
    clock_offset_ns: int
    emitted: int
    dropped: int
    ended: bool
    def __init__(self, producer_id: _Optional[int] = ..., pipeline: _Optional[str] = ..., resource_json: _Optional[bytes] = ..., history: bool = ..., clock_offset_ns: _Optional[int] = ..., emitted: _Optional[int] = ..., dropped: _Optional[int] = ..., ended: bool = ...) -> None: ...

class Kind(_message.Message):
    __slots__ = ("kind", "channel", "severity", "message", "routine")
    KIND_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    ROUTINE_FIELD_NUMBER: _ClassVar[int]
    kind: str
    channel: str
    severity: str
    message: str
    routine: bool
    def __init__(self, kind: _Optional[str] = ..., channel: _Optional[str] = ..., severity: _Optional[str] = ..., message: _Optional[str] = ..., routine: bool = ...) -> None: ...

class EventBatch(_message.Message):
    __slots__ = ("events", "producers", "kinds", "log_id")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    PRODUCERS_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    LOG_ID_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    producers: _containers.RepeatedCompositeFieldContainer[Producer]
    kinds: _containers.RepeatedCompositeFieldContainer[Kind]
    log_id: str
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ..., producers: _Optional[_Iterable[_Union[Producer, _Mapping]]] = ..., kinds: _Optional[_Iterable[_Union[Kind, _Mapping]]] = ..., log_id: _Optional[str] = ...) -> None: ...

class BatchAnswer(_message.Message):
    __slots__ = ("accepted", "duplicates", "rejected", "log_id")
    class Rejected(_message.Message):
        __slots__ = ("event_id", "reason")
        EVENT_ID_FIELD_NUMBER: _ClassVar[int]
        REASON_FIELD_NUMBER: _ClassVar[int]
        event_id: str
        reason: str
        def __init__(self, event_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    LOG_ID_FIELD_NUMBER: _ClassVar[int]
    accepted: int
    duplicates: int
    rejected: _containers.RepeatedCompositeFieldContainer[BatchAnswer.Rejected]
    log_id: str
    def __init__(self, accepted: _Optional[int] = ..., duplicates: _Optional[int] = ..., rejected: _Optional[_Iterable[_Union[BatchAnswer.Rejected, _Mapping]]] = ..., log_id: _Optional[str] = ...) -> None: ...
