"""A transactional outbox beside the log: what an exporter keeps of events before it sends.

A batch of events is taken in one transaction: which events were seen, what rules remember of them,
and the messages that follow (docs/decisions/0060). So a crash between any two steps neither fires
twice nor loses a firing. Only the sending itself is at least once.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, Protocol
from urllib.parse import urlsplit

import msgspec

WEBHOOKS: Final = "webhooks"
"""The outbox of webhooks."""

MAX_PENDING: Final = 10_000
"""Messages of rules that may wait, and as many to addresses that events name; each further one is
a dead letter at once."""

KEPT_SETTLED: Final = 10_000
"""Delivered and dead messages that stay to be looked at."""

KEPT_SEEN: Final = 200_000
"""Events that are recognised when they come again."""

MessageState = Literal["pending", "delivered", "dead"]


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message to one target, and the outcome of sending it.

    message_id: the idempotency key. scope: the pipeline that sends, empty for the service.
    url: of a request only, a secret; a target's is looked up when it is sent.
    events: how many it reports. problem: of the last attempt.
    """

    id: int = 0
    message_id: str
    scope: str
    rule: str
    title: str
    target: str
    url: str | None = None
    events: int
    body: bytes
    state: MessageState = "pending"
    attempts: int = 0
    due_unix_nano: int
    created_unix_nano: int
    settled_unix_nano: int | None = None
    status: int | None = None
    problem: str = ""


class RuleState(msgspec.Struct, frozen=True):
    """What a rule remembers of one group of events.

    definition: of the rule when it was kept. state: None to forget it.
    """

    rule: str
    group: str
    definition: str
    state: bytes | None


class KeptCircuit(msgspec.Struct, frozen=True):
    """A host that a sender leaves alone for now, for those who ask why messages wait.

    pool: the senders that do. until_unix_nano: when it is tried again.
    """

    pool: str
    place: str
    failures: int
    until_unix_nano: int
    reason: str


Wanted = Callable[[str, str | None], bool]


class Outbox(Protocol):
    """Seen events, states of rules and messages; safe to use from several threads and processes.

    Each method is one transaction and durable when it returns. Raises LogUnavailableError,
    LogRefusedError.
    """

    def close(self) -> None:
        """Release what is held."""

    def unseen(self, scope: str, event_ids: Sequence[str]) -> set[str]:
        """Return those of some events that were not seen yet."""
        ...

    def forget(self, scope: str, event_ids: Sequence[str]) -> None:
        """Let events be new again, and count that as a replay of the scope."""

    def replays(self, scope: str) -> int:
        """Return how often events of a scope were made new again."""
        ...

    def take(
        self,
        scope: str,
        seen: Sequence[tuple[str, str]],
        states: Sequence[RuleState],
        messages: Sequence[Message],
    ) -> None:
        """Keep what a batch has changed, all of it or nothing.

        seen: scope and event id of events that are recognised from now on.
        states: of the rules of `scope`.
        """

    def began_ns(self, scope: str, now_ns: int) -> int:
        """Return when a scope was begun: now, if this is the first call for it."""
        ...

    def states(self, scope: str) -> list[RuleState]:
        """Return what rules remember; the one that changed longest ago first."""
        ...

    def forget_other_rules(self, scope: str, definitions: Mapping[str, str]) -> None:
        """Remove the states of rules that are not there any more, or are defined otherwise."""

    def claim(
        self,
        scope: str,
        now_ns: int,
        lease_ns: int,
        most: int,
        wanted: Wanted = lambda target, url: True,
    ) -> list[Message]:
        """Take the next message of each target that is due; no other sender gets it meanwhile.

        A target's messages go one after the other, so that one which waits holds back the others.
        The one that has been due for longest comes first.
        lease_ns: after that it is due again, for a sender that died.
        wanted: whether a message may go now, by its target and address; asked once for each.
        """
        ...

    def claim_one(self, id: int, now_ns: int, lease_ns: int) -> Message | None:
        """Take one message out of turn, to be sent again; None if there is none of that id.

        From now on it is the service's: the pipeline that it came from may not come back.
        """
        ...

    def record(
        self,
        message: Message,
        state: MessageState,
        now_ns: int,
        *,
        due_unix_nano: int = 0,
        status: int | None = None,
        problem: str = "",
    ) -> None:
        """Keep the outcome of an attempt."""

    def next_due_ns(self, scope: str) -> int | None:
        """Return when the next message is due; None if none waits."""
        ...

    def keep_circuits(self, scope: str, circuits: Sequence[KeptCircuit]) -> None:
        """Keep which hosts a scope's sender leaves alone, in place of what was kept before."""

    def circuits(self) -> list[KeptCircuit]:
        """Return the hosts that senders leave alone, as they were kept last."""
        ...

    def mute(self, rule: str, until_unix_nano: int) -> None:
        """Let a rule of any scope send nothing until a time; a time that is past ends that."""

    def mutes(self) -> dict[str, int]:
        """Return until when rules send nothing, by their names; some may be past."""
        ...

    def messages(
        self, limit: int, states: Sequence[str] = (), ids: Sequence[int] = ()
    ) -> list[Message]:
        """Return the last messages, newest first; of some states, or with some ids."""
        ...

    def counts(self) -> dict[tuple[str, str], int]:
        """Return how many messages there are, by rule and state."""
        ...


def redacted(url: str) -> str:
    """An address as it may be shown: scheme and host."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "?", f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(not an address)"
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}/…"
