"""The table of all tools, with what a model reads about each."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

import msgspec

from realm_telemetry.cli.agents import events, runs
from realm_telemetry.cli.agents.answers import NOTICE
from realm_telemetry.cli.agents.comparison import compare_runs
from realm_telemetry.cli.agents.desk import Desk
from realm_telemetry.cli.agents.questions import (
    CompareQuestion,
    ContextQuestion,
    NoteQuestion,
    Nothing,
    Question,
    ReceiptsQuestion,
    RunQuestion,
    RunsQuestion,
    SearchQuestion,
    SeriesQuestion,
    WaitQuestion,
)
from realm_telemetry.cli.agents.waiting import wait_for

INSTRUCTIONS: Final = (
    "realm_telemetry records what model trainings do: runs, events, output, and why each run ended."
    " Start with overview. diagnose_run answers why a run failed or hangs and what to do now."
    " wait_for sleeps until something happens: use it in place of asking again and again."
    f" Answers are cut to fit: `truncated` says so, `cursor` leads on. {NOTICE}"
)


class Tool(NamedTuple):
    """One tool. question: the type of its arguments. writes: whether it stores something."""

    name: str
    question: type[Question]
    answer: Callable[[Desk, Any], Awaitable[dict[str, Any]]]
    description: str
    writes: bool = False

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of its arguments."""
        _, found = msgspec.json.schema_components([self.question], ref_template="#/$defs/{name}")
        schema = dict(found[self.question.__name__])
        return {name: schema[name] for name in schema if name not in ("title", "description")}


TOOLS: Final = (
    Tool(
        "overview",
        Nothing,
        runs.overview,
        "Start here: the newest training runs, those that went wrong this week, recent errors,"
        " hosts and which of them are silent, and the last alerts: which, to whom, whether they"
        " arrived.",
    ),
    Tool(
        "list_runs",
        RunsQuestion,
        runs.list_runs,
        "List training runs, newest first, each with status, reason, step and loss. Use it to find"
        " the id of a run.",
    ),
    Tool(
        "diagnose_run",
        RunQuestion,
        runs.diagnose_run,
        "Why one run ended, or how it goes: status, reason, evidence, exception, anomalies (NaN,"
        " stalls, memory), ranks, checkpoint to resume from, last printed lines. Use it first for"
        " any question about one run.",
    ),
    Tool(
        "compare_runs",
        CompareQuestion,
        compare_runs,
        "What differs between a run and another one, by default the last good run before it:"
        " settings, command, commit, hosts, and the numbers of both. Use it to find what changed.",
    ),
    Tool(
        "search_events",
        SearchQuestion,
        events.search_events,
        "Search the log of events by run, kind, severity, words and time, newest first. Steps and"
        " samples are left out unless `kind` names them. Use it when diagnose_run is not enough:"
        " kind=resource_sampled with limit 1 says how full disks, memory and GPUs are now, `q` with"
        " a path which runs saved or used a checkpoint.",
    ),
    Tool(
        "event_context",
        ContextQuestion,
        events.event_context,
        "One event with more of its details, and what happened just before and after it.",
    ),
    Tool(
        "series",
        SeriesQuestion,
        events.series,
        "Numbers of a run over time (loss, learning rate, any logged metric), thinned so that"
        " extremes stay. Use it to see whether a run learns, or where it went wrong.",
    ),
    Tool(
        "wait_for",
        WaitQuestion,
        wait_for,
        "Sleep until an event fits, or until a run is over (until=run_end with run_id), or the time"
        " is up. Call it again with the `cursor` of its answer: nothing in between is lost.",
    ),
    Tool(
        "receipts",
        ReceiptsQuestion,
        events.receipts,
        "Whether all events that programs emitted have arrived. Use it when events seem missing.",
    ),
    Tool(
        "note",
        NoteQuestion,
        events.note,
        "Store a short note in the log, about a run if run_id is given. Everybody sees it. Only"
        " when the user asks for it.",
        writes=True,
    ),
)
