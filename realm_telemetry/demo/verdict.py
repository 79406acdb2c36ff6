"""The end of the demo: did every event arrive in both views? And the text that says so."""

from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

from realm_telemetry.client import RealmClient, StoredEvent
from realm_telemetry.demo.campaign import WORKERS
from realm_telemetry.demo.service import Ports
from realm_telemetry.event import FIRST_CONTENT_NUMBER

ACCURACY_WANTED: Final = 0.95
EXPECTED_KINDS: Final = {
    "process_lost": "no process_lost event came for the worker that was killed",
    "job_retried": "the killed worker's job was not taken back",
    "job_failed": "the job with the torn checkpoint did not fail",
    "checkpoint_promoted": "no checkpoint was promoted",
}
LIVE_EVENTS: Final = 50
_PAGE: Final = 1000
_TRIES: Final = 5


class ProducerLine(NamedTuple):
    """One producer's receipt. emitted: None if unknown."""

    name: str
    producer: str
    emitted: int | None
    stored: int
    dropped: int
    complete: bool
    lost: bool


class Verdict(NamedTuple):
    """What became of a campaign's events. problems: empty if everything holds."""

    producers: list[ProducerLine]
    events: int
    accuracy: float | None
    problems: list[str]


def judge(client: RealmClient, campaign: str, streamed: Counter[str]) -> Verdict:
    """Compare receipts, history, stream and live view of a campaign that has ended.

    streamed: how often each event came over the stream. Raises ServiceError.
    """
    history = list(client.query(campaign=campaign, limit=_PAGE))
    kinds = Counter(row.event.kind for row in history)
    lines = _producer_lines(client, history)
    accuracy = _champion_accuracy(history)
    problems = [problem for kind, problem in EXPECTED_KINDS.items() if not kinds[kind]]
    problems += _receipt_problems(lines, history)
    problems += _stream_problems(streamed, {row.event.id for row in history})
    if not views_agree(client):
        problems.append(f"the live view's last {LIVE_EVENTS} are not the newest of the history")
    if accuracy is None or accuracy < ACCURACY_WANTED:
        problems.append(f"the champion's accuracy is {accuracy}, less than {ACCURACY_WANTED}")
    return Verdict(lines, len(history), accuracy, problems)


def views_agree(client: RealmClient) -> bool:
    """Return whether live view and history show the same last events. Raises ServiceError.

    The live view goes by arrival and leaves late events out; the history goes by time.
    """
    for _ in range(_TRIES):
        live = [row.event.id for row in client.events(limit=LIVE_EVENTS)]
        rows = [row for row in client.query_page(limit=_PAGE).rows if not row.event.late]
        rows.sort(key=lambda row: row.cursor or 0, reverse=True)
        if live == [row.event.id for row in rows[:LIVE_EVENTS]]:
            return True
        # Somebody else's program may have emitted in between.
    return False


def _producer_lines(client: RealmClient, history: list[StoredEvent]) -> list[ProducerLine]:
    receipts = {each["producer"]: each for each in client.receipts()["receipts"]}
    lost = {row.event.producer for row in history if row.event.kind == "process_lost"}
    lines = []
    for producer, name in _names(history).items():
        receipt = receipts.get(producer, {"emitted": None, "stored": 0, "dropped": 0})
        lines.append(
            ProducerLine(
                name,
                producer,
                receipt["emitted"],
                receipt["stored"],
                receipt["dropped"],
                bool(receipt.get("complete")),
                producer in lost,
            )
        )
    return sorted(lines)


def _names(history: list[StoredEvent]) -> dict[str, str]:
    """What to call each producer: a worker by its id."""
    names = dict.fromkeys((row.event.producer for row in history), "trainer")
    for row in history:
        if row.event.kind == "worker_joined":
            names[row.event.producer] = str(row.event.details["worker_id"])
    return names


def _receipt_problems(lines: list[ProducerLine], history: list[StoredEvent]) -> Iterator[str]:
    expected = len(WORKERS) + 1
    if len(lines) != expected:
        yield f"{len(lines)} producers are in the log, not {expected}"
    # Events of the shipper are in the log too (a loss, samples, the end of a run): those have
    # numbers that no producer gives.
    emitted = (row.event for row in history if row.event.number < FIRST_CONTENT_NUMBER)
    counts = Counter(event.producer for event in emitted)
    for line in lines:
        shown = counts[line.producer]
        if not line.complete or line.dropped or line.emitted != line.stored:
            yield (
                f"{line.name}: emitted {line.emitted}, stored {line.stored}, dropped {line.dropped}"
            )
        elif shown != line.stored:
            yield f"{line.name}: the history shows {shown} of {line.stored} events"


def _stream_problems(streamed: Counter[str], stored: set[str]) -> Iterator[str]:
    if missing := len(stored - streamed.keys()):
        yield f"{missing} of {len(stored)} events did not come over the stream"
    if repeated := sum(1 for count in streamed.values() if count > 1):
        yield f"{repeated} events came over the stream more than once"


def _champion_accuracy(history: list[StoredEvent]) -> float | None:
    promoted = [row.event for row in history if row.event.kind == "checkpoint_promoted"]
    return max((float(event.details["accuracy"]) for event in promoted), default=None)


def links(ports: Ports) -> Iterator[str]:
    """Say where both views are, and how to read them from a shell."""
    yield f"  War Room     http://localhost:{ports.pages}/"
    yield f"  Battle Log   http://localhost:{ports.battle_log}/battle-log"
    yield f"  live         curl http://localhost:{ports.realm}/api/events | jq '.events[0]'"
    yield (
        f"  historic     curl 'http://localhost:{ports.battle_log}/api/battle_log?limit=10'"
        " | jq '.[0]'"
    )


def summary(campaign: str, verdict: Verdict) -> Iterator[str]:
    """Say what became of a campaign's events, and what is off if anything is."""
    yield f"{campaign}: {verdict.events:,} events in the log"
    yield f"  {'producer':<12} {'id':<18} {'emitted':>8} {'stored':>8} {'dropped':>8}"
    yield from map(_producer, verdict.producers)
    emitted = sum(line.emitted or 0 for line in verdict.producers)
    stored = sum(line.stored for line in verdict.producers)
    dropped = sum(line.dropped for line in verdict.producers)
    yield f"  {'all':<31} {emitted:>8,} {stored:>8,} {dropped:>8,}"
    if verdict.accuracy is not None:
        yield f"  champion's accuracy on unseen digits: {verdict.accuracy:.1%}"
    if verdict.problems:
        yield "  What is off:"
        yield from (f"  ✗ {problem}" for problem in verdict.problems)
    else:
        yield "  ✓ stream, live view and history agree; the loss and the failure were seen"


def _producer(line: ProducerLine) -> str:
    emitted = "unknown" if line.emitted is None else f"{line.emitted:,}"
    remark = "  killed, nothing lost" if line.lost and line.complete else ""
    return (
        f"  {line.name:<12} {line.producer:<18} {emitted:>8} {line.stored:>8,}"
        f" {line.dropped:>8,}{remark}"
    )
