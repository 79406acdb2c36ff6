"""What is to be said of the settings and of the receiver, before anything is sent."""

from collections.abc import Iterator

from google.protobuf.message import Message

from realm_exporter_otlp.transport import Channel
from realm_telemetry.errors import ExportError, PayloadTooLargeError

Said = tuple[str, str, str]

_LONG_S = 600.0
"""A timeout from here on was most likely meant in milliseconds, as other languages have it."""


def examine(channel: Channel, empty: Message) -> Iterator[Said]:
    """Yield level, message and fix for each thing that is worth saying.

    empty: a request without records, which a receiver has to answer with success.
    """
    target = channel.target
    if target.timeout_s >= _LONG_S:
        what = (
            f"timeout_s is {target.timeout_s:,.0f}: seconds, here and in OTEL_EXPORTER_OTLP_TIMEOUT"
        )
        yield "warning", what, "Write 10 for ten seconds."
    try:
        channel.send(empty)
    except (ExportError, PayloadTooLargeError) as error:
        problem, _, fix = str(error).partition(". ")
        yield "warning", problem, fix or "Its events wait in the log."
    else:
        yield "ok", f"{target.shown} answers, {target.protocol}", ""
    finally:
        channel.close()
