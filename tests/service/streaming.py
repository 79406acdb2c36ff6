"""A stream as a test reads it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx


class Message(NamedTuple):
    """One server-sent message."""

    event: str
    id: str | None
    data: Any


@contextmanager
def stream(
    client: httpx.Client, params: dict[str, str] | None = None, last_event_id: str | None = None
) -> Iterator[Iterator[Message]]:
    """Open a stream; iterating gives its messages."""
    headers = {} if last_event_id is None else {"last-event-id": last_event_id}
    url = "/api/events/stream"
    with client.stream("GET", url, params=params or {}, headers=headers) as response:
        assert response.status_code == 200, response.read()
        yield messages(response)


def messages(response: httpx.Response) -> Iterator[Message]:
    """The messages of an open stream; comments and retry are left out."""
    fields: dict[str, str] = {}
    for line in response.iter_lines():
        if not line:
            if "data" in fields:
                yield Message(fields["event"], fields.get("id"), json.loads(fields["data"]))
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value


def take(source: Iterator[Message], count: int) -> list[Message]:
    """The next messages."""
    return [next(source) for _ in range(count)]


def cursors(taken: list[Message]) -> list[int]:
    """The cursors of the events among messages."""
    return [message.data["cursor"] for message in taken if message.event == "event"]
