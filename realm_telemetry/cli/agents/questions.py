"""What each tool can be asked: the arguments, their bounds, and what a model reads about them."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Names = str | list[str]

RunId = Annotated[str, Meta(min_length=1, max_length=256, description="The id of a run.")]
Words = Annotated[str, Meta(max_length=1024)]
Moment = Annotated[
    str,
    Meta(max_length=64, description="A time: 15m, 24h or 7d ago, a date, or ISO 8601 (UTC)."),
]
PageCursor = Annotated[
    str,
    Meta(max_length=2048, description="`cursor` of the answer before, for what follows it."),
]


def limit_of(most: int) -> Any:
    """Return the type of a number of entries."""
    return Annotated[int, Meta(ge=1, le=most, description="The most entries to answer.")]


class Question(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The arguments of a tool. What is not known is an error, so that nothing is ignored."""


class Nothing(Question):
    """No arguments."""


class RunsQuestion(Question):
    """Which runs to list."""

    status: Annotated[
        Names | None,
        Meta(
            description="Only these: running, stalled, paused, completed, failed, crashed,"
            " out_of_memory, killed, terminated, preempted, cancelled, lost."
        ),
    ] = None
    warnings: Annotated[
        Names | None,
        Meta(
            description="Only those that had some of not_finite, spikes, stalls, or any of them,"
            " however they ended."
        ),
    ] = None
    tags: Annotated[Names | None, Meta(description="Only those that have all of these.")] = None
    since: Moment | None = None
    q: Annotated[Words | None, Meta(description="Part of the id or of the command.")] = None
    limit: limit_of(100) = 20  # type: ignore[valid-type]
    cursor: PageCursor | None = None


class RunQuestion(Question):
    """Which run."""

    run_id: RunId


class CompareQuestion(Question):
    """Which two runs."""

    run_id: RunId
    other: Annotated[
        RunId | None,
        Meta(description="The run to compare it with. Without: the last good one before it."),
    ] = None


class EventFilters(Question):
    """Which events; all that is given must fit."""

    run_id: RunId | None = None
    kind: Annotated[
        Names | None,
        Meta(description="Kinds such as checkpoint_saved, run_ended; !kind leaves one out."),
    ] = None
    severity: Annotated[Names | None, Meta(description="info, success, warning, error.")] = None
    channel: Annotated[
        Names | None,
        Meta(description="system, jobs, training, eval, vault, guild, debug, data, checkpoint."),
    ] = None
    rank: Annotated[
        Annotated[int, Meta(ge=0)] | None, Meta(description="Of one process of the run.")
    ] = None
    q: Annotated[
        Words | None, Meta(description='Words that must all occur; "a phrase" in double quotes.')
    ] = None
    has: Annotated[
        Annotated[list[str], Meta(max_length=16)] | None,
        Meta(description="Details as path:value, such as optimizer:adam."),
    ] = None


class SearchQuestion(EventFilters):
    """Which events to find."""

    since: Moment | None = None
    until: Moment | None = None
    limit: limit_of(100) = 20  # type: ignore[valid-type]
    cursor: PageCursor | None = None


class ContextQuestion(Question):
    """Which event, and how many around it."""

    event: Annotated[str, Meta(pattern="^([0-9a-fA-F]{32}|[0-9]{1,19})$", description="Its id.")]
    before: Annotated[int, Meta(ge=0, le=50, description="Events before it.")] = 10
    after: Annotated[int, Meta(ge=0, le=50, description="Events after it.")] = 10


class SeriesQuestion(Question):
    """Which numbers of a run."""

    run_id: RunId
    fields: Annotated[
        Names,
        Meta(description="Names of numbers such as loss, learning_rate, train/acc; at most 8."),
    ] = "loss"
    points: Annotated[int, Meta(ge=2, le=500, description="About how many points.")] = 60


class WaitQuestion(EventFilters):
    """What to wait for, and for how long."""

    until: Annotated[
        Literal["event", "run_end"],
        Meta(description="event: one that fits. run_end: the run `run_id` is over."),
    ] = "event"
    timeout_s: Annotated[
        float,
        Meta(ge=0, le=600, description="Seconds. Many clients give up on a call after 60."),
    ] = 50.0
    cursor: Annotated[
        Annotated[str, Meta(pattern="^[0-9a-f]{32}-[0-9]{1,19}$")] | None,
        Meta(description="`now` of any answer: events since then count too. Without: from now."),
    ] = None
    limit: limit_of(50) = 10  # type: ignore[valid-type]


class ReceiptsQuestion(Question):
    """Which receipts."""

    only_incomplete: Annotated[
        bool, Meta(description="Only programs whose events are not all stored.")
    ] = False
    limit: limit_of(100) = 20  # type: ignore[valid-type]
    cursor: Annotated[
        Annotated[str, Meta(pattern="^[0-9]{1,9}$")] | None,
        Meta(description="`cursor` of the answer before, for what follows it."),
    ] = None


class NoteQuestion(Question):
    """What to write down."""

    message: Annotated[str, Meta(min_length=1, max_length=2000, description="One or two lines.")]
    run_id: Annotated[RunId | None, Meta(description="The run that it is about.")] = None
    severity: Annotated[
        Literal["info", "success", "warning", "error"], Meta(description="How bad it is.")
    ] = "info"
