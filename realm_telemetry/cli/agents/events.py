"""The tools about events: search, neighbours, numbers over time, receipts, and a note."""

from typing import Any, Final

from realm_telemetry.cli.agents.answers import (
    bounded,
    event_shape,
    fitting,
    log_page,
    run_page,
    size,
    text,
)
from realm_telemetry.cli.agents.desk import Desk, filters_of, names, now, of_run
from realm_telemetry.cli.agents.questions import (
    ContextQuestion,
    NoteQuestion,
    ReceiptsQuestion,
    SearchQuestion,
    SeriesQuestion,
)
from realm_telemetry.client import AsyncRealmClient, ServiceError
from realm_telemetry.client.requests import next_cursor
from realm_telemetry.client.stream import StoredEvent
from realm_telemetry.event import format_time
from realm_telemetry.kinds.catalog import event_to_dict

_LIST_CHARS: Final = 16_000
_EVENT_CHARS: Final = 6_000
_NEIGHBOUR_CHARS: Final = 400
_POINT_CHARS: Final = 45
_VALUE_CHARS: Final = 24


async def search_events(desk: Desk, question: SearchQuestion) -> dict[str, Any]:
    """Return a page of events, newest first."""
    client, pages = desk.client(), desk.pages()
    position = await now(client)
    filters = await filters_of(client, question)
    wanted = {
        **filters,
        "since": question.since,
        "until": question.until,
        "cursor": question.cursor,
    }
    page = await client.query_page(**wanted, limit=question.limit)
    shown = fitting(page.rows, lambda row: event_shape(_shape(row)), _LIST_CHARS)
    if len(shown) < len(page.rows):  # the cursor has to lead to the first that is left out
        page = await client.query_page(**wanted, limit=len(shown))
    following = next_cursor(page.next_params)
    return {
        "events": shown,
        "total": page.total,
        "total_is": "exact" if page.relation == "eq" else "at least",
        "routine_left_out": not names(question.kind),
        "now": position,
        "cursor": following,
        "truncated": following is not None,
        "page": log_page(pages, **filters, since=question.since, until=question.until),
    }


async def event_context(desk: Desk, question: ContextQuestion) -> dict[str, Any]:
    """Return an event with more of its details, and those around it."""
    client, key = desk.client(), question.event.lower()
    rows = await client.context(key, before=question.before, after=question.after)
    at = next(n for n, row in enumerate(rows) if key in (row.event.id, str(row.cursor)))
    before = fitting(rows[:at][::-1], _neighbour, _LIST_CHARS // 3)
    after = fitting(rows[at + 1 :], _neighbour, _LIST_CHARS // 3)
    return {
        "before": before[::-1],
        "event": event_shape(_shape(rows[at]), _EVENT_CHARS),
        "after": after,
        "cursor": None,
        "truncated": len(before) + len(after) + 1 < len(rows),
        "page": log_page(desk.pages(), event=rows[at].event.id),
    }


def _shape(row: StoredEvent) -> dict[str, Any]:
    return event_to_dict(row.event, row.cursor)


def _neighbour(row: StoredEvent) -> dict[str, Any]:
    return event_shape(_shape(row), _NEIGHBOUR_CHARS)


async def series(desk: Desk, question: SeriesQuestion) -> dict[str, Any]:
    """Return numbers of a run over time, thinned to what a model can read."""
    client, fields = desk.client(), names(question.fields) or ["loss"]
    if len(fields) > 8:
        raise ServiceError(400, "invalid_arguments", "fields: at most 8.", "Ask twice.")
    fits = _LIST_CHARS // (_POINT_CHARS + _VALUE_CHARS * len(fields))
    points = min(question.points, fits)
    found = await client.run_metrics(question.run_id, fields, points=points)
    rows = [_point(row) for row in found["points"]]
    while size(rows) > _LIST_CHARS and points > 1:
        points //= 2
        found = await client.run_metrics(question.run_id, fields, points=points)
        rows = [_point(row) for row in found["points"]]
    return {
        "columns": ["time", "step", *(text(name, 256) for name in found["fields"])],
        "points": rows,
        "of_these_points": {
            text(name, 256): _numbers([row[at] for row in rows])
            for at, name in enumerate(found["fields"], 2)
        },
        "fields_there_are": None if rows else await _fields(client, question.run_id),
        "cursor": None,
        "truncated": points < question.points or bool(found.get("sampled")),
        "page": run_page(desk.pages(), question.run_id),
    }


def _point(row: list[Any]) -> list[Any]:
    time = format_time(int(row[1] * 1_000_000))[:19] + "Z"
    return [time, *(float(f"{v:.6g}") if type(v) is float else v for v in row[2:])]


def _numbers(values: list[Any]) -> dict[str, Any]:
    """Return least, greatest and last, and how many are NaN or infinite."""
    finite = [value for value in values if isinstance(value, int | float)]
    return {
        "least": min(finite, default=None),
        "greatest": max(finite, default=None),
        "last": next((value for value in reversed(values) if value is not None), None),
        "not_finite": sum(isinstance(value, str) for value in values),
    }


async def _fields(client: AsyncRealmClient, run_id: str) -> Any:
    """Return names of numbers that the last steps of a run have."""
    page = await client.query_page(**await of_run(client, run_id), kind="training_step", limit=20)
    found = {
        name: None
        for row in page.rows
        for name, value in row.event.details.items()
        if type(value) in (int, float)
    }
    return bounded(list(found), 1_000)


async def receipts(desk: Desk, question: ReceiptsQuestion) -> dict[str, Any]:
    """Return what programs emitted and what of it is stored; those with losses first."""
    client = desk.client()
    every = (await client.receipts())["receipts"]
    every.sort(key=lambda one: (not one.get("dropped"), bool(one.get("complete"))))
    lacking = [one for one in every if one.get("dropped") or not one.get("complete")]
    listed = lacking if question.only_incomplete else every
    begin = int(question.cursor or 0)
    shown = fitting(listed[begin : begin + question.limit], bounded, _LIST_CHARS)
    end = begin + len(shown)
    return {
        "receipts": shown,
        "programs": len(every),
        "dropped_events": sum(one.get("dropped") or 0 for one in every),
        "incomplete_or_dropped": len(lacking),
        "cursor": str(end) if end < len(listed) else None,
        "truncated": end < len(listed),
        "page": f"{desk.pages()}/api/receipts",
    }


async def note(desk: Desk, question: NoteQuestion) -> dict[str, Any]:
    """Store a note, which everybody sees in the log."""
    event = await desk.client().note(
        question.message,
        severity=question.severity,
        run_id=question.run_id,
        source="agent",
        details={"by": "realm mcp"},
    )
    return {
        "stored": event.id,
        "cursor": None,
        "truncated": False,
        "page": log_page(desk.pages(), event=event.id),
    }
