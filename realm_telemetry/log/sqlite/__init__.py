"""The log as a SQLite database."""
