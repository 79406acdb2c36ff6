"""Which events of the log belong to a pipeline, and what their producers are."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from realm_telemetry.log.producers import ProducerInfo


class Directory(Protocol):
    """Where producers are looked up: the log's reader."""

    def producers(self) -> Iterable[ProducerInfo]:
        """All registered producers."""
        ...


class Ownership:
    """Remembers producers; asks the log only about those it has not met."""

    def __init__(self, pipeline: str, directory: Directory) -> None:
        self._pipeline = pipeline
        self._directory = directory
        self._known: dict[str, ProducerInfo] = {}

    def owns(self, producer: str) -> bool:
        """Whether a producer belongs to this pipeline."""
        return self._look_up(producer).pipeline == self._pipeline

    def resource(self, producer: str) -> Mapping[str, Any]:
        """The resource of a producer."""
        return self._look_up(producer).resource

    def _look_up(self, producer: str) -> ProducerInfo:
        if producer not in self._known:
            self._known = {info.producer: info for info in self._directory.producers()}
            # Older code's rows have producers that nobody registers: they are nobody's.
            self._known.setdefault(producer, ProducerInfo(producer))
        return self._known[producer]
