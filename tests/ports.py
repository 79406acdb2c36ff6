"""Ports for what a test starts at an address that is known before."""

import secrets
import socket

FIRST, LAST = 16_384, 32_767
"""Below those that Linux gives to connections: one of another test would keep the port busy."""


def free_port() -> int:
    """A port at which nothing listens."""
    while True:
        port = FIRST + secrets.randbelow(LAST + 1 - FIRST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
