"""Frames to events: what a spool says, decoded and processed, ready to be stored."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from realm_telemetry.delivery.quarantine import Quarantine
from realm_telemetry.errors import ConfigError
from realm_telemetry.event import Event
from realm_telemetry.kinds.catalog import KindSpec, check_kind, learn_kind
from realm_telemetry.log.ranges import Ranges
from realm_telemetry.processors import ProcessorChain, ResourceProcessor
from realm_telemetry.shipper.spool import Spool
from realm_telemetry.spool.frames import (
    FORMAT_CONTROL,
    FORMAT_EVENT,
    Frame,
    decode_control,
    decode_event,
)


class Portion(NamedTuple):
    """What was read from one spool at a time.

    number: the last event's; position: behind the last frame.
    events: processed, numbered above what the spool's notes know.
    skipped: numbers of events that a processor dropped.
    stored: the last number that the log had before.
    kinds: that the producer registered.
    refused: how many frames hold no event; they were kept aside.
    """

    spool: Spool
    number: int
    position: tuple[int, int]
    events: list[Event]
    skipped: list[tuple[int, int]]
    stored: int
    kinds: list[KindSpec]
    refused: int


class Decoding:
    """Decodes frames, learns from control frames, and runs events through the processors."""

    def __init__(
        self, chain: ProcessorChain, resources: ResourceProcessor, quarantine: Quarantine
    ) -> None:
        self.chain = chain
        self.resources = resources
        self.quarantine = quarantine

    def portion(self, spool: Spool, frames: Sequence[Frame]) -> Portion:
        """Decode frames of a spool, at least one; what is no event is kept aside."""
        events = []
        kinds: list[KindSpec] = []
        through = spool.notes.through
        producer = spool.producer
        refused = 0
        for format_, number, payload, _ in frames:
            if format_ == FORMAT_CONTROL:
                self._control(spool, payload, kinds)
            elif format_ != FORMAT_EVENT:
                # Log records whole are spooled by DurableLogRecordProcessor, beside pipelines.
                wrong = ValueError(f"frame format {format_} holds no event")
                self.quarantine.refused(producer, number, payload, wrong)
                refused += number > through
            elif number > through:
                try:
                    events.append(decode_event(payload, producer, number))
                except (msgspec.DecodeError, msgspec.ValidationError) as error:
                    self.quarantine.refused(producer, number, payload, error)
                    refused += 1
        kept = self.chain(events)
        skipped = _missing(events, kept) if len(kept) < len(events) else []
        last, stored = frames[-1], spool.control.stored_number
        return Portion(spool, last.number, last.position, kept, skipped, stored, kinds, refused)

    def _control(self, spool: Spool, payload: bytes, kinds: list[KindSpec]) -> None:
        try:
            message = decode_control(payload)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            self.quarantine.refused(spool.producer, spool.notes.through, payload, error)
            return
        match message.get("type"):
            case "hello":
                self._introduced(spool, message)
            case "resource":
                self._introduced(spool, spool.notes.hello | message)
            case "kind":
                kinds += _registered(message)
            case "goodbye":
                spool.notes.goodbye = True

    def _introduced(self, spool: Spool, hello: dict[str, Any]) -> None:
        spool.notes.resource = dict(hello.pop("resource", {}))
        spool.notes.hello = hello
        self.resources.learn(spool.producer, spool.notes.resource)
        spool.registered = False


def _missing(events: Sequence[Event], kept: Sequence[Event]) -> list[tuple[int, int]]:
    """The numbers of events that were not kept, as ranges."""
    numbers = {event.number for event in kept}
    gone = [event.number for event in events if event.number not in numbers]
    return list(Ranges((number, number) for number in gone).pairs())


def _registered(message: dict[str, Any]) -> list[KindSpec]:
    """The kind that a control frame tells of, learned here too; none if it cannot be one."""
    try:
        told = msgspec.convert({**message, "template": message.get("message")}, KindSpec)
        check_kind(told.kind, told.channel, told.severity, told.template)
    except (msgspec.ValidationError, ConfigError):
        return []
    learn_kind(told)
    return [told]
