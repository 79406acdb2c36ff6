"""Counts of what came in over HTTP, for /metrics."""


class IngestTally:
    """Belongs to the event loop's thread."""

    def __init__(self) -> None:
        self.batches = 0
        self.accepted = 0
        self.duplicates = 0
        self.rejected = 0
        self.bytes = 0

    def stored(self, accepted: int, duplicates: int, rejected: int, size: int) -> None:
        """Count an answered batch."""
        self.batches += 1
        self.accepted += accepted
        self.duplicates += duplicates
        self.rejected += rejected
        self.bytes += size
