"""Rules and targets read from the options; every mistake names the setting and the fix."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final
from urllib.parse import urlsplit

from realm_exporter_webhook.conditions import ALLOWED, Comparison, read_condition, refuse_impossible
from realm_exporter_webhook.notify import MISSING, PREFIX, is_installed
from realm_exporter_webhook.rules import (
    BUILT_IN,
    DEFAULT_WINDOW_S,
    GROUP_FIELDS,
    MAX_DURATION_S,
    MAX_THRESHOLD,
    REQUEST,
    RULE_FILTERS,
    SETTLE_S,
    TEMPLATES,
    Config,
    Expect,
    Rule,
    Target,
    built_in_rules,
    guess_template,
    ntfy_topic,
)
from realm_telemetry.errors import ConfigError
from realm_telemetry.folds.runs import statuses
from realm_telemetry.log import Filters, InvalidFilterError, parse_filters

_SETTING: Final = "options.webhook"
_UNITS_S: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION: Final = re.compile(r"(\d{1,7}(?:\.\d{1,3})?)\s*([smhd]?)")
TARGET_KEYS: Final = ("url", "template", "secret", "private")
_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,63}")


def read_config(options: Mapping[str, Any]) -> Config:
    """Read the options of the exporter.

    Raises ConfigError.
    """
    secret = _text(f"{_SETTING}.secret", options.get("secret", ""), empty=True)
    targets = {
        name: _target(name, table, secret)
        for name, table in _table(f"{_SETTING}.targets", options.get("targets", {})).items()
    }
    given = options.get("rules", [])
    if not isinstance(given, list | tuple):
        raise ConfigError(
            f"{_SETTING}.rules", "needs a list of tables", "Write [[" + _SETTING + ".rules]]."
        )
    rules: list[Rule] = []
    for number, table in enumerate(given, 1):
        rule = _rule(number, table, targets)
        if rule.name in {other.name for other in rules}:
            raise ConfigError(_rule_setting(rule.name), "two rules have this name", "Rename one.")
        rules.append(rule)
    built_in = _alerts(options.get("alerts", {}), targets, [rule.name for rule in rules])
    return Config(tuple(rules), targets, secret, built_in)


def _alerts(given: Any, targets: Mapping[str, Target], taken: Sequence[str]) -> tuple[Rule, ...]:
    """Read which built-in rules are on, and where they send to: to all targets, unless it says.

    taken: names of the rules of realm.toml, which stand for the built-in ones of the same name.
    """
    setting = f"{_SETTING}.alerts"
    table = _table(setting, given)
    _refuse_unknown(setting, table, ("to", "off"))
    names = _list(f"{setting}.to", table.get("to", list(targets)))
    _check_targets(setting, names, targets)
    off = _list(f"{setting}.off", table.get("off", []))
    for name in off:
        if name not in BUILT_IN:
            fix = f"{_near(name, BUILT_IN)}There are {', '.join(BUILT_IN)}."
            raise ConfigError(f"{setting}.off", f"there is no built-in rule {name!r}", fix)
    return built_in_rules(tuple(dict.fromkeys(names)), [*off, *taken])


def _target(name: str, given: Any, secret: str) -> Target:
    setting = f"{_SETTING}.targets.{name}"
    _check_name(setting, name)
    table = _table(setting, given)
    _refuse_unknown(setting, table, TARGET_KEYS)
    given_url = table.get("url")
    if isinstance(given_url, str) and given_url.strip().startswith(PREFIX):
        url, template = _apprise(setting, given_url.strip(), table), "apprise"
    else:
        url = check_url(f"{setting}.url", given_url)
        template = table.get("template", guess_template(url))
    if template not in TEMPLATES:
        fix = f"Use one of {', '.join(TEMPLATES)}."
        raise ConfigError(f"{setting}.template", f"there is no {template!r}", fix)
    if template == "apprise" and not url.startswith(PREFIX):
        fix = f'Write url = "{PREFIX}mailto://...", as apprise has it.'
        raise ConfigError(f"{setting}.url", "is no address of apprise", fix)
    if template == "ntfy" and not ntfy_topic(url):
        fix = "Write https://ntfy.sh/TOPIC, or the same of your own server."
        raise ConfigError(f"{setting}.url", "does not end in a topic of ntfy", fix)
    own = _text(f"{setting}.secret", table.get("secret", ""), empty=True)
    private = table.get("private", False)
    if not isinstance(private, bool):
        raise ConfigError(
            f"{setting}.private",
            f"{private!r} is neither true nor false",
            "Write private = true, without quotes, or leave it out.",
        )
    return Target(name, url, template, own or secret, private)


def _apprise(setting: str, url: str, table: Mapping[str, Any]) -> str:
    """Read an address of apprise; whether it knows the service is seen by doctor and sender."""
    if table.get("template", "apprise") != "apprise":
        fix = "Leave template out: apprise has its own."
        raise ConfigError(f"{setting}.template", "does not go with an address of apprise", fix)
    if not re.fullmatch(r"[a-z][a-z0-9.+-]*://\S+", url.removeprefix(PREFIX), re.I):
        fix = f"Write {PREFIX}SCHEME://..., as apprise has it: {PREFIX}tgram://BOT/CHAT."
        raise ConfigError(f"{setting}.url", "is no address of apprise", fix)
    if not is_installed():
        raise ConfigError(f"{setting}.url", "needs apprise, which is not installed", f"{MISSING}.")
    return url


def check_url(setting: str, value: Any) -> str:
    """Return an address that can be sent to; it is not shown in the error, being a secret.

    Raises ConfigError.
    """
    fix = "Write the whole address: https://host/path."
    text = _text(setting, value)
    try:
        parts = urlsplit(text)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        known = False
    if not known or not text.isprintable() or " " in text:
        raise ConfigError(setting, "is no http:// or https:// address", fix)
    return text


def _rule(number: int, given: Any, targets: Mapping[str, Target]) -> Rule:
    table = _table(f"{_SETTING}.rules, number {number}", given)
    name = _text(f"{_SETTING}.rules, number {number}: name", table.get("name"))
    setting = _rule_setting(name)
    _check_name(setting, name)
    if name == REQUEST:
        raise ConfigError(setting, "this name is taken by webhooks=[...] of an event", "Rename it.")
    _refuse_unknown(setting, table, (*RULE_KEYS, *RULE_FILTERS))
    expect, silent_for_s = _absence(setting, table)
    if "status" in table:
        table = _of_status(table)
    return Rule(
        name,
        _to(setting, table.get("to", []), targets),
        _filters(setting, table),
        _threshold(f"{setting}.threshold", table.get("threshold", 1)),
        seconds(f"{setting}.window", table.get("window", DEFAULT_WINDOW_S), least_s=0.001),
        seconds(f"{setting}.cooldown", table.get("cooldown", 0)),
        _group_by(f"{setting}.group_by", _list(f"{setting}.group_by", table.get("group_by", []))),
        seconds(f"{setting}.collect", table.get("collect", 0)),
        _where(f"{setting}.where", table["where"]) if "where" in table else (),
        _statuses(f"{setting}.status", table["status"]) if "status" in table else (),
        expect=expect,
        silent_for_s=silent_for_s,
    )


def _of_status(table: Mapping[str, Any]) -> dict[str, Any]:
    """Add how a rule about status gathers: each run apart, unless it counts or cools down."""
    apart = {} if "threshold" in table or "cooldown" in table else {"group_by": ["run"]}
    return {"collect": SETTLE_S, **apart, **table}


_ABSENCES: Final = ("expect", "silent_for")
_OF_EVENTS: Final = ("threshold", "window", "cooldown", "group_by", "collect", "where", "status")
RULE_KEYS: Final = ("name", "to", *_OF_EVENTS, *_ABSENCES)
"""What a rule may have beside filters."""


def _where(setting: str, given: Any) -> tuple[Comparison, ...]:
    if not given:
        raise ConfigError(setting, "compares nothing", ALLOWED)
    try:
        found = tuple(each for text in _list(setting, given) for each in read_condition(text))
        refuse_impossible(found)
        return found
    except ValueError as error:
        raise ConfigError(setting, str(error), ALLOWED) from None


def _statuses(setting: str, given: Any) -> tuple[str, ...]:
    names = _list(setting, given)
    if not names:
        raise ConfigError(setting, "names nothing", _NOTHING)
    for name in names:
        if name not in statuses():
            fix = f"{_near(name.lower(), statuses())}A run can be {', '.join(statuses())}."
            raise ConfigError(setting, f"there is no status {name!r}", fix)
    return tuple(dict.fromkeys(names))


def _absence(setting: str, table: Mapping[str, Any]) -> tuple[Expect | None, float]:
    """Read what is not to stay away: `expect` or `silent_for`."""
    asked = [name for name in _ABSENCES if name in table]
    if not asked:
        return None, 0.0
    refused = [*asked[1:], *(name for name in _OF_EVENTS if name in table)]
    refused += [name for name in ("kind",) if asked == ["expect"] and name in table]
    if refused:
        fix = f"Remove it, or write it into {asked[0]}, or into a rule of its own."
        raise ConfigError(f"{setting}.{refused[0]}", f"does not go with {asked[0]}", fix)
    if asked == ["silent_for"]:
        return None, seconds(f"{setting}.silent_for", table["silent_for"], least_s=1.0)
    given = _table(f"{setting}.expect", table["expect"])
    _refuse_unknown(f"{setting}.expect", given, ("kind", "within"))
    kinds = _list(f"{setting}.expect.kind", given.get("kind", []))
    if not kinds or any(not name.strip() or name.startswith("!") for name in kinds):
        fix = 'Write expect = { kind = "checkpoint_saved", within = "2h" }.'
        raise ConfigError(f"{setting}.expect.kind", "names no kind that is to come", fix)
    within_s = seconds(f"{setting}.expect.within", given.get("within"), least_s=1.0)
    return Expect(tuple(kinds), within_s), 0.0


def _rule_setting(name: str) -> str:
    return f"{_SETTING}.rules: {name}"


def _to(setting: str, given: Any, targets: Mapping[str, Target]) -> tuple[str, ...]:
    names = [name for name in _list(f"{setting}.to", given) if name.strip()]
    _check_targets(setting, names, targets)
    if not names:
        raise ConfigError(f"{setting}.to", "names no target", "Name at least one of the targets.")
    return tuple(dict.fromkeys(names))


def _check_targets(setting: str, names: Sequence[str], targets: Mapping[str, Target]) -> None:
    for name in names:
        if name not in targets:
            raise ConfigError(
                f"{setting}.to",
                f"there is no target {name!r}",
                f"{_near(name, targets)}Add [{_SETTING}.targets.{name}] with its url.",
            )


def _filters(setting: str, table: Mapping[str, Any]) -> Filters:
    given = {
        name: _named(f"{setting}.{name}", name, table[name])
        for name in RULE_FILTERS
        if name in table
    }
    try:
        return parse_filters(given)
    except InvalidFilterError as error:
        raise ConfigError(f"{setting}.{error.parameter}", error.message, f"{error.hint}.") from None


_IDS: Final = {"producer": 16, "trace": 32}
"""Filters that are hexadecimal ids, and how many digits they have."""

_NOTHING: Final = "Name what it is to be, or leave it out, which lets anything pass."


def _named(setting: str, name: str, value: Any) -> list[str]:
    """Read what a filter names; nothing at all would let every event pass."""
    if name == "rank":
        ranks = value if isinstance(value, list | tuple) else [value]
        value = [str(each) if type(each) is int else each for each in ranks]
    found = _list(setting, value)
    if not found or any(not each.strip() for each in found):
        raise ConfigError(setting, "names nothing", _NOTHING)
    digits = _IDS.get(name)
    for each in found if digits else ():
        if not re.fullmatch(rf"!?[0-9a-fA-F]{{{digits}}}", each.strip()):
            raise ConfigError(
                setting, f"{each[:80]!r} is no id", f"Write its {digits} hexadecimal digits."
            )
    return found


def _threshold(setting: str, value: Any) -> int:
    if type(value) is not int or not 1 <= value <= MAX_THRESHOLD:
        fix = f"Write a whole number from 1 to {MAX_THRESHOLD}."
        raise ConfigError(setting, f"{value!r} is no number of events", fix)
    return value


def _group_by(setting: str, names: Sequence[str]) -> tuple[str, ...]:
    for name in names:
        if name not in GROUP_FIELDS and not re.fullmatch(r"details\..+", name):
            known = ", ".join(GROUP_FIELDS)
            fix = f"{_near(name, GROUP_FIELDS)}Use some of {known}, or details.<key>."
            raise ConfigError(setting, f"cannot group by {name!r}", fix)
    return tuple(dict.fromkeys(names))


def seconds(setting: str, value: Any, *, least_s: float = 0.0) -> float:
    """Read a duration: seconds, or text such as `30s`, `10m`, `1h`.

    Raises ConfigError.
    """
    found = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if found:
        number = float(found[1]) * _UNITS_S[found[2]]
    elif type(value) in (int, float):
        number = float(value)
    else:
        number = -1.0
    if not least_s <= number <= MAX_DURATION_S:
        fix = "Write seconds, or text such as 30s, 10m, 1h."
        raise ConfigError(setting, f"{value!r} is no duration", fix)
    return number


def _check_name(setting: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        fix = "Use letters, digits, dots, dashes and underscores; at most 64."
        raise ConfigError(setting, f"{name!r} is no name", fix)


def _text(setting: str, value: Any, *, empty: bool = False) -> str:
    if not isinstance(value, str) or not (empty or value.strip()):
        raise ConfigError(setting, "needs text that is not empty", "See docs/webhooks.md.")
    return value.strip()


def _list(setting: str, value: Any) -> list[str]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list | tuple) or not all(isinstance(each, str) for each in values):
        name = setting.rpartition(".")[2]
        fix = f'Write {name} = "...", or {name} = ["...", "..."].'
        raise ConfigError(setting, f"needs text or a list of texts, got {value!r}", fix)
    return list(values)


def _table(setting: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(setting, "needs a table", "See docs/webhooks.md.")
    return dict(value)


def _refuse_unknown(setting: str, table: Mapping[str, Any], known: Sequence[str]) -> None:
    for name in table:
        if name not in known:
            fix = f"{_near(name, known)}Known: {', '.join(known)}."
            raise ConfigError(f"{setting}.{name}", "there is no such setting", fix)


def _near(name: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    near = get_close_matches(name, list(known), 1, 0.5)
    return f"Did you mean {near[0]!r}? " if near else ""


def read_hosts(given: Any) -> list[str]:
    """Read `allow_hosts`. Raises ConfigError."""
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise ConfigError(
            "options.webhook.allow_hosts",
            f"needs a list of host names, got {given!r}",
            'Write allow_hosts = ["ntfy.lan"].',
        )
    return given
