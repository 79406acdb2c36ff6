"""`realm alerts`: where alerts go, which there are, and which are quiet for now."""

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from realm_exporter_webhook.addresses import RefusedAddressError, UnresolvedError
from realm_exporter_webhook.command import (
    STATES,
    exporter_of_home,
    outcome_text,
    rule_named,
    rule_shape,
    send_test,
    stored,
    target_shape,
)
from realm_exporter_webhook.notify import PREFIX, problem_of
from realm_exporter_webhook.rule_text import when
from realm_exporter_webhook.rules import BUILT_IN, Config, Rule, ntfy_topic
from realm_exporter_webhook.settings import check_url, read_config, seconds
from realm_exporter_webhook.settings_text import joined, parse, read_text, with_target, write_text
from realm_exporter_webhook.store import of_run
from realm_telemetry.cli.command import CommandGroup, command, group, json_option, settings
from realm_telemetry.cli.problems import EXIT_PROBLEM
from realm_telemetry.cli.terminal import (
    cell,
    json_document,
    line,
    make_table,
    note,
    print_table,
    without_spare,
)
from realm_telemetry.cli.times import times, utc_option
from realm_telemetry.errors import counted
from realm_telemetry.event import format_time
from realm_telemetry.home import SETTINGS_FILE, running_service
from realm_telemetry.log.outbox import Message
from realm_telemetry.plugins import installed_exporters

if TYPE_CHECKING:
    from rich.text import Text

TEMPLATES: Final = {
    "ntfy": "ntfy",
    "slack": "slack",
    "discord": "discord",
    "webhook": "json",
    "apprise": "apprise",
}
"""Services that `init` knows, and the template of each."""

NTFY: Final = "https://ntfy.sh/"
MAX_RUN_ID: Final = 256
LOOKED_AT: Final = 2_000
"""Messages among which those of each target are looked for."""

_S: Final = 1_000_000_000


@group(
    examples=(
        ("realm alerts", "Which alerts there are, where they go, and which are muted."),
        ("realm alerts init --ntfy my-secret-topic --no-test", "Alerts to the app of ntfy.sh."),
        ("realm alerts mute disk_low --for 2h", "Quiet for two hours."),
    )
)
@utc_option
@click.pass_context
def alerts(ctx: click.Context) -> None:
    """Say where alerts go, list them, and mute them.

    Without a further word it lists the rules, built in and of realm.toml. `realm serve` sends; see
    docs/alerts.md.
    """
    if ctx.invoked_subcommand is None:
        _list(False)


_GROUP: CommandGroup = alerts


def _add(name: str, *examples: tuple[str, str]) -> Callable[[Callable[..., Any]], None]:
    def decorate(function: Callable[..., Any]) -> None:
        _GROUP.add_command(command(examples=examples)(function), name)

    return decorate


@_add("list", ("realm alerts list --json", "The same for a program."))
@utc_option
@json_option("Print one JSON object: rules, targets.")
def _list_command(as_json: bool) -> None:
    """List rules, targets and what is muted."""
    _list(as_json)


def _list(as_json: bool) -> None:
    exporter = exporter_of_home()
    now_ns = time.time_ns()
    with stored(exporter) as store:
        counts = store.outbox.counts() if store else {}
        muted = store.muted(now_ns) if store else {}
        muted_runs = store.muted_runs(now_ns) if store else {}
        messages = store.outbox.messages(LOOKED_AT) if store else []
    config = exporter.config
    if as_json:
        rules = [
            rule_shape(rule, counts)
            | {
                "built_in": rule in config.built_in,
                "muted_until": format_time(muted[rule.name]) if rule.name in muted else None,
            }
            for rule in config.every_rule
        ]
        targets = [target_shape(target) for target in config.targets.values()]
        runs = [{"run_id": id, "muted_until": format_time(ns)} for id, ns in muted_runs.items()]
        json_document({"rules": rules, "targets": targets, "muted_runs": runs})
        return
    if not config.targets:
        note("There is no target yet: realm alerts init")
        for name in sorted(settings().options.keys() - installed_exporters()):
            note(
                f"realm.toml has [options.{name}], which nothing reads; alerts are options.webhook"
            )
        return
    columns = ("rule", "muted", "from", "to", "when")
    whole = [_row(rule, config, muted.get(rule.name)) for rule in config.every_rule]
    spare = ("from", "to") if muted else ("muted", "from", "to")
    shown, rows = without_spare(columns, whole, spare)
    table = make_table(shown)
    for row in rows:
        table.add_row(*row)
    print_table(table)
    for run_id, until_ns in sorted(muted_runs.items()):
        line(f"run {run_id}: muted until {times().full(until_ns)}")
    for target in config.targets.values():
        line(f"target {target.name}: {target.place}, {target.template}")
        own = [each for each in messages if each.target == target.name]
        for text in _state(own):
            line(f"  {text}")


def _state(messages: Sequence[Message]) -> Iterator[str]:
    """Yield what became of the messages of one target, which are given newest first."""
    by_state = {state: [each for each in messages if each.state == state] for state in STATES}
    taken, waiting, dead = by_state["delivered"], by_state["pending"], by_state["dead"]
    if taken:
        yield f"last taken: {times().full(taken[0].created_unix_nano)}, {taken[0].title}"
    if waiting:
        problem = next((each.problem for each in waiting if each.problem), "")
        yield f"{counted(len(waiting), 'message')} waiting{f': {problem}' if problem else ''}"
    if dead:
        yield f"{counted(len(dead), 'message')} not taken: {dead[0].problem}"
        yield "send again what was not taken: realm webhooks redeliver --all"


def _row(rule: Rule, config: Config, muted_ns: int | None) -> Sequence["Text"]:
    until = "" if muted_ns is None else f"until {times().full(muted_ns)}"
    origin = "built in" if rule in config.built_in else SETTINGS_FILE
    return (
        cell(rule.name, "bold"),
        cell(until, "yellow"),
        cell(origin),
        cell(", ".join(rule.to)),
        cell(when(rule)),
    )


_run_option: Final = click.option(
    "--run", "run_id", metavar="RUN", help="All that is about this run, in place of a rule."
)


@_add(
    "mute",
    ("realm alerts mute stalled --for 8h", "Quiet for a night."),
    ("realm alerts mute --run r7 --for 2h", "Nothing about one run, by any rule."),
)
@click.argument("name", metavar="[RULE]", required=False)
@_run_option
@click.option(
    "--for", "duration", default="1h", show_default=True, metavar="TIME", help="30m, 2h, 1d."
)
@utc_option
def _mute_command(name: str | None, run_id: str | None, duration: str) -> None:
    """Let a rule, or all about a run, send nothing for some time; it holds without a restart.

    What happens meanwhile is in the log, and is not sent later.
    """
    until_ns = time.time_ns() + int(seconds("--for", duration) * _S)
    line(f"{_mute(name, run_id, until_ns)} is muted until {times().full(until_ns)}")


@_add("unmute", ("realm alerts unmute stalled", "Sends again from now on."))
@click.argument("name", metavar="[RULE]", required=False)
@_run_option
def _unmute_command(name: str | None, run_id: str | None) -> None:
    """Let a rule send again, or all rules about a run."""
    line(f"{_mute(name, run_id, 0)} is not muted")


def _mute(name: str | None, run_id: str | None, until_ns: int) -> str:
    """Mute a rule or a run, and return what is muted in words. Raises click.UsageError."""
    if (name is None) == (run_id is None):
        raise click.UsageError("Give a rule, or --run and the id of a run.")
    if run_id is not None and not 0 < len(run_id) <= MAX_RUN_ID:
        raise click.UsageError(f"--run: an id has 1 to {MAX_RUN_ID} characters.")
    exporter = exporter_of_home()
    if name is not None and name not in BUILT_IN:  # which may be off, or without a target yet
        rule_named(exporter, name)
    with closing(exporter.open_store()) as store:
        store.outbox.mute(of_run(run_id) if name is None else name, until_ns)
    return f"run {run_id}" if name is None else name


@_add(
    "init",
    (
        "realm alerts init --webhook http://127.0.0.1:9000/hook --private --name pager",
        "A program of yours on this machine, and a test to it.",
    ),
)
@click.option("--ntfy", metavar="TOPIC", help="A topic of ntfy.sh, or a whole address.")
@click.option("--slack", metavar="URL", help="An incoming webhook of Slack.")
@click.option("--discord", metavar="URL", help="A webhook of Discord.")
@click.option("--webhook", metavar="URL", help="A program of yours, which gets JSON.")
@click.option("--apprise", metavar="URL", help="Any address of apprise: mailto://..., tgram://...")
@click.option("--name", metavar="NAME", help="Of the target, by default that of the service.")
@click.option("--private", is_flag=True, help="Its host may have a private address.")
@click.option("--no-test", is_flag=True, help="Send no test.")
def _init_command(name: str | None, private: bool, no_test: bool, **given: str | None) -> int:
    """Add a target to realm.toml, and send a test there; asks for it without options.

    Built-in alerts are on from then on. All else in the file stays as it is. Exit code 1 if the
    test is not taken.
    """
    named = {service: url for service, url in given.items() if url is not None}
    if len(named) > 1:
        raise click.UsageError(f"Give one of {', '.join(f'--{each}' for each in named)}.")
    asks = not named
    service, url = _asked() if asks else next(iter(named.items()))
    name = name or service
    path = settings().home / SETTINGS_FILE
    url = _address(service, url)
    is_private = private or _is_private(url, asks=asks)
    is_new = not _is_there(path, url)
    if not is_new:
        line("that address is a target already; nothing was added")
    else:
        _write(path, name, service, url, private=is_private)
        line(f"added the target {name} to {path}")
    exporter = exporter_of_home()
    target = next(each for each in exporter.config.targets.values() if each.url == url)
    on = [rule.name for rule in exporter.config.built_in if target.name in rule.to]
    line(f"built-in alerts that go there: {', '.join(on) or 'none'}")
    code = 0
    if not no_test:
        outcome = send_test(exporter, target, target.name)
        line(f"test to {target.name} ({target.place}): {outcome_text(outcome)}")
        code = 0 if outcome.delivered else EXIT_PROBLEM
    if running_service(exporter.context.home) is None:
        note("No service of this home runs, and only that sends alerts: realm up")
    elif is_new:
        note("The service that runs does not know the target yet: realm down && realm up")
    return code


def _asked() -> tuple[str, str]:
    """Ask a person where alerts are to go."""
    try:
        service = click.prompt(
            "Where to", type=click.Choice(list(TEMPLATES)), default="ntfy", err=True
        )
        new = f"{NTFY}realm-{secrets.token_hex(8)}" if service == "ntfy" else None
        return service, click.prompt("Address", default=new, err=True)
    except click.Abort:
        options = ", ".join(f"--{each}" for each in TEMPLATES)
        raise click.UsageError(f"Nobody answers; give one of {options}.") from None


def _address(service: str, url: str) -> str:
    """Return a whole address. Raises ConfigError, click.UsageError."""
    if service == "apprise":
        return _of_apprise(PREFIX + url.removeprefix(PREFIX))
    if service == "ntfy" and "://" not in url:
        if not ntfy_topic(NTFY + url):
            raise click.UsageError("--ntfy: a topic is 1 to 64 letters, digits, dashes and _.")
        url = NTFY + url
    url = check_url(f"--{service}", url)
    if service == "ntfy" and not ntfy_topic(url):
        raise click.UsageError(f"--ntfy needs a topic, or an address like {NTFY}TOPIC.")
    return url


def _of_apprise(url: str) -> str:
    problem = problem_of(url)
    if problem:
        raise click.UsageError(f"--apprise: {problem}.")
    return url


def _is_private(url: str, *, asks: bool) -> bool:
    """Whether an address is a private one, which a person has to allow."""
    if url.startswith(PREFIX):  # apprise looks up names itself
        return False
    try:
        exporter_of_home().guard.check(url)
    except RefusedAddressError as error:
        reason = str(error).partition(", and nothing")[0]
        if asks and click.confirm(f"{reason}. Send there all the same?", err=True):
            return True
        raise click.UsageError(f"{reason}. Give --private if you mean it.") from None
    except UnresolvedError:  # the test will say so
        return False
    return False


def _targets_of(path: Path, text: str) -> dict[str, Any]:
    found: Any = parse(path, text)
    for key in ("options", "webhook", "targets"):
        found = found.get(key, {})
    return dict(found)


def _is_there(path: Path, url: str) -> bool:
    return any(each.get("url") == url for each in _targets_of(path, read_text(path)).values())


def _write(path: Path, name: str, service: str, url: str, *, private: bool) -> None:
    text = read_text(path)
    if name in _targets_of(path, text):
        raise click.UsageError(f"There is a target {name!r} already; give another --name.")
    target: dict[str, str | bool] = {"url": url, "template": TEMPLATES[service]}
    target |= {"private": True} if private else {}
    read_config(joined(parse(path, text), name, target)["options"]["webhook"])
    write_text(path, with_target(path, text, name, target))
