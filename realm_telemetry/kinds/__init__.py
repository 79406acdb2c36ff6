"""Kinds of events: their metadata, their messages, and a typed helper for each."""
