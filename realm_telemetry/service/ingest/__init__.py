"""Events that arrive over HTTP, and their way into the log."""
