"""The spool: a producer's crash-safe queue of frames in memory-mapped files."""
