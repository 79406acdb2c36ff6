"""Spools that dead processes left: claimed by one process, then emptied like its own."""

import os
import threading
from pathlib import Path
from typing import Final

from realm_telemetry.delivery.quarantine import Quarantine
from realm_telemetry.otel.durable.drain import Drain
from realm_telemetry.shipper.spools import remove_staging
from realm_telemetry.spool.liveness import LivenessLock, is_alive
from realm_telemetry.spool.reader import spool_directories

ADOPT_EVERY_S: Final = 5.0

# Of two processors in this process, one looks at a time: opening and closing a lock file drops
# the lock that the other has just taken on it.
_looking = threading.Lock()


def adopt(directory: Path, quarantine: Quarantine) -> list[Drain]:
    """Claim the spools of a name whose producers are dead and which nobody empties yet.

    The claim is the dead producer's own lock: if we die in turn, the spool is an orphan again.
    """
    with _looking:
        remove_staging(directory)
        found = [spool for spool in spool_directories(directory) if not is_alive(spool)]
        return [drain for drain in (_claim(spool, quarantine) for spool in found) if drain]


def _claim(spool: Path, quarantine: Quarantine) -> Drain | None:
    try:
        claim = LivenessLock(spool, spool.name)
    except OSError:  # another process was first, or it is emptied and gone
        return None
    try:
        return Drain(spool, quarantine, claim)
    except OSError:
        claim.release()
        return None


def forget_looking() -> None:
    """In a forked child: no thread of ours is looking."""
    global _looking
    _looking = threading.Lock()


os.register_at_fork(after_in_child=forget_looking)
