"""`wait_for`: an agent sleeps on the service's stream until something fits, and never polls."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

from realm_telemetry.cli.agents.answers import event_shape, fitting, log_page, run_page
from realm_telemetry.cli.agents.desk import Desk, filters_of, now
from realm_telemetry.cli.agents.questions import WaitQuestion
from realm_telemetry.cli.agents.runs import brief
from realm_telemetry.client import (
    EventMessage,
    ResetMessage,
    ServiceError,
    SnapshotMessage,
    StreamMessage,
)
from realm_telemetry.kinds.catalog import event_to_dict
from realm_telemetry.values.paths import write_name

OPEN: Final = ("running", "stalled", "paused")
"""Statuses of runs that are not over."""

MORE_S: Final = 0.2
"""For how long further events are gathered behind the first."""

AGAIN_S: Final = 1.0
"""Between two looks at a run, and before a lost service is asked again."""

_EVENTS_CHARS: Final = 16_000


class _Watch:
    """What a wait has seen so far. cursor: behind what. problem: why nothing is heard now."""

    def __init__(self, cursor: str | None) -> None:
        self.cursor = cursor
        self.found: list[dict[str, Any]] = []
        self.missed: str | None = None
        self.problem: str | None = None

    def read(self, message: StreamMessage) -> bool:
        """Take a message in; whether it is an event."""
        self.problem = None
        if isinstance(message, ResetMessage):
            self.missed = f"some events may be missing ({message.reason}); search_events has them"
        if isinstance(message, EventMessage):
            self.found.append(event_to_dict(message.event, message.cursor))
        if isinstance(message, EventMessage | SnapshotMessage) and message.last_event_id:
            self.cursor = message.last_event_id
        return isinstance(message, EventMessage)


async def wait_for(desk: Desk, question: WaitQuestion) -> dict[str, Any]:
    """Return what fits as soon as it happens, or that the time is over."""
    if question.until == "run_end":
        return await _run_end(desk, question)
    client = desk.client()
    watch = _Watch(question.cursor or await now(client))
    filters = await filters_of(client, question)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(question.timeout_s) as limit:
            async with aclosing(_messages(desk, filters, watch)) as messages:
                async for message in messages:
                    if not watch.read(message):
                        continue
                    if len(watch.found) == 1:
                        limit.reschedule(loop.time() + MORE_S)
                    if len(watch.found) == question.limit:
                        break
    except TimeoutError:
        pass
    return _answer(desk, question, watch)


def _answer(desk: Desk, question: WaitQuestion, watch: _Watch) -> dict[str, Any]:
    shown = fitting(watch.found, event_shape, _EVENTS_CHARS)
    left_out = len(watch.found) > len(shown)
    if left_out and watch.cursor:
        log_id = watch.cursor.partition("-")[0]
        watch.cursor = f"{log_id}-{watch.found[len(shown) - 1]['cursor']}"
    return {
        "timed_out": not watch.found,
        "events": shown,
        "cursor": watch.cursor,
        "truncated": left_out or len(watch.found) == question.limit,
        "missed": watch.missed,
        "problem": watch.problem,
        "page": log_page(desk.pages(), run=question.run_id and write_name(question.run_id)),
    }


async def _messages(
    desk: Desk, filters: dict[str, Any], watch: _Watch
) -> AsyncGenerator[StreamMessage, None]:
    """Yield messages for ever; a service that goes away may come back at another address."""
    heard = False
    while True:
        try:
            stream = desk.client().stream(filters, watch.cursor, reconnect=False)
            async with aclosing(stream) as messages:  # type: ignore[type-var]
                async for message in messages:
                    heard = True
                    yield message
            watch.problem = "The service ended; it is asked again each second."
        except ServiceError as error:
            if not error.retryable or not (heard or watch.cursor):
                raise
            watch.problem = error.message
        await asyncio.sleep(AGAIN_S)


async def _run_end(desk: Desk, question: WaitQuestion) -> dict[str, Any]:
    run_id = question.run_id
    if run_id is None:
        raise ServiceError(400, "invalid_arguments", "until=run_end needs run_id.", "Name the run.")
    run: dict[str, Any] | None = None
    problem: str | None = None
    cursor = await now(desk.client())
    deadline_s = asyncio.get_running_loop().time() + question.timeout_s
    while True:
        try:
            run, problem = await desk.client().run(run_id), None
        except ServiceError as error:
            # A run that was only just started has no event yet.
            if not error.retryable and error.error != "run_not_found":
                raise
            problem = error.message
        over = run is not None and problem is None and run["status"] not in OPEN
        left_s = deadline_s - asyncio.get_running_loop().time()
        if over or left_s <= 0:
            return {
                "timed_out": not over,
                "run": run and brief(desk.pages(), run),
                "cursor": cursor,
                "truncated": False,
                "problem": problem,
                "page": run_page(desk.pages(), run_id),
            }
        await asyncio.sleep(min(AGAIN_S, left_s))
