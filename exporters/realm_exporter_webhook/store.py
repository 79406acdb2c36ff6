"""What webhooks keep in the log's outbox: events seen, the memory of rules, and messages."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from realm_exporter_webhook.memory import Key, State
from realm_exporter_webhook.rules import REQUEST
from realm_telemetry.event import Event
from realm_telemetry.log.outbox import Message, Outbox, RuleState

_LOOKED_AT: Final = 100


_RUN: Final = "run="
"""What the name of a muted run begins with; no rule has an equals sign in its name."""


def of_run(run_id: str | None) -> str:
    """Return the name under which a run is muted."""
    return f"{_RUN}{run_id}"


class Store:
    """Events seen, states of rules, and the outbox. Raises LogError."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox

    def close(self) -> None:
        """Close the outbox."""
        self.outbox.close()

    def fresh(self, scope: str, wanted: Mapping[str, Event]) -> list[Event]:
        """Events, by id, that never came before, without addresses that were sent to already."""
        new = self.outbox.unseen(scope, list(wanted))
        asked = [id for id in new if wanted[id].webhooks]
        # Shared by all who send: a shipper and a service may both see the event, one of them late.
        done = set(asked) - self.outbox.unseen(REQUEST, asked)
        return [
            msgspec.structs.replace(event, webhooks=()) if id in done else event
            for id, event in wanted.items()
            if id in new
        ]

    def forget(self, scope: str, event_ids: Sequence[str]) -> None:
        """Let events be new again, for a replay.

        Their messages get other ids, or neither this store nor a receiver would take them.
        """
        self.outbox.forget(scope, event_ids)

    def replays(self, scope: str) -> int:
        """How often events of a scope were made new again."""
        return self.outbox.replays(scope)

    def take(
        self,
        scope: str,
        seen: Sequence[Event],
        states: Mapping[Key, State | None],
        definitions: Mapping[str, str],
        messages: Sequence[Message],
    ) -> None:
        """Keep what a batch has changed, all of it or nothing.

        seen: events that are to be recognised when they come again.
        """
        self.outbox.take(
            scope,
            [(scope, event.id) for event in seen]
            + [(REQUEST, event.id) for event in seen if event.webhooks],
            [
                RuleState(
                    rule,
                    group,
                    definitions.get(rule, ""),
                    None if state is None else msgspec.json.encode(state),
                )
                for (rule, group), state in states.items()
            ],
            messages,
        )

    def muted(self, now_ns: int) -> dict[str, int]:
        """Until when rules are muted, by their names, and runs by `of_run`."""
        return {name: until for name, until in self.outbox.mutes().items() if until > now_ns}

    def muted_runs(self, now_ns: int) -> dict[str, int]:
        """Until when runs are muted, by their ids."""
        return {
            name.removeprefix(_RUN): until
            for name, until in self.muted(now_ns).items()
            if name.startswith(_RUN)
        }

    def reason(self) -> str:
        """Why messages wait: the problem of the last one that was tried; empty if none was."""
        waiting = self.outbox.messages(_LOOKED_AT, ["pending"])
        return next((message.problem for message in waiting if message.problem), "")

    def began_ns(self, scope: str, now_ns: int) -> int:
        """When a scope was first begun: rules ignore what arrived before."""
        return self.outbox.began_ns(scope, now_ns)

    def states(self, scope: str, definitions: Mapping[str, str]) -> dict[Key, State]:
        """What rules remember; a rule whose definition has changed remembers nothing."""
        return {
            (kept.rule, kept.group): msgspec.json.decode(kept.state, type=State)
            for kept in self.outbox.states(scope)
            if kept.state is not None and definitions.get(kept.rule, "") == kept.definition
        }

    def forget_others(self, scope: str, definitions: Mapping[str, str]) -> None:
        """Remove the memory of rules that are not there any more, or are defined otherwise."""
        self.outbox.forget_other_rules(scope, definitions)
