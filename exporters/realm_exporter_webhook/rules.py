"""What a rule and a target are."""

import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import msgspec

from realm_exporter_webhook.memory import STATE_VERSION
from realm_telemetry.event import Event
from realm_telemetry.log import Filters
from realm_telemetry.log.fields import FIELDS, FILTER_NAMES
from realm_telemetry.log.outbox import redacted
from realm_telemetry.values.paths import find

REQUEST: Final = "request"
"""The rule of events that name addresses themselves: `emit(..., webhooks=[url])`."""

TEMPLATES: Final = ("json", "discord", "slack", "ntfy")
RULE_FILTERS: Final = tuple(name for name in FILTER_NAMES if name not in ("since", "until"))
"""What a rule may ask for; when an event happened is nothing to choose by."""
GROUP_FIELDS: Final = {field.name: field.column for field in FIELDS}
"""What `group_by` may name beside `details.<key>`: field of an event by the filter's name."""

DEFAULT_WINDOW_S: Final = 600.0
MAX_THRESHOLD: Final = 1000
MAX_DURATION_S: Final = 100 * 365 * 86_400.0

_TOPIC: Final = re.compile(r"/([-\w]{1,64})/?", re.A)
"""https://docs.ntfy.sh/publish: the topic is all of the path."""

_DISCORD: Final = re.compile(r"(?:[a-z]+\.)?discord(?:app)?\.com")


class Target(msgspec.Struct, frozen=True):
    """Where messages go.

    url: a secret, as secret is. secret: signs the body; empty signs nothing.
    """

    name: str
    url: str
    template: str
    secret: str = ""

    @property
    def place(self) -> str:
        """Its address without what is secret in it."""
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


class Rule(msgspec.Struct, frozen=True):
    """When to send what where.

    threshold, window_s: so many events within that time. cooldown_s: then quiet for so long.
    group_by: counted apart for each value of these. collect_s: gathered into one message.
    """

    name: str
    to: tuple[str, ...]
    filters: Filters
    threshold: int = 1
    window_s: float = DEFAULT_WINDOW_S
    cooldown_s: float = 0.0
    group_by: tuple[str, ...] = ()
    collect_s: float = 0.0

    def group_of(self, event: Event) -> str:
        """The group of an event, as text for people; empty without group_by."""
        return ", ".join(f"{name}={_value(event, name)}" for name in self.group_by)


class Config(msgspec.Struct, frozen=True):
    """All rules and targets.

    secret: signs messages to addresses that events name, and to targets without their own.
    """

    rules: tuple[Rule, ...] = ()
    targets: Mapping[str, Target] = {}
    secret: str = ""

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


def definitions_of(config: Config) -> dict[str, str]:
    """What each rule is, shortly; what it remembers counts only as long as that stays."""
    rules = {rule.name: rule for rule in config.rules} | {REQUEST: None}
    return {
        name: blake2b(msgspec.json.encode([STATE_VERSION, rule]), digest_size=8).hexdigest()
        for name, rule in rules.items()
    }
