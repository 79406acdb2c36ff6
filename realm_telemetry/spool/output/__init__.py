"""What commands of `realm run` print: folded to lines, redacted, kept in bounded files.

`lines` makes lines of bytes and finds a traceback among them; `files` keeps and reads them.
"""

from realm_telemetry.spool.output.files import (
    KeptOutput,
    Piece,
    directory_name,
    read_end,
    read_from,
    remove_old,
)
from realm_telemetry.spool.output.lines import Folder, Tail, find_traceback

__all__ = [
    "Folder",
    "KeptOutput",
    "Piece",
    "Tail",
    "directory_name",
    "find_traceback",
    "read_end",
    "read_from",
    "remove_old",
]
