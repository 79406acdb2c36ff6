"""Messages on their way: who is next, when to try again, when to give up."""

import random
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from realm_exporter_webhook.posting import Outcome, Poster
from realm_exporter_webhook.rules import Config, Target
from realm_telemetry.errors import LogError
from realm_telemetry.log.outbox import Message, Outbox

SENDERS: Final = 4
"""Attempts at once; a receiver that hangs holds one of them."""

FIRST_RETRY_S: Final = 2.0
LONGEST_RETRY_S: Final = 900.0
_LEASE_MARGIN_S: Final = 30.0
_S: Final = 1_000_000_000


class Sender:
    """Sends the messages of one scope.

    timeout_s: for one attempt. give_up_after_s: a message that was not taken by then is dead.
    done: called after each attempt.
    """

    def __init__(
        self,
        outbox: Outbox,
        config: Config,
        poster: Poster,
        scope: str,
        *,
        timeout_s: float,
        give_up_after_s: float,
        clock: Any = time,
        jitter: Callable[[], float] = random.random,
        done: Callable[[], None] = lambda: None,
    ) -> None:
        self._outbox = outbox
        self._config = config
        self._poster = poster
        self._scope = scope
        self._lease_ns = int((timeout_s + _LEASE_MARGIN_S) * _S)
        self._give_up_after_ns = int(give_up_after_s * _S)
        self._clock = clock
        self._jitter = jitter
        self._done = done
        self._flying: list[threading.Thread] = []

    def start_due(self) -> int:
        """Begin to try what is due, different targets at once; returns how many."""
        self._flying = [thread for thread in self._flying if thread.is_alive()]
        free = SENDERS - len(self._flying)
        if not free:
            return 0
        claimed = self._outbox.claim(self._scope, self._clock.time_ns(), self._lease_ns, free)
        for message in claimed:
            # A daemon: the end of the process waits for no receiver. The message is due again then.
            thread = threading.Thread(target=self._attempt, args=(message,), daemon=True)
            self._flying.append(thread)
            thread.start()
        return len(claimed)

    def send_due(self) -> None:
        """Try all that is due, and wait for what comes of it."""
        while self.start_due():
            for thread in self._flying:
                thread.join()

    def send_again(self, id: int) -> tuple[Message, Outcome] | None:
        """Try a message now, whatever became of it before; None if there is no such one."""
        message = self._outbox.claim_one(id, self._clock.time_ns(), self._lease_ns)
        return None if message is None else (message, self._attempt(message))

    def wait_s(self) -> float | None:
        """Seconds until something is due; None if nothing waits."""
        due = self._outbox.next_due_ns(self._scope)
        return None if due is None else max((due - self._clock.time_ns()) / _S, 0.0)

    def _attempt(self, message: Message) -> Outcome:
        target = self._target(message)
        if target is None:
            outcome = Outcome(None, f"there is no target {message.target} any more")
        else:
            outcome = self._poster.post(target.url, message.body, message.message_id, target.secret)
        try:
            self._record(message, outcome)
        except LogError as error:
            # Not noted, as where the process ended meanwhile: the message is due again later.
            return outcome._replace(problem=outcome.problem or f"taken, but not noted: {error}")
        self._done()
        return outcome

    def _target(self, message: Message) -> Target | None:
        if message.url is not None:
            return self._config.requested(message.url)
        return self._config.targets.get(message.target)

    def _record(self, message: Message, outcome: Outcome) -> None:
        now_ns = self._clock.time_ns()
        due_ns = now_ns + int(self._pause_s(message.attempts + 1, outcome) * _S)
        if outcome.delivered:
            self._outbox.record(message, "delivered", now_ns, status=outcome.status)
        elif outcome.retryable and due_ns - message.created_unix_nano < self._give_up_after_ns:
            self._outbox.record(
                message,
                "pending",
                now_ns,
                due_unix_nano=due_ns,
                status=outcome.status,
                problem=outcome.problem,
            )
        else:
            self._outbox.record(
                message, "dead", now_ns, status=outcome.status, problem=outcome.problem
            )

    def _pause_s(self, attempts: int, outcome: Outcome) -> float:
        if outcome.wait_s is not None:
            return outcome.wait_s * (1.0 + 0.1 * self._jitter())
        longest_s = min(FIRST_RETRY_S * 2.0 ** min(attempts - 1, 20), LONGEST_RETRY_S)
        return longest_s * (0.5 + 0.5 * self._jitter())
