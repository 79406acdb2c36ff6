"""OTLP requests of any OpenTelemetry SDK or collector, read as events, and their answers.

Source: https://opentelemetry.io/docs/specs/otlp/
"""

from realm_telemetry.otel.otlp.answers import answer_body, failure_body
from realm_telemetry.otel.otlp.requests import Reading, read_request
from realm_telemetry.otel.otlp.signals import LOGS, METRICS, TRACES, Signal

__all__ = [
    "LOGS",
    "METRICS",
    "TRACES",
    "Reading",
    "Signal",
    "answer_body",
    "failure_body",
    "read_request",
]
