"""What the demo says at its beginning and at its end."""

from collections.abc import Iterator

from realm_telemetry.demo.service import Ports
from realm_telemetry.demo.verdict import ProducerLine, Verdict


def links(ports: Ports) -> Iterator[str]:
    """Say where both views are, and how to read them from a shell."""
    yield f"  War Room     http://localhost:{ports.pages}/"
    yield f"  Battle Log   http://localhost:{ports.battle_log}/"
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
