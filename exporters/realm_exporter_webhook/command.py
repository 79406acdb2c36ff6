"""`realm webhooks`: the rules, what they sent, and what they would have sent."""

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import click
import msgspec

from realm_exporter_webhook.backtest import History, backtest, picture
from realm_exporter_webhook.engine import Firing
from realm_exporter_webhook.exporter import WebhookExporter, circuit_text
from realm_exporter_webhook.rule_text import when
from realm_exporter_webhook.rules import Rule, Target
from realm_exporter_webhook.sender import Outcome
from realm_exporter_webhook.store import Store
from realm_exporter_webhook.templates import render
from realm_telemetry.cli.command import CommandGroup, command, group, json_option, log_url, settings
from realm_telemetry.cli.problems import EXIT_PROBLEM
from realm_telemetry.cli.terminal import (
    PIPE_WIDTH,
    ProgressLine,
    cell,
    json_document,
    line,
    make_table,
    note,
    print_table,
    width,
)
from realm_telemetry.cli.times import times, utc_option
from realm_telemetry.errors import counted
from realm_telemetry.event import Event, format_time
from realm_telemetry.kinds.catalog import resolve
from realm_telemetry.log import to_params
from realm_telemetry.log.engine import open_log
from realm_telemetry.log.outbox import KeptCircuit, Message
from realm_telemetry.plugins import ExporterContext


def exporter_of_home() -> WebhookExporter:
    """The exporter as realm.toml sets it up. Raises ConfigError."""
    chosen = settings()
    context = ExporterContext(
        home=chosen.home,
        log_path=chosen.log_path,
        log_url=log_url(chosen),
        service_url=chosen.service_url,
        options=chosen.options.get("webhook", {}),
    )
    return WebhookExporter(context=context)


@contextmanager
def stored(exporter: WebhookExporter) -> Iterator[Store | None]:
    """What the home has sent; None before there was anything. Raises LogError."""
    if not exporter.has_store():
        yield None
        return
    store = exporter.open_store()
    try:
        yield store
    finally:
        store.close()


def rule_named(exporter: WebhookExporter, name: str) -> Rule:
    """A rule by its name. Raises click.UsageError."""
    for rule in exporter.config.every_rule:
        if rule.name == name:
            return rule
    known = [rule.name for rule in exporter.config.every_rule] + list(exporter.config.targets)
    listing = f"There are {', '.join(known)}." if known else "Add a target: realm alerts init"
    raise click.UsageError(f"There is no rule or target {name!r}. {listing}")


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
            cell(when(rule)),
        )
    print_table(table)


def rule_shape(rule: Rule, counts: dict[tuple[str, str], int]) -> dict[str, Any]:
    return {
        "name": rule.name,
        "to": rule.to,
        "when": when(rule),
        "filters": to_params(rule.filters),
        "threshold": rule.threshold,
        "window_s": rule.window_s,
        "cooldown_s": rule.cooldown_s,
        "group_by": rule.group_by,
        "collect_s": rule.collect_s,
        "where": [f"{each.path} {each.operator} {each.value}" for each in rule.where],
        "status": rule.statuses,
        "once": rule.once,
        "expect": msgspec.to_builtins(rule.expect),
        "silent_for_s": rule.silent_for_s,
        "messages": {state: counts.get((rule.name, state), 0) for state in STATES},
    }


def target_shape(target: Target) -> dict[str, Any]:
    return {
        "name": target.name,
        "place": target.place,
        "template": target.template,
        "private": target.private,
        "signed": bool(target.secret),
    }


def circuit_shape(circuit: KeptCircuit) -> dict[str, Any]:
    return {
        "host": circuit.place,
        "senders": circuit.pool,
        "failures": circuit.failures,
        "until": format_time(circuit.until_unix_nano),
        "reason": circuit.reason,
    }


def print_messages(messages: Sequence[Message]) -> None:
    heading, moments = times().column("time", [each.created_unix_nano for each in messages])
    columns = ("id", heading, "state", "tries", "status", "target", "what")
    table = make_table(columns, numbers=("id", "tries"))
    # A terminal cuts the last column, and why it was not taken is what a person came for.
    is_cut = width() < PIPE_WIDTH
    for message, moment in zip(messages, moments, strict=True):
        problem = "" if is_cut or not message.problem else f": {message.problem}"
        table.add_row(
            cell(str(message.id)),
            cell(moment),
            cell(message.state, _STYLES[message.state]),
            cell(str(message.attempts)),
            cell("" if message.status is None else str(message.status)),
            cell(message.target),
            cell(f"{message.title}{problem}"),
        )
    print_table(table)
    for message in messages if is_cut else ():
        if message.problem:
            line(f"{message.id}: {message.problem}")


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


def outcome_shape(outcome: Outcome) -> dict[str, Any]:
    return {
        "delivered": outcome.delivered,
        "status": outcome.status,
        "problem": outcome.problem,
        "took_ms": round(outcome.took_s * 1000),
    }


def outcome_text(outcome: Outcome) -> str:
    if outcome.delivered:
        status = "" if outcome.status is None else f" ({outcome.status})"
        return f"taken{status} after {outcome.took_s * 1000:,.0f} ms"
    return f"not taken: {outcome.problem}"


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
    note(f"From {times().full(since_ns)} to now; of each rule the last {SHOWN_MOMENTS}.")


def _print_moments(history: History) -> None:
    for moment in history.moments()[-SHOWN_MOMENTS:]:
        when = times().full(moment.time)
        late = ", late" if moment.late else ""
        group = f" {moment.group}" if moment.group else ""
        line(f"{history.rule.name}: {when}{group}, {counted(moment.events, 'event')}{late}")


@group(
    examples=(
        ("realm webhooks", "The rules and targets of realm.toml, and how many messages they sent."),
        ("realm webhooks log --state dead", "Messages that were never taken, and why."),
        ("realm webhooks backtest --since 7d", "How often each rule would have fired, and when."),
    )
)
@utc_option
@click.pass_context
def webhooks(ctx: click.Context) -> None:
    """Show, test and send again what webhook rules do.

    Without a further word it lists the rules. Rules are set in realm.toml, see docs/webhooks.md;
    `realm serve` fires them.
    """
    if ctx.invoked_subcommand is None:
        _list(False)


_GROUP: CommandGroup = webhooks


def _add(name: str, *examples: tuple[str, str]) -> Callable[[Callable[..., Any]], None]:
    def decorate(function: Callable[..., Any]) -> None:
        _GROUP.add_command(command(examples=examples)(function), name)

    return decorate


@_add("list", ("realm webhooks list --json", "Rules and targets, for a program."))
@utc_option
@json_option("Print one JSON object: rules, targets, circuits.")
def _list_command(as_json: bool) -> None:
    """List rules and targets."""
    _list(as_json)


@_add("log", ("realm webhooks log --limit 5 --json", "The last five messages, for a program."))
@click.option(
    "--state", "states", type=click.Choice(STATES), multiple=True, help="Only of this state."
)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 10_000), metavar="N")
@utc_option
@json_option("Print a JSON array.")
def _log_command(states: tuple[str, ...], limit: int, as_json: bool) -> None:
    """Show the last messages: where they went, and what came of it."""
    with stored(exporter_of_home()) as store:
        messages = store.outbox.messages(limit, states) if store else []
    if as_json:
        json_document([shown(message) for message in messages])
    elif messages:
        print_messages(messages)
    else:
        note("There is no such message.")


@_add("test", ("realm webhooks test phone", "Send a test message to a target, or by a rule."))
@click.argument("name", metavar="NAME")
@json_option("Print a JSON array: target, delivered, status, problem.")
def _test_command(name: str, as_json: bool) -> int:
    """Send a test message to a target, or to all targets of a rule.

    Exit code 1 if one was not taken. Nothing is written to the log.
    """
    exporter = exporter_of_home()
    results = [(target, send_test(exporter, target, name)) for target in _targets(exporter, name)]
    if as_json:
        json_document(
            [{"target": target.name, **outcome_shape(outcome)} for target, outcome in results]
        )
    else:
        for target, outcome in results:
            line(f"{target.name} ({target.place}): {outcome_text(outcome)}")
    return 0 if all(outcome.delivered for _, outcome in results) else EXIT_PROBLEM


@_add("redeliver", ("realm webhooks redeliver --all", "Send every dead message again."))
@click.argument("ids", metavar="[ID]...", nargs=-1, type=int)
@click.option("--all", "everything", is_flag=True, help="All dead messages.")
@json_option("Print a JSON array: id, delivered, status, problem.")
def _redeliver_command(ids: tuple[int, ...], everything: bool, as_json: bool) -> int:
    """Send messages again now, dead ones or any by their numbers in `realm webhooks log`.

    They keep their id, so that a receiver can recognise one that it has already. One that is not
    taken waits for further attempts if these make sense. Exit code 1 if one was not taken.
    """
    if bool(ids) == everything:
        raise click.UsageError("Give the numbers of messages, or --all for all dead ones.")
    exporter = exporter_of_home()
    with stored(exporter) as store:
        results = _send_again(exporter, store, ids) if store else []
    if as_json:
        json_document(
            [{"id": message.id, **outcome_shape(outcome)} for message, outcome in results]
        )
    else:
        for message, outcome in results:
            line(f"{message.id} {message.target}: {outcome_text(outcome)}")
        note(f"{counted(sum(each.delivered for _, each in results), 'message')} delivered")
    return 0 if all(outcome.delivered for _, outcome in results) else EXIT_PROBLEM


@_add(
    "backtest", ("realm webhooks backtest --since 24h --json", "How often and when, for a program.")
)
@click.option("--since", default="7d", show_default=True, metavar="TIME", help="From when on.")
@click.option("--rule", "names", multiple=True, metavar="NAME", help="Only this rule.")
@utc_option
@json_option("Print a JSON array: of each rule how often, when, and the last messages.")
def _backtest_command(since: str, names: tuple[str, ...], as_json: bool) -> None:
    """Say how often each rule would have fired over history, and when.

    The rules are those of realm.toml as it is now; nothing is sent. Imported and replayed events
    are left out, as they are live.
    """
    exporter = exporter_of_home()
    rules = [rule_named(exporter, name) for name in names] or list(exporter.config.every_rule)
    now_ns = time.time_ns()
    since_ns = times().read("since", since)
    found = list(_backtests(exporter, rules, since_ns, now_ns))
    if as_json:
        json_document([history_shape(each, since_ns) for each in found])
    elif found:
        print_histories(found, since_ns)
    else:
        note("There are no rules. Write some into realm.toml, see docs/webhooks.md.")


def _backtests(
    exporter: WebhookExporter, rules: Sequence[Rule], since_ns: int, now_ns: int
) -> Iterator[History]:
    with open_log(exporter.context.log_place).reader() as reader:
        for rule in rules:
            with ProgressLine(f"Backtesting {rule.name}") as progress:
                yield backtest(exporter, reader, rule, since_ns, now_ns, progress)


def _list(as_json: bool) -> None:
    exporter = exporter_of_home()
    with stored(exporter) as store:
        counts = store.outbox.counts() if store else {}
        circuits = store.outbox.circuits() if store else []
    config = exporter.config
    if as_json:
        rules = [rule_shape(rule, counts) for rule in config.rules]
        targets = [target_shape(target) for target in config.targets.values()]
        held = [circuit_shape(circuit) for circuit in circuits]
        json_document({"rules": rules, "targets": targets, "circuits": held})
        return
    if not config.rules and config.built_in:
        note(f"No rules in realm.toml; {len(config.built_in)} are built in: realm alerts")
    elif not config.rules:
        note("There are no rules. Write some into realm.toml, see docs/webhooks.md.")
    else:
        print_rules(config.rules, counts)
    for target in config.targets.values():
        signed = "signed" if target.secret else "not signed"
        line(f"target {target.name}: {target.place}, {target.template}, {signed}")
    for circuit in circuits:
        line(circuit_text(circuit))


def _targets(exporter: WebhookExporter, name: str) -> list[Target]:
    targets = exporter.config.targets
    if name in targets:
        return [targets[name]]
    return [targets[each] for each in rule_named(exporter, name).to]


def send_test(exporter: WebhookExporter, target: Target, name: str) -> Outcome:
    """Send a test message to a target, once."""
    message_id = f"msg_{secrets.token_hex(16)}"
    body = render(target.template, _test_firing(name), message_id, target.topic)
    return exporter.poster().post_to(target, body, message_id)


def _test_firing(name: str) -> Firing:
    channel, severity = resolve("note", None, None)
    event = Event(
        kind="note",
        channel=channel,
        severity=severity,
        message=f"A test of {name}, by realm webhooks test.",
        details={"test": True},
        time_unix_nano=time.time_ns(),
        producer=secrets.token_hex(8),
        number=1,
    )
    return Firing(name, "", (), [event], 1)


def _send_again(
    exporter: WebhookExporter, store: Store, ids: Sequence[int]
) -> list[tuple[Message, Outcome]]:
    wanted = ids or [each.id for each in reversed(store.outbox.messages(100_000, ["dead"]))]
    sender = exporter.sender(store)
    found = [(id, sender.send_again(id)) for id in wanted]
    for id, result in found:
        if result is None:
            raise click.UsageError(f"There is no message {id}. See: realm webhooks log")
    return [result for _, result in found if result is not None]
