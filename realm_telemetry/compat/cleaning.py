"""What the older `cleanup_old` does: old entries go, what they added up to stays."""

from pathlib import Path
from typing import Final

from realm_telemetry.compat.first_use import open_log
from realm_telemetry.folds.runtime import every_row
from realm_telemetry.folds.state import state_runner
from realm_telemetry.log import engine
from realm_telemetry.log.records import Limits

_DAY_NS: Final = 86_400 * 1_000_000_000
_ALL: Final = 2**62


def trim(path: Path, max_age_days: float, covered: int | None) -> int:
    """Remove what arrived longer ago; how many rows. covered: no further than this cursor."""
    limits = Limits(max_age_ns=int(max_age_days * _DAY_NS), max_bytes=_ALL)
    below = _ALL if covered is None else covered + 1
    removed = 0
    log = engine.open_log(path)
    with log.writer() as writer:
        retention = log.retention(writer, limits)
        while (step := retention.step(below)).more:
            removed += step.removed
    return removed


def save_state(path: Path, state_path: Path) -> int:
    """Bring the snapshot of RealmState up to the log; up to where it covers it."""
    with open_log(path) as reader:
        if reader is None:
            return 0
        runner = state_runner(reader.log_id, state_path)
        runner.restart()
        runner.catch_up(every_row(reader.now))
        runner.save()
        return runner.covered
