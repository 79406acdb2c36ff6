"""History, counts, export, health and metrics over HTTP."""
