"""The producers that batches name, written to the log when something about them is new.

Each batch repeats it, and each note costs a transaction of its own, so what is known already is
skipped, and a running producer's receipt waits until nothing else does.
"""

from collections.abc import Mapping, Sequence, Set
from typing import Any, Final, NamedTuple

from realm_telemetry.log.engine import Writer
from realm_telemetry.log.records import ProducerInfo
from realm_telemetry.wire import BatchProducer

REPLAY_PIPELINE: Final = "replay"
"""Of producers that are known by a replay alone; exporters skip their events."""

MAX_REMEMBERED: Final = 10_000
"""Producers whose last word is kept in memory; beyond, all are forgotten and written again."""


OTLP_PIPELINE: Final = "remote/otlp"
"""Of producers that are known by OTLP alone."""


class Introduced(NamedTuple):
    """Resources by producer, sent by a process that need not be the producer.

    counted: of producers whose events are numbered, so that there is a receipt.
    others: of those that are known by their resource only.
    """

    counted: Mapping[str, Mapping[str, Any]]
    others: Mapping[str, Mapping[str, Any]]


class Registrar:
    """Belongs to the writer's thread."""

    def __init__(self) -> None:
        self._registered: dict[str, ProducerInfo] = {}
        self._receipts: dict[str, BatchProducer] = {}
        self._recorded: dict[str, BatchProducer] = {}
        self._replayed: set[str] = set()
        self._counted: set[str] = set()
        self._others: set[str] = set()

    def note(self, writer: Writer, producers: Sequence[BatchProducer], source: str = "") -> None:
        """Register new producers before their events come; keep receipts for `settle`.

        source: the log_id of the sender's log. What it says of a producer whose events come from
        elsewhere is passed over: a receipt would end that producer.
        """
        for producer in producers:
            info = _info(producer, source)
            if self._registered.get(producer.producer) != info:
                if not writer.register_producer(info):
                    continue
                self._registered[producer.producer] = info
            if self._recorded.get(producer.producer) != producer:
                self._receipts[producer.producer] = producer
        if len(self._registered) > MAX_REMEMBERED:
            self._registered.clear()
            self._recorded.clear()

    def note_replayed(self, writer: Writer, producers: Sequence[BatchProducer]) -> None:
        """Keep the resources of producers that are new; what is known of others stays."""
        for producer in producers:
            if producer.producer not in self._replayed:
                writer.note_resource(producer.producer, REPLAY_PIPELINE, producer.resource)
                self._replayed.add(producer.producer)
        if len(self._replayed) > MAX_REMEMBERED:
            self._replayed.clear()

    def introduce(self, writer: Writer, introduced: Introduced) -> None:
        """Keep the resources of producers that are new; what is known of others stays."""
        counted = _without(introduced.counted, self._registered.keys() | self._counted)
        others = _without(introduced.others, self._others)
        if not counted and not others:
            return
        writer.introduce(OTLP_PIPELINE, counted, others)
        for known, new in ((self._counted, counted), (self._others, others)):
            known.update(new)
            if len(known) > MAX_REMEMBERED:
                known.clear()

    def settle(self, writer: Writer, *, ended_only: bool = False) -> None:
        """Write the receipts that wait.

        ended_only: those of producers that have ended, which are needed soon.
        """
        for name, producer in list(self._receipts.items()):
            if producer.ended or not ended_only:
                writer.record_receipt(
                    name,
                    emitted=producer.emitted,
                    dropped=producer.dropped,
                    ended=producer.ended or None,
                )
                self._recorded[name] = self._receipts.pop(name)


def _without(
    resources: Mapping[str, Mapping[str, Any]], known: Set[str]
) -> dict[str, Mapping[str, Any]]:
    return {producer: resource for producer, resource in resources.items() if producer not in known}


def _info(producer: BatchProducer, source: str) -> ProducerInfo:
    """A producer of another host: of no pipeline here, and its history is what this log is for.

    Two hosts set up alike share a pipeline's id; an exporter of this host's must not take the
    other's events for its own.
    """
    return ProducerInfo(
        producer=producer.producer,
        pipeline=f"remote/{producer.pipeline}",
        resource=producer.resource,
        clock_offset_ns=producer.clock_offset_ns,
        origin=source,
    )
