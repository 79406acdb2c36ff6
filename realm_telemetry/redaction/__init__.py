"""Redaction: secrets are taken out of events before they are stored, and of what is shown.

Rules are data (`rules`); names, texts and values are judged in modules of their own; `events` has
the redactor of the log, `shown` is what is printed. Nothing here imports the rest of the package.
"""

from realm_telemetry.redaction.events import REDACTED_KEY, Redacted, Redactor, redactor
from realm_telemetry.redaction.rules import REDACTED
from realm_telemetry.redaction.text import shown

RedactionProcessor = Redactor
"""The name that 0.1.0 gave it."""

__all__ = [
    "REDACTED",
    "REDACTED_KEY",
    "Redacted",
    "RedactionProcessor",
    "Redactor",
    "redactor",
    "shown",
]
