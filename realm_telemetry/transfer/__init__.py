"""History as a whole: exported to files, imported from files, replayed."""
