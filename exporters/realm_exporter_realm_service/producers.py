"""What the log knows of producers and kinds, for the log at the other side."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from realm_telemetry.errors import LogError
from realm_telemetry.kinds.catalog import KIND_METADATA, KindSpec
from realm_telemetry.log.engine import open_log
from realm_telemetry.wire import BatchProducer

REFRESH_S: Final = 5.0
"""How old a running producer's receipt may be when it is sent."""

REFRESH_KINDS_S: Final = 1.0
"""How soon a kind that is not registered is looked up again."""


class ProducerBook:
    """The producers met so far, read from the log again when one is new or it has been a while."""

    def __init__(self, log_path: str | Path) -> None:
        self._log_path = log_path
        self._known: Mapping[str, BatchProducer] = {}
        self._kinds: Mapping[str, KindSpec] = {}
        self._read_at_s = float("-inf")
        self.sent: dict[str, BatchProducer] = {}

    def of(self, producers: Collection[str], now_s: float) -> list[BatchProducer]:
        """Return what is known of these producers."""
        if now_s > self._read_at_s + REFRESH_S or not self._known.keys() >= set(producers):
            self._read(now_s)
        return [self._known[each] for each in producers if each in self._known]

    def kinds(self, names: Collection[str], now_s: float) -> list[KindSpec]:
        """Return what producers registered of these kinds."""
        further = set(names) - KIND_METADATA.keys()
        if not further <= self._kinds.keys() and now_s > self._read_at_s + REFRESH_KINDS_S:
            self._read(now_s)
        return [self._kinds[each] for each in sorted(further) if each in self._kinds]

    def changed(self, now_s: float) -> list[BatchProducer]:
        """Return the producers that changed since they were sent."""
        self._read(now_s)
        return [
            self._known[each]
            for each, sent in self.sent.items()
            if self._known.get(each, sent) != sent
        ]

    def note_sent(self, producers: Collection[BatchProducer]) -> None:
        """Remember what the service has got."""
        self.sent.update((each.producer, each) for each in producers)

    def _read(self, now_s: float) -> None:
        self._read_at_s = now_s
        try:
            with open_log(self._log_path).reader() as reader, reader.snapshot() as log:
                receipts = {each.producer: each for each in log.receipts()}
                infos = log.producers()
                self._kinds = {kind.kind: kind for kind in log.kinds()}
        except LogError:
            return  # events go without: what they say of their producers is not worth a delay
        self._known = {
            info.producer: BatchProducer(
                info.producer,
                info.pipeline,
                info.resource,
                info.history,
                info.clock_offset_ns,
                receipts[info.producer].emitted,
                receipts[info.producer].dropped,
                info.ended,
            )
            for info in infos
            if info.producer in receipts
        }
