"""The tools about events: search, neighbours, numbers over time, receipts, and a note."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, Final

from realm_telemetry.cli.agents.answers import (
    bounded,
    event_shape,
    fitting,
    log_page,
    run_page,
    text,
)
from realm_telemetry.cli.agents.desk import Desk, filters_of, names, now
from realm_telemetry.cli.agents.questions import (
    ContextQuestion,
    NoteQuestion,
    ReceiptsQuestion,
    SearchQuestion,
    SeriesQuestion,
)
from realm_telemetry.client import ServiceError
from realm_telemetry.client.requests import next_cursor
from realm_telemetry.client.stream import StoredEvent
from realm_telemetry.event import format_time
from realm_telemetry.kinds.catalog import event_to_dict, kinds

_LIST_CHARS: Final = 16_000
_EVENT_CHARS: Final = 6_000
_NEIGHBOUR_CHARS: Final = 400
_POINT_CHARS: Final = 45


NOTHING_FITS: Final = (
    "Nothing fits all of the filters. Leave one out, look further back with `since`, or name"
    " routine kinds such as training_step in `kind`."
)
NO_STACK: Final = (
    " A stack is only captured of a program that records itself (realm.configure, or below realm"
    " run) and only once it stalls."
)


def _nothing(wanted: Sequence[str]) -> str:
    """Say what to do where nothing fits, and which kinds are not built in."""
    known = [spec.kind for spec in kinds()]
    unknown = [kind for kind in wanted if kind.removeprefix("!") not in known]
    near = [found for kind in unknown for found in get_close_matches(kind, known, 2, 0.5)]
    parts = [NOTHING_FITS, NO_STACK if "stack_captured" in wanted else ""]
    if unknown:
        hint = f"; near are {', '.join(near)}" if near else ""
        parts.append(f" Not built in: {text(', '.join(unknown), 200)}{hint}.")
    return "".join(parts)


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
        "next": None if shown else _nothing(names(question.kind)),
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
    """Return numbers of a run over its steps, thinned to what a model can read."""
    client, wanted = desk.client(), names(question.fields) or ["loss"]
    if len(wanted) > 8:
        raise ServiceError(400, "invalid_arguments", "fields: at most 8.", "Ask twice.")
    points = min(question.points, _LIST_CHARS // (_POINT_CHARS * len(wanted)))
    found = await client.run_metrics(question.run_id, wanted, points=points)
    shown = fitting(found["series"], _curve, _LIST_CHARS)
    metrics = [metric for group in found["groups"] for metric in group["metrics"]]
    thinned = any(one["count"] > points for one in metrics if one["name"] in wanted)
    return {
        "series": shown,
        "summaries": [_summary(one) for one in metrics if one["name"] in wanted],
        "fields_there_are": None if shown else _names_of(metrics),
        "still_reading": found["building"] is not None,
        "cursor": None,
        "truncated": thinned or len(shown) < len(found["series"]),
        "page": run_page(desk.pages(), question.run_id),
    }


def _curve(one: dict[str, Any]) -> dict[str, Any]:
    """Return one curve as rows; the values that are not finite stay apart."""
    steps = one["steps"] or [None] * len(one["values"])
    rows = zip(one["times"], steps, one["values"], strict=True)
    return {
        "field": text(one["name"], 256),
        "rank": one["rank"],
        "attempt": one["attempt"],
        "overwritten_from": one["overwritten_from"],
        "columns": ["time", "step", "value"],
        "points": [[_time(at), step, _rounded(value)] for at, step, value in rows],
        "not_finite": bounded(one["not_finite"], 600),
    }


def _summary(metric: dict[str, Any]) -> dict[str, Any]:
    """Return what is known of all points of a number, not only of those shown."""
    told = ("count", "last", "last_step", "least", "greatest", "not_finite")
    found = {name: _rounded(metric[name]) for name in (*told, "first_not_finite_step")}
    return {"field": text(metric["name"], 256), **found}


def _names_of(metrics: list[dict[str, Any]]) -> Any:
    return bounded([metric["name"] for metric in metrics], 1_000)


def _time(milliseconds: float) -> str:
    return format_time(int(milliseconds * 1_000_000))[:19] + "Z"


def _rounded(value: Any) -> Any:
    return float(f"{value:.6g}") if type(value) is float else value


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
