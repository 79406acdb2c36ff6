"""Snapshots of folds beside the log: each holds one fold and the cursor it is true at.

A snapshot belongs to one log, whose id it has. Content and cursor are written in one transaction,
so that a restart goes on exactly behind the last row that was folded.
"""

from typing import Literal, NamedTuple, Protocol

SnapshotName = Literal["state", "metrics"]
"""Whose snapshots: RealmState's, which all processes share, or metrics, of each reader its own."""


class FoldSnapshot(NamedTuple):
    """A fold as it was saved, and the cursor of the last row in it."""

    cursor: int
    content: bytes


class FoldSnapshots(Protocol):
    """Where the snapshot of one fold of one log is.

    `state`: it never goes back, neither to a lower cursor nor to an older version, because what it
    covers may have been trimmed. `metrics`: the last one that was saved counts.
    """

    def load(self) -> FoldSnapshot | None:
        """Return the snapshot; None if there is none of this log, or it cannot be read."""
        ...

    def cursor(self) -> int:
        """Return up to which cursor the snapshot covers the log, 0 if not at all.

        Retention may trim up to here and no further.
        """
        ...

    def save(self, snapshot: FoldSnapshot) -> int:
        """Write a snapshot; return up to where the stored one covers the log.

        Raises LogUnavailableError if it cannot be written; the one before stays.
        """
        ...
