"""Rules, messages and backtests as people and programs read them."""

from collections.abc import Sequence
from typing import Any, Final

from realm_exporter_webhook.backtest import History, picture
from realm_exporter_webhook.posting import Outcome
from realm_exporter_webhook.rules import Rule, Target
from realm_telemetry.cli.terminal import cell, counted, line, make_table, note, print_table
from realm_telemetry.event import format_time
from realm_telemetry.kinds.line import printable
from realm_telemetry.log import to_params
from realm_telemetry.log.outbox import Message

STATES: Final = ("pending", "delivered", "dead")
SHOWN_MOMENTS: Final = 5
BAR_COLUMNS: Final = 28
_STYLES: Final = {"pending": "yellow", "delivered": "green", "dead": "red"}


def print_rules(rules: Sequence[Rule], counts: dict[tuple[str, str], int]) -> None:
    table = make_table(("rule", *STATES, "to", "when"), numbers=STATES)
    for rule in rules:
        numbers = [f"{counts.get((rule.name, state), 0):,}" for state in STATES]
        table.add_row(
            cell(rule.name, "bold"),
            *(cell(number) for number in numbers),
            cell(", ".join(rule.to)),
            cell(printable(_when(rule))),
        )
    print_table(table)


def _when(rule: Rule) -> str:
    """A rule in words."""
    params = to_params(rule.filters)
    parts = [f"{name} {'|'.join(values)}" for name, values in params.items()] or ["every event"]
    if rule.threshold > 1:
        parts.append(f"{rule.threshold} within {_short(rule.window_s)}")
    if rule.group_by:
        parts.append(f"by {', '.join(rule.group_by)}")
    if rule.cooldown_s:
        parts.append(f"then quiet {_short(rule.cooldown_s)}")
    if rule.collect_s:
        parts.append(f"gathered {_short(rule.collect_s)}")
    return "; ".join(parts)


def _short(duration_s: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if duration_s >= size and duration_s % size == 0:
            return f"{duration_s / size:g}{unit}"
    return f"{duration_s:g}s"


def rule_shape(rule: Rule, counts: dict[tuple[str, str], int]) -> dict[str, Any]:
    return {
        "name": rule.name,
        "to": rule.to,
        "filters": to_params(rule.filters),
        "threshold": rule.threshold,
        "window_s": rule.window_s,
        "cooldown_s": rule.cooldown_s,
        "group_by": rule.group_by,
        "collect_s": rule.collect_s,
        "messages": {state: counts.get((rule.name, state), 0) for state in STATES},
    }


def target_shape(target: Target) -> dict[str, Any]:
    return {
        "name": target.name,
        "place": target.place,
        "template": target.template,
        "signed": bool(target.secret),
    }


def print_messages(messages: Sequence[Message]) -> None:
    table = make_table(
        ("id", "time", "state", "tries", "status", "target", "what"), numbers=("id", "tries")
    )
    for message in messages:
        what = f"{message.title}: {message.problem}" if message.problem else message.title
        table.add_row(
            cell(str(message.id)),
            cell(format_time(message.created_unix_nano)[:19].replace("T", " ")),
            cell(message.state, _STYLES[message.state]),
            cell(str(message.attempts)),
            cell("" if message.status is None else str(message.status)),
            cell(message.target),
            cell(printable(what)),
        )
    print_table(table)


def shown(message: Message) -> dict[str, Any]:
    """A message without its body and without a secret address."""
    return {
        "id": message.id,
        "message_id": message.message_id,
        "pipeline": message.scope,
        "rule": message.rule,
        "target": message.target,
        "title": message.title,
        "events": message.events,
        "state": message.state,
        "attempts": message.attempts,
        "status": message.status,
        "problem": message.problem,
        "created": format_time(message.created_unix_nano),
        "due": format_time(message.due_unix_nano) if message.state == "pending" else None,
    }


def said(outcome: Outcome) -> dict[str, Any]:
    return {
        "delivered": outcome.delivered,
        "status": outcome.status,
        "problem": outcome.problem,
        "took_ms": round(outcome.took_s * 1000),
    }


def told(outcome: Outcome) -> str:
    if outcome.delivered:
        return f"taken ({outcome.status}) after {outcome.took_s * 1000:,.0f} ms"
    return f"not taken: {printable(outcome.problem)}"


def history_shape(history: History, since_ns: int) -> dict[str, Any]:
    """A backtest of one rule for a program."""
    return {
        "rule": history.rule.name,
        "since": format_time(since_ns),
        "events": history.events,
        "messages": history.messages,
        "digests": history.digests,
        "held_back": history.held_back,
        "targets": len(history.rule.to),
        "when": history.when(),
        "last": history.moments(),
    }


def print_histories(found: Sequence[History], since_ns: int) -> None:
    """Print backtests for a person: how often, when, and the last few one by one."""
    columns = ("events", "messages", "held back", "digests")
    table = make_table(("rule", *columns, "when"), numbers=columns)
    for each in found:
        numbers = (
            each.events,
            each.messages * len(each.rule.to),
            each.held_back,
            each.digests,
        )
        table.add_row(
            cell(each.rule.name, "bold"),
            *(cell(f"{number:,}") for number in numbers),
            cell(picture(each.parts, BAR_COLUMNS), "cyan"),
        )
    print_table(table)
    for each in found:
        _print_moments(each)
    note(f"From {format_time(since_ns)[:19]}Z to now; of each rule the last {SHOWN_MOMENTS}.")


def _print_moments(history: History) -> None:
    for moment in history.moments()[-SHOWN_MOMENTS:]:
        when = moment.time[:19].replace("T", " ")
        late = ", late" if moment.late else ""
        group = f" {printable(moment.group)}" if moment.group else ""
        line(f"{history.rule.name}: {when}{group}, {counted(moment.events, 'event')}{late}")
