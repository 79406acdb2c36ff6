"""The command line: `realm`, and `python -m realm_telemetry`."""

import sys
from collections.abc import Sequence
from typing import Final

INTERRUPTED: Final = 130
"""The exit code after Ctrl-C before a command was done, as shells count it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; docs/cli.md lists the codes.

    arguments: without the program's name; those of this process by default.
    """
    try:
        from realm_telemetry.cli.group import realm

        realm.main(sys.argv[1:] if arguments is None else list(arguments), prog_name="realm")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except KeyboardInterrupt:  # while modules were being imported, or at the very end
        return INTERRUPTED
    return 0
