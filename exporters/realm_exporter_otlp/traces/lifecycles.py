"""Which kinds begin and end a lifecycle, and what two events of one lifecycle share."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from realm_telemetry.event import Event
from realm_telemetry.kinds.table import KIND_METADATA

Status = Literal["unset", "ok", "error"]


class Key(NamedTuple):
    """What a start and its end have in common.

    producer: empty where another process may report the end. Another start of the same key then
        begins the lifecycle again.
    """

    name: str
    values: tuple[str, ...]
    producer: str


class Lifecycle(NamedTuple):
    """One row of the table.

    level: lower ones hold higher ones; None for a lifecycle of the user's own, which may be in
        any other and hold any other. (Where trainings are is another question: see `runs`.)
    ends: what each last word of a kind makes of the span.
    alone: last words that are a span even if nothing ever began, each time they come.
    not_alone: last words that only mean something if there is a beginning.
    """

    name: str
    level: int | None
    ends: Mapping[str, Status]
    alone: frozenset[str] = frozenset()
    not_alone: frozenset[str] = frozenset()

    def holds(self, other: "Lifecycle") -> bool:
        """Whether a span of the other may be a child of one of this."""
        return self.level is None or other.level is None or self.level < other.level


_ENDS: Final[Mapping[str, Status]] = {"completed": "ok", "failed": "error", "cancelled": "unset"}

TRAINING: Final = Lifecycle("training", 0, _ENDS)
JOB: Final = Lifecycle("job", 1, {**_ENDS, "retried": "error"}, not_alone=frozenset({"retried"}))
EVAL: Final = Lifecycle("eval", 2, _ENDS)
EVALUATION: Final = Lifecycle("evaluation", 2, {**_ENDS, "finished": "ok"})
CHECKPOINT: Final = Lifecycle("checkpoint", 2, {**_ENDS, "saved": "ok"}, alone=frozenset({"saved"}))

LIFECYCLES: Final[Mapping[str, Lifecycle]] = {
    lifecycle.name: lifecycle for lifecycle in (TRAINING, JOB, EVAL, EVALUATION, CHECKPOINT)
}
START: Final = "started"
LOST: Final = "process_lost"
TRAINING_KINDS: Final = tuple(f"training_{word}" for word in (START, *_ENDS))


class Phase(NamedTuple):
    """What a kind says of a lifecycle: that it started, or how it ended."""

    lifecycle: Lifecycle
    word: str


@lru_cache(maxsize=4096)
def phase_of(kind: str) -> Phase | None:
    """Return what a kind says of a lifecycle; None if it says nothing.

    A kind that the catalog does not have and that ends as those of `lifecycle()` do is one of the
    user's own lifecycles.
    """
    name, _, word = kind.rpartition("_")
    lifecycle = LIFECYCLES.get(name)
    if lifecycle is None and name and kind not in KIND_METADATA:
        lifecycle = Lifecycle(name, None, _ENDS)
    if lifecycle is None or not (word == START or word in lifecycle.ends):
        return None
    return Phase(lifecycle, word)


def key_of(event: Event, lifecycle: Lifecycle) -> Key:
    """Return what this event shares with the others of its lifecycle."""
    run = event.run_id or event.producer
    if lifecycle is TRAINING:
        return Key("training", (run,), event.producer)
    if lifecycle is EVAL:
        names = (first(event, "suite_id", "suite"), first(event, "skill"), first(event, "level"))
        return Key("eval", (run, *names), event.producer)
    if lifecycle is CHECKPOINT:
        return Key("checkpoint", (run, first(event, "step", "path")), event.producer)
    id = first(event, f"{lifecycle.name}_id", "id", "name")
    return Key(lifecycle.name, (id,), "" if id else event.producer)


def first(event: Event, *names: str) -> str:
    """Return the first of the named details that can name something, as text; else empty."""
    for name in names:
        value = event.details.get(name)
        if type(value) in (str, int, float) and value != "":
            return str(value)[:200]
    return ""


def job_key(event: Event) -> Key | None:
    """Return the job that an event names, by its `job_id` or as the suite that it belongs to."""
    id = first(event, "job_id", "suite_id", "suite")
    return Key("job", (id,), "") if id else None


def span_name(event: Event, lifecycle: Lifecycle) -> str:
    """Return a span's name; few different ones, so that they can be grouped by."""
    detail = {"job": "job_type", "eval": "skill"}.get(lifecycle.name)
    which = first(event, detail) if detail else ""
    return f"{lifecycle.name} {which}" if which else lifecycle.name
