"""What a rule and a target are."""

import re
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import msgspec
from msgspec.structs import replace

from realm_exporter_webhook.conditions import Comparison
from realm_exporter_webhook.memory import STATE_VERSION
from realm_exporter_webhook.notify import PREFIX, scheme_of
from realm_exporter_webhook.run_facts import NO_LIFE, OPEN, STARTS, STATUS_KINDS
from realm_telemetry.event import Event
from realm_telemetry.folds.runs import statuses
from realm_telemetry.log import Filters
from realm_telemetry.log.fields import FIELDS, FILTER_NAMES
from realm_telemetry.log.outbox import redacted
from realm_telemetry.values.paths import find

REQUEST: Final = "request"
"""The rule of events that name addresses themselves: `emit(..., webhooks=[url])`."""

TEMPLATES: Final = ("json", "discord", "slack", "ntfy", "apprise")
RULE_FILTERS: Final = tuple(name for name in FILTER_NAMES if name not in ("since", "until"))
"""What a rule may ask for; when an event happened is nothing to choose by."""
GROUP_FIELDS: Final = {field.name: field.column for field in FIELDS}
"""What `group_by` may name beside `details.<key>`: field of an event by the filter's name."""

DEFAULT_WINDOW_S: Final = 600.0
SETTLE_S: Final = 3.0
"""How long a rule about status gathers, unless it says: last lines, exception and other ranks of a
run come by ways of their own, some a moment after the end."""
MAX_THRESHOLD: Final = 1000
MAX_DURATION_S: Final = 100 * 365 * 86_400.0

_TOPIC: Final = re.compile(r"/([-\w]{1,64})/?", re.A)
"""https://docs.ntfy.sh/publish: the topic is all of the path."""

_DISCORD: Final = re.compile(r"(?:[a-z]+\.)?discord(?:app)?\.com")


class Target(msgspec.Struct, frozen=True):
    """Where messages go.

    url: a secret, as secret is. secret: signs the body; empty signs nothing.
    private: whether its host may have a private address.
    """

    name: str
    url: str
    template: str
    secret: str = ""
    private: bool = False

    @property
    def host(self) -> str:
        """The host of its address."""
        return urlsplit(self.url).hostname or ""

    @property
    def place(self) -> str:
        """Its address without what is secret in it."""
        if self.template == "apprise":
            return f"{PREFIX}{scheme_of(self.url)}://…"
        return redacted(self.url)

    @property
    def post_url(self) -> str:
        """Where a message is posted: ntfy takes JSON at its root, and the topic inside."""
        if self.template != "ntfy":
            return self.url
        return urlunsplit(urlsplit(self.url)._replace(path="/"))

    @property
    def topic(self) -> str:
        """The topic of an ntfy address; empty for others."""
        return ntfy_topic(self.url) if self.template == "ntfy" else ""


_ENDS: Final = STATUS_KINDS - STARTS
"""Kinds after which a run may be anything but running."""


class Expect(msgspec.Struct, frozen=True):
    """Kinds of which one is to come within a time of a run's start, or of the one before."""

    kinds: tuple[str, ...]
    within_s: float


class Rule(msgspec.Struct, frozen=True):
    """When to send what where.

    threshold, window_s: so many events within that time. cooldown_s: then quiet for so long.
    group_by: counted apart for each value of these. collect_s: gathered into one message.
    where: comparisons that must hold. statuses: of a run as it gets there, each once for a run.
    once: no more than once for a run.
    expect, silent_for_s: what is not to stay away while a run goes on.
    """

    name: str
    to: tuple[str, ...]
    filters: Filters
    threshold: int = 1
    window_s: float = DEFAULT_WINDOW_S
    cooldown_s: float = 0.0
    group_by: tuple[str, ...] = ()
    collect_s: float = 0.0
    where: tuple[Comparison, ...] = ()
    statuses: tuple[str, ...] = ()
    once: bool = False
    expect: Expect | None = None
    silent_for_s: float = 0.0

    def group_of(self, event: Event) -> str:
        """The group of an event, as text for people; empty without group_by."""
        return ", ".join(f"{name}={_value(event, name)}" for name in self.group_by)

    @property
    def period_s(self) -> float:
        """How long something may stay away; 0 where the rule is about what happens."""
        return self.silent_for_s if self.expect is None else self.expect.within_s

    def concerns(self, event: Event) -> bool:
        """Whether an event is one to look at."""
        if self.period_s:
            return event.kind in STARTS and event.run_id is not None and self._takes_run(event)
        if self.statuses:
            kinds = STATUS_KINDS if "running" in self.statuses else _ENDS
            if event.kind not in kinds or event.run_id is None:
                return False
        return self.filters.matches(event) and all(each.holds(event.details) for each in self.where)

    def _takes_run(self, event: Event) -> bool:
        return bool(replace(self.filters, kinds=(), not_kinds=()).matches(event))

    @property
    def sought(self) -> Filters | None:
        """What must not stay away; None where the rule is about what happens."""
        if self.expect is not None:
            return replace(self.filters, kinds=self.expect.kinds)
        if not self.silent_for_s:
            return None
        others = () if self.filters.kinds else NO_LIFE
        return replace(self.filters, not_kinds=self.filters.not_kinds + others)

    @property
    def absence(self) -> str:
        """What has stayed away, in words."""
        if self.expect is None:
            return f"silent for {short(self.silent_for_s)}"
        return f"no {' or '.join(self.expect.kinds)} for {short(self.expect.within_s)}"


def short(duration_s: float) -> str:
    """Return a duration as realm.toml may have it: 90s, 2h."""
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if duration_s >= size and duration_s % size == 0:
            return f"{duration_s / size:g}{unit}"
    return f"{duration_s:g}s"


class Config(msgspec.Struct, frozen=True):
    """All rules and targets.

    rules: of realm.toml. built_in: those that are on because there is a target.
    secret: signs messages to addresses that events name, and to targets without their own.
    """

    rules: tuple[Rule, ...] = ()
    targets: Mapping[str, Target] = {}
    secret: str = ""
    built_in: tuple[Rule, ...] = ()

    @property
    def every_rule(self) -> tuple[Rule, ...]:
        """The rules of realm.toml, then the built-in ones."""
        return self.rules + self.built_in

    def requested(self, url: str) -> Target:
        """The target that an address asked for at `emit` is."""
        return Target(f"{REQUEST} {redacted(url)}", url, guess_template(url), self.secret)


def guess_template(url: str) -> str:
    """The template that fits an address; those of known services are known by their hosts."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return "json"
    if _DISCORD.fullmatch(host):
        return "discord"
    if host == "ntfy.sh" and ntfy_topic(url):
        return "ntfy"
    return "slack" if host == "hooks.slack.com" else "json"


def ntfy_topic(url: str) -> str:
    """Return the topic that an address of ntfy ends in; empty if it has none."""
    found = _TOPIC.fullmatch(urlsplit(url).path)
    return "" if found is None else found[1]


def _value(event: Event, name: str) -> str:
    if name in GROUP_FIELDS:
        field = getattr(event, GROUP_FIELDS[name])
        return "-" if field is None or field == "" else str(field)
    return _short(find(event.details, name.removeprefix("details.")))


def _short(value: Any) -> str:
    if value is None:
        return "-"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text[:100]


_ADDED: Final = ("where", "statuses", "once", "expect", "silent_for_s")
"""Fields of a rule that 0.2 has not: without them a rule is what it was there."""


def definitions_of(config: Config) -> dict[str, str]:
    """What each rule is, shortly; what it remembers counts only as long as that stays."""
    rules = {rule.name: rule for rule in config.every_rule}
    found = {name: _definition(rule) for name, rule in rules.items()}
    found |= {runs_of(name): _definition(rule) for name, rule in rules.items()}
    return found | {REQUEST: _definition(None)}


def _definition(rule: Rule | None) -> str:
    shape = msgspec.to_builtins(rule)
    if rule is not None:
        shape = {name: value for name, value in shape.items() if name not in _ADDED or value}
    return blake2b(msgspec.json.encode([STATE_VERSION, shape]), digest_size=8).hexdigest()


def runs_of(name: str) -> str:
    """Return the name under which a rule remembers of which runs it has spoken."""
    return f"{name}/runs"


BAD_ENDS: Final = tuple(
    name for name in statuses() if name not in (*OPEN, "completed", "cancelled")
)

_BUILT_IN: Final[tuple[tuple[str, Mapping[str, Any]], ...]] = (
    ("run_ended_badly", {"statuses": BAD_ENDS, "collect_s": SETTLE_S}),
    ("stalled", {"statuses": ("stalled",), "collect_s": SETTLE_S}),
    ("not_finite", {"filters": Filters(kinds=("loss_not_finite",))}),
    ("host_lost", {"filters": Filters(kinds=("host_lost",))}),
    ("disk_low", {"filters": Filters(kinds=("disk_low",))}),
)
BUILT_IN: Final = tuple(name for name, _ in _BUILT_IN)
"""Rules that are on as soon as there is a target; each fires once for a run."""


def built_in_rules(to: Sequence[str], off: Sequence[str]) -> tuple[Rule, ...]:
    """Return the built-in rules, to some targets; none without a target."""
    return tuple(
        Rule(
            name, tuple(to), group_by=("run",), once=True, **({"filters": Filters()} | dict(given))
        )
        for name, given in _BUILT_IN
        if to and name not in off
    )
