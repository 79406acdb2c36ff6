"""The log: one SQLite table, its writer, its readers."""
