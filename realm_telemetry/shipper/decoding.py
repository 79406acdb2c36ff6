"""Frames to events: what a spool says, decoded and processed, ready to be stored."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from realm_telemetry.catalog import register_kind
from realm_telemetry.errors import ConfigError
from realm_telemetry.event import Event
from realm_telemetry.log.ranges import Ranges
from realm_telemetry.processors import ProcessorChain, ResourceProcessor
from realm_telemetry.shipper.quarantine import Quarantine
from realm_telemetry.shipper.spool import Spool
from realm_telemetry.spool.frames import FORMAT_EVENT, Frame, decode_control, decode_event


class Portion(NamedTuple):
    """What was read from one spool at a time.

    number: the last event's; position: behind the last frame.
    events: processed, numbered above what the spool's notes know.
    skipped: numbers of events that a processor dropped.
    stored: the last number that the log had before.
    """

    spool: Spool
    number: int
    position: tuple[int, int]
    events: list[Event]
    skipped: list[tuple[int, int]]
    stored: int


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
        through = spool.notes.through
        producer = spool.producer
        for format_, number, payload, _ in frames:
            if format_ != FORMAT_EVENT:
                self._control(spool, payload)
            elif number > through:
                try:
                    events.append(decode_event(payload, producer, number))
                except (msgspec.DecodeError, msgspec.ValidationError) as error:
                    self.quarantine.refused(producer, number, payload, error)
        kept = self.chain(events)
        skipped = _missing(events, kept) if len(kept) < len(events) else []
        last, stored = frames[-1], spool.control.stored_number
        return Portion(spool, last.number, last.position, kept, skipped, stored)

    def _control(self, spool: Spool, payload: bytes) -> None:
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
                _learn_kind(message)
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


def _learn_kind(message: dict[str, Any]) -> None:
    fields = ("kind", "channel", "severity", "message", "routine")
    settings = {name: message[name] for name in fields if name in message}
    if "template" in message:
        settings["message"] = message["template"]
    try:
        register_kind(settings.pop("kind"), **settings)
    except (ConfigError, KeyError, TypeError):  # another producer's kind of the same name counts
        return
