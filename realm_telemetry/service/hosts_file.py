"""The hosts that a service has heard, in a file beside its log: for the service that follows it.

Without it a host that dies before the next service has heard it would never be missed.
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from realm_telemetry.delivery.heartbeats import Heartbeat
from realm_telemetry.home import make_private_directory, read_regular_file

NAME: Final = "realm_hosts.json"
SAVE_S: Final = 30.0
"""How old the times in the file may be."""

MAX_BYTES: Final = 64 * 1024 * 1024
_logger = logging.getLogger(__name__)


class HeardHost(msgspec.Struct):
    """The last heartbeat of a pipeline of a host, and when it came, by the service's wall clock."""

    beat: Heartbeat
    heard_unix_nano: int


class _Known(msgspec.Struct):
    log_id: str
    hosts: list[HeardHost]


class HostsFile:
    """The file of one log; another log's says nothing. path: of the file."""

    def __init__(self, path: Path, log_id: str) -> None:
        self._path, self._log_id = path, log_id
        self._saved: bytes | None = None

    def read(self) -> list[HeardHost]:
        """Return what an earlier service has heard; nothing where that cannot be read."""
        try:
            known = msgspec.json.decode(read_regular_file(self._path)[:MAX_BYTES], type=_Known)
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            _logger.warning("%s cannot be read: %s", self._path, error)
            return []
        return known.hosts if known.log_id == self._log_id else []

    def save(self, hosts: Sequence[HeardHost]) -> None:
        """Write what was heard, if it is something else. Never raises for the disk.

        Where no host was ever heard there is no file.
        """
        content = msgspec.json.encode(_Known(self._log_id, list(hosts)))
        if content == self._saved or not (hosts or self._path.exists()):
            return
        staging = self._path.with_name(f".{self._path.name}-{os.getpid()}")
        try:
            # A service whose log is in PostgreSQL may find its home empty.
            make_private_directory(self._path.parent)
            descriptor = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            staging.replace(self._path)
        except OSError as error:
            _logger.warning("%s cannot be written: %s", self._path, error)
            return
        self._saved = content
