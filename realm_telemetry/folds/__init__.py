"""Folds of the log: what is computed by reading its events once, in order."""
