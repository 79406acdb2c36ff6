"""The live view: the tail of the log, pushed to streams."""
