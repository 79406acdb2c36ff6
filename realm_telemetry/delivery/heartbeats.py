"""What a shipper tells a service every few seconds: which host it is on, and what runs there.

JSON and not the protobuf of events, because nothing of it is stored: one schema says what is sent,
taken and refused, and a program in any language, or `curl`, can send one.
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

HEARTBEAT_PATH: Final = "/api/v1/heartbeat"
HEARTBEAT_TYPE: Final = "application/json"

INTERVAL_S: Final = 10.0
SILENT_S: Final = 30.0
"""A host that is not heard for so long is silent."""

MAX_PROCESSES: Final = 1_024
MAX_HEARTBEAT_BYTES: Final = 1024 * 1024

MAX_STEP: Final = 2**53

Name = Annotated[str, Meta(min_length=1, max_length=256)]
Label = Annotated[str, Meta(max_length=64)]


class RunningProcess(msgspec.Struct, omit_defaults=True):
    """A process of a run that is open.

    producer: its id. step: its last one; step_unix_nano: when that was, by its host's clock.
    """

    producer: Annotated[str, Meta(pattern="^[0-9a-f]{16}$")]
    run_id: Name
    rank: Annotated[int, Meta(ge=0, lt=2**32)] | None = None
    step: Annotated[int, Meta(ge=0, le=MAX_STEP)] | float | None = None
    step_unix_nano: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None


class Heartbeat(msgspec.Struct, omit_defaults=True):
    """One heartbeat.

    boot_id: tells a start of the host from others, and hosts of one name from each other.
    pipeline: of the shipper; each of a host sends its own. interval_s: until the next one.
    """

    host: Name
    boot_id: Label = ""
    pipeline: Label = ""
    interval_s: Annotated[float, Meta(gt=0, le=3600)] = INTERVAL_S
    processes: Annotated[list[RunningProcess], Meta(max_length=MAX_PROCESSES)] = []


encode_heartbeat: Final = msgspec.json.Encoder().encode
# As JSON Schema has it, 3.0 is an integer.
_decoder: Final = msgspec.json.Decoder(Heartbeat, strict=False)


def read_heartbeat(body: bytes) -> Heartbeat:
    """Read a heartbeat. Raises ValueError that says what is wrong with it."""
    try:
        return _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(str(error)) from None
