"""The messages of a firing: one to each place, with a name that stays the same."""

from collections.abc import Iterator
from hashlib import blake2b

import msgspec

from realm_exporter_webhook.engine import Firing
from realm_exporter_webhook.rules import REQUEST, Config, Target
from realm_exporter_webhook.templates import render, title
from realm_telemetry.log.outbox import Message


def compose(
    firing: Firing, config: Config, scope: str, replays: int, now_ns: int
) -> Iterator[Message]:
    """Yield a message to each place that a firing goes to.

    replays: how often somebody asked for the events of this scope again.
    """
    asked = firing.rule == REQUEST
    for name in firing.to:
        target = config.requested(name) if asked else config.targets[name]
        # Whoever sends what an event asks for, it is the same message.
        message_id = (
            _message_id(firing, target, "", 0)
            if asked
            else _message_id(firing, target, scope, replays)
        )
        yield Message(
            message_id=message_id,
            scope=scope,
            rule=firing.rule,
            title=title(firing),
            target=target.name,
            url=name if asked else None,
            events=firing.count,
            body=render(target.template, firing, message_id),
            due_unix_nano=now_ns,
            created_unix_nano=now_ns,
        )


def _message_id(firing: Firing, target: Target, scope: str, replays: int) -> str:
    """Name a message: the same events by the same rule to the same place have the same name.

    Until somebody replays them.
    """
    parts = [scope, firing.rule, firing.group, target.url, firing.late, firing.count]
    parts += [event.id for event in firing.events]
    parts += [replays] if replays else []
    return f"msg_{blake2b(msgspec.json.encode(parts), digest_size=16).hexdigest()}"
