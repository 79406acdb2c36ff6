"""The resources of producers, as the log knows them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from realm_telemetry.errors import LogError
from realm_telemetry.log.engine import open_log

RETRY_S: Final = 5.0
"""How soon the log is asked again for a producer of which it knew nothing."""


class Resources:
    """Reads all producers when one is new, or had no resource yet; it does not change then.

    log_path: of the log; None where there is none to ask, as in a plain OpenTelemetry SDK.
    """

    def __init__(self, log_path: Path | None) -> None:
        self._log_path = log_path
        self._known: Mapping[str, Mapping[str, Any]] = {}
        self._unknown_until_s: dict[str, float] = {}

    def of(self, producer: str, now_s: float) -> Mapping[str, Any]:
        """Return what is known of a producer; empty if nothing is.

        now_s: on any clock that only moves forward.
        """
        known = self._known.get(producer)
        if not known and now_s >= self._unknown_until_s.get(producer, now_s):
            self._known = self._read()
            self._unknown_until_s[producer] = now_s + RETRY_S
        return self._known.get(producer, {})

    def _read(self) -> Mapping[str, Mapping[str, Any]]:
        if self._log_path is None:
            return {}
        try:
            with open_log(self._log_path).reader() as reader:
                return {info.producer: info.resource for info in reader.now.producers()}
        except LogError:
            return self._known  # events go without: it is not worth a delay
