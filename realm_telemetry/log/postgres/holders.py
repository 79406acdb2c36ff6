"""Who holds a lease: names of processes, on all machines that use the log."""

import os
import secrets
from socket import gethostname


def process_name() -> str:
    """Return what distinguishes this process from those of this and other machines."""
    return f"{gethostname()} {os.getpid()}"


def holder_name(by: str) -> str:
    """Return a name that nobody else has, and that says which process it is."""
    return f"{by} {process_name()} {secrets.token_hex(4)}"
