"""Messages as Discord, Slack, ntfy or a program of yours wants them, within their limits.

No text of an event is markup in them, and none is invisible. Each service has one function that
makes text of an event its own: `discord_text` and, where text cannot be plain, `slack_text`. Plain
JSON has the events as they are: what shows them has to escape them.
"""

import re
import shlex
from collections.abc import Callable
from math import isfinite
from typing import Any, Final

import msgspec

from realm_exporter_webhook.engine import Firing
from realm_exporter_webhook.notify import Notice
from realm_exporter_webhook.rules import BUILT_IN, REQUEST
from realm_exporter_webhook.run_facts import OPEN, RunFacts
from realm_telemetry.event import Event
from realm_telemetry.kinds.catalog import CHANNEL_ICONS, SEVERITY_ICONS, event_to_dict
from realm_telemetry.kinds.line import printable

# https://docs.discord.com/developers/resources/message#embed-object-embed-limits
DISCORD_CONTENT: Final = 2000
DISCORD_TITLE: Final = 256
DISCORD_DESCRIPTION: Final = 4096
DISCORD_FIELDS: Final = 25
DISCORD_FIELD_NAME: Final = 256
DISCORD_FIELD_VALUE: Final = 1024
DISCORD_FOOTER: Final = 2048
DISCORD_EMBEDS: Final = 10
DISCORD_ALL_EMBEDS: Final = 6000
# https://docs.slack.dev/reference/block-kit/blocks, and what chat.postMessage says of `text`
SLACK_HEADER: Final = 150
SLACK_SECTION: Final = 3000
SLACK_BLOCKS: Final = 50
SLACK_TEXT: Final = 4000
# Not in Slack's reference: about 13,200 characters over all blocks are refused with
# msg_blocks_too_long (slackapi/bolt-js issue 2509).
SLACK_ALL_BLOCKS: Final = 10_000
# https://docs.ntfy.sh/publish/#limitations: a longer one becomes a file. Bytes of UTF-8.
NTFY_MESSAGE_BYTES: Final = 4096
NTFY_TITLE: Final = 250

_COLOURS: Final = {"info": 0x5B8DEF, "success": 0x3BA55D, "warning": 0xF0B232, "error": 0xED4245}
_RANK: Final = ("info", "success", "warning", "error")
# https://docs.ntfy.sh/publish/#message-priority, and #tags-emojis
_PRIORITIES: Final = {"info": 3, "success": 3, "warning": 4, "error": 5}
_TAGS: Final = {
    "info": "information_source",
    "success": "white_check_mark",
    "warning": "warning",
    "error": "rotating_light",
}
_SHOWN_DETAILS: Final = 6
_DETAILS_OF_RUN: Final = 3
_SAID: Final = frozenset(
    {
        *("status", "reason", "evidence", "output_tail", "traceback", "stack"),
        *("step", "last_step", "total_steps", "loss", "run_id", "field", "value"),
        *("silent_s", "threshold_s", "median_step_s", "open_lifecycles"),
        *("service", "pid", "last_kind", "last_message", "last_time_unix_nano"),
        *("boot_id", "processes"),
    }
)
"""Details that a message about a run says in other words."""
# Ten facts, escaped, leave room for the text within the limit of a whole embed.
_FACT_NAME: Final = 128
_FACT_VALUE: Final = 256
_LINE: Final = 300
_MORE: Final = "…"
_NOTHING: Final = "–"

_encode: Final = msgspec.json.Encoder().encode


def render(template: str, firing: Firing, message_id: str, topic: str = "") -> bytes:
    """Return the body of a message.

    template: one of `rules.TEMPLATES`. message_id: part of plain JSON. topic: of ntfy.
    """
    if template == "apprise":
        return _encode(_notice(firing))
    if template == "ntfy":
        return _encode({"topic": topic, **_ntfy(firing)})
    return _encode(_RENDERERS[template](firing, message_id))


def title(firing: Firing) -> str:
    """The first line of a message, which says what it is about."""
    return f"{SEVERITY_ICONS.get(_worst(firing), '')} {_headline(firing)}"


def _headline(firing: Firing) -> str:
    run = "" if firing.run is None else f" · {_one_line(firing.run.run_id)}"
    if firing.rule in BUILT_IN and firing.count == 1 and not firing.late:
        return f"{_in_words(firing)}{run}"
    what = _subject(firing)
    if firing.late and firing.of_status and run:
        return f"{firing.rule}: {what}{run}, late"
    if firing.late:
        return f"{firing.rule}: {_events(firing.count)} that came late{run}"
    if firing.count > 1:
        return f"{firing.rule}: {_events(firing.count)}, last {what}{run}"
    return f"{what}{run}" if firing.rule == REQUEST else f"{firing.rule}: {what}{run}"


def _in_words(firing: Firing) -> str:
    """What a built-in rule has found, for a phone's screen: it has room for this line alone."""
    run = firing.run
    if firing.of_status and run is not None and run.status:
        why = f": {run.reason}" if run.reason else ""
        return _one_line(f"Run {_status(firing, run)}{why}")
    return _one_line(firing.events[-1].message)


def _status(firing: Firing, run: RunFacts) -> str:
    """What the rule has seen the run become, and what it is by now, if it is something else."""
    now = run.status.replace("_", " ")
    then = firing.became.replace("_", " ")
    return now if then in ("", now) else f"{then}, now {now}"


def _subject(firing: Firing) -> str:
    """What stayed away, the status of a run, or the kind of an event."""
    kind = firing.events[-1].kind
    if firing.about:
        return _one_line(firing.about)
    if firing.of_status and firing.run is not None and firing.run.status:
        return _one_line(_status(firing, firing.run))
    return _one_line(kind)


def _json(firing: Firing, message_id: str) -> dict[str, Any]:
    """Everything, for a program."""
    return {
        "type": "realm.digest" if firing.late else "realm.events",
        "id": message_id,
        "rule": firing.rule,
        "group": firing.group,
        "title": title(firing),
        "late": firing.late,
        "count": firing.count,
        "held_back": firing.held,
        "about": firing.about,
        "run": msgspec.to_builtins(firing.run),
        "events": [event_to_dict(event) for event in firing.events],
    }


def _discord(firing: Firing, message_id: str) -> dict[str, Any]:
    embed = {
        "title": cut(discord_text(title(firing)), DISCORD_TITLE),
        "description": cut("\n".join(map(discord_text, _lines(firing))), DISCORD_DESCRIPTION),
        "color": _COLOURS[_worst(firing)],
        "fields": [
            {
                "name": cut(discord_text(name), _FACT_NAME),
                "value": cut(discord_text(value), _FACT_VALUE),
                "inline": True,
            }
            for name, value in _facts(firing)[:DISCORD_FIELDS]
        ],
        # Not rendered as markdown, and without text of events.
        "footer": {"text": cut(_footer(firing), DISCORD_FOOTER)},
        "timestamp": firing.events[-1].timestamp,
    }
    if firing.run is not None and firing.run.link:
        embed["url"] = firing.run.link
    # Names in a message must not call people: @everyone in an error text is only text.
    return {"embeds": [_within(embed)], "allowed_mentions": {"parse": []}}


def _within(embed: dict[str, Any]) -> dict[str, Any]:
    """Cut the description so that the embed as a whole is within its limit."""
    others = [embed["title"], embed["footer"]["text"]]
    others += [field[part] for field in embed["fields"] for part in ("name", "value")]
    left = DISCORD_ALL_EMBEDS - sum(map(_units, others))
    text = embed["description"] if embed["description"].strip() else _NOTHING
    return embed | {"description": cut(text, left)}


def _slack(firing: Firing, message_id: str) -> dict[str, Any]:
    # All of it plain text, where nothing is markup and nothing needs to be escaped.
    blocks = [
        {"type": "header", "text": _plain(title(firing), SLACK_HEADER)},
        _section("\n".join(_lines(firing))),
    ]
    facts = "\n".join(f"{name}: {_one_line(value)}" for name, value in _facts(firing))
    if facts:
        blocks.append(_section(facts))
    if firing.run is not None and firing.run.link:
        # The one place with markup: an address of ours, in which all of the run's id is escaped.
        link = {"type": "mrkdwn", "text": f"<{firing.run.link}|Open the run>"}
        blocks.append({"type": "section", "text": link})
    blocks.append({"type": "context", "elements": [_plain(_footer(firing), SLACK_SECTION)]})
    return {
        # Shown in notifications, where blocks are not.
        "text": cut(slack_text(title(firing)), SLACK_TEXT),
        "mrkdwn": False,
        # Nor does Slack fetch what an event names.
        "unfurl_links": False,
        "unfurl_media": False,
        "blocks": blocks,
    }


def _ntfy(firing: Firing) -> dict[str, Any]:
    # Plain text: markdown is only read where a message asks for it.
    text = _whole_text(firing)
    severity = _worst(firing)
    found = {
        "title": cut(_headline(firing), NTFY_TITLE),
        "message": _cut_bytes(text, NTFY_MESSAGE_BYTES).strip() or _NOTHING,
        "priority": _PRIORITIES[severity],
        "tags": [_TAGS[severity], firing.rule],
    }
    if firing.run is not None and firing.run.link:
        found["click"] = firing.run.link
    return found


def _notice(firing: Firing) -> Notice:
    text = _whole_text(firing)
    if firing.run is not None and firing.run.link:
        text = f"{text}\n\n{firing.run.link}"
    severity = _worst(firing)
    return Notice(title(firing), text, "failure" if severity == "error" else severity)


def _whole_text(firing: Firing) -> str:
    """What happened, the facts, and further lines, for services without fields."""
    facts = [f"{name}: {_one_line(value)}" for name, value in _facts(firing)]
    first, *lines = _lines(firing)
    return "\n".join([first, *facts, *lines])


def _cut_bytes(text: str, most: int) -> str:
    """Shorten a text to so many bytes of UTF-8, and show that it was."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= most:
        return encoded.decode()
    return encoded[: most - len(_MORE.encode())].decode("utf-8", "ignore") + _MORE


def _plain(text: str, most: int) -> dict[str, Any]:
    # `emoji`: whether :names: become pictures.
    return {"type": "plain_text", "text": cut(text, most).strip() or _NOTHING, "emoji": False}


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _plain(text, SLACK_SECTION)}


_RENDERERS: Final[dict[str, Callable[[Firing, str], dict[str, Any]]]] = {
    "json": _json,
    "discord": _discord,
    "slack": _slack,
}


def _lines(firing: Firing) -> list[str]:
    """A text for each event that is shown, one for those that are not, and the run's last lines."""
    tail = [] if firing.run is None else [cut(_one_line(each), _LINE) for each in firing.run.lines]
    tail = ["Last lines:", *tail] if tail else []
    if firing.about:
        return [_one_line(firing.about), *tail]
    if firing.count == 1:
        return [*(_message(firing, event) for event in firing.events), *tail]
    lines = [cut(_line(event), _LINE) for event in firing.events]
    hidden = firing.count - len(firing.events)
    before = [f"{_events(hidden)} before these"] if hidden > 0 else []
    return [*before, *lines, *tail]


def _message(firing: Firing, event: Event) -> str:
    """The event's own, but of a lost process what became of the run: the title is not the whole."""
    run = firing.run
    if event.kind != "process_lost" or run is None or not run.status:
        return printable(event.message, lines=True)
    step = "" if run.step is None else f"step {run.step:,}"
    known = ", ".join(part for part in (run.reason, step) if part)
    return _one_line(f"Run {_status(firing, run)}{f' ({known})' if known else ''}")


def _line(event: Event) -> str:
    icon = CHANNEL_ICONS.get(event.channel, "")
    return _one_line(f"{icon} {event.timestamp[11:19]} {event.kind}: {event.message}")


def _facts(firing: Firing) -> list[tuple[str, str]]:
    """Names and values beside the text: group, who, and of a single event the first details."""
    event = firing.events[-1]
    run = firing.run
    is_run = run is not None and firing.group in (run.run_id, f"run={run.run_id}")
    # Of no run at all, where each run is a group of its own.
    is_said = is_run or firing.group in ("", "run=-")
    facts = [] if is_said else [("group", firing.group)]
    if run is not None:
        facts += _facts_of_run(run)
    if firing.count == 1:
        who = {"hero": event.hero_id, "campaign": event.campaign_id}
        who |= {} if run is not None else {"run": event.run_id}
        facts += [(label, name) for label, name in who.items() if name]
        said = _SAID if run is not None or firing.rule in BUILT_IN else frozenset()
        most = _SHOWN_DETAILS if run is None else _DETAILS_OF_RUN
        details = [item for item in event.details.items() if item[0] not in said]
        facts += [] if firing.about else [_detail(*item) for item in details[:most]]
        facts += [("go on", "realm hosts")] if event.kind == "host_lost" else []
    return [
        (
            cut(_one_line(name), _FACT_NAME).strip() or _NOTHING,
            cut(printable(value, lines=True), _FACT_VALUE).strip(),
        )
        for name, value in facts
        if value.strip()
    ]


def _facts_of_run(run: RunFacts) -> list[tuple[str, str]]:
    total = "" if run.total_steps is None else f" of {run.total_steps:,}"
    why = ": ".join(part for part in (run.status, run.reason) if part)
    facts = {
        "run": run.run_id,
        # A run that goes on has no end that were to be explained.
        "why" if run.reason or run.status not in OPEN else "status": why,
        "rank": None if run.rank is None else str(run.rank),
        "step": None if run.step is None else f"{run.step:,}{total}",
        "last loss": _loss_text(run),
        "last good checkpoint": _checkpoint_text(run)
        or (None if run.step is None else "none known"),
    }
    facts["go on"] = _way_on(run)
    return [(name, value) for name, value in facts.items() if value]


def _loss_text(run: RunFacts) -> str | None:
    """The last loss; of one that is not finite the best before it, too."""
    if run.loss is None:
        return None
    if isinstance(run.loss, int | float) and isfinite(run.loss):
        return f"{run.loss:.6g}"
    best = "" if run.best_loss is None else f" (the best was {run.best_loss:.6g})"
    return f"{run.loss}{best}"


def _way_on(run: RunFacts) -> str | None:
    """The command that goes on with a run, whole or not at all; else the one that shows more."""
    if run.status == "completed":
        return None
    if run.resume is not None and len(_one_line(run.resume)) <= _FACT_VALUE:
        return run.resume
    return f"realm show {shlex.quote(run.run_id)}"


def _detail(name: str, value: Any) -> tuple[str, str]:
    """A detail's name and value; seconds, bytes and lists of names as people read them."""
    if type(value) in (int, float) and 0 <= value < 1e21:
        if name.endswith("_s"):
            return name.removesuffix("_s").replace("_", " "), _duration(value)
        if name.endswith("_bytes"):
            return name.removesuffix("_bytes").replace("_", " "), _size(value)
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        return name, ", ".join(value)
    return name, _value(value)


def _size(count: float) -> str:
    """A number of bytes for people: 512 B, 1.23 GB."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 999.5 or unit == "TB":
            break
        count /= 1000
    return f"{count:,.3g} {unit}" if count < 1e5 else f"{count:,.0f} {unit}"


def _duration(seconds: float) -> str:
    """A duration for people: 1.3 s, 12 min, 3 h 5 min."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes, hours = round(seconds / 60), round(seconds / 60) // 60
    return f"{minutes} min" if hours < 2 else f"{hours:,} h {minutes % 60} min"


def _checkpoint_text(run: RunFacts) -> str | None:
    found = run.checkpoint
    if found is None:
        return None
    step = "" if found.step is None else f"step {found.step:,}"
    at = "" if found.saved_at is None else f"saved {found.saved_at[:19]}Z"
    return ", ".join(part for part in (step, found.path, at) if part)


def _one_line(text: str) -> str:
    """Text in which nothing begins a line: another one could be made up that way."""
    return printable(" ".join(printable(text, lines=True).split("\n")))


def _value(value: Any) -> str:
    return value if isinstance(value, str) else _encode(value).decode()


def _footer(firing: Firing) -> str:
    parts = ["realm_telemetry", firing.rule]
    if firing.held:
        parts.append(f"{_events(firing.held)} held back before by the cooldown")
    return " · ".join(parts)


def _worst(firing: Firing) -> str:
    if firing.about:
        return "warning"
    found = {event.severity for event in firing.events}
    return max(found & set(_RANK), key=_RANK.index, default="info")


def _events(count: int) -> str:
    return f"{count:,} event{'' if count == 1 else 's'}"


_SLACK_MARKUP: Final = {
    **{character: f"\u200b{character}\u200b" for character in "*_~`:"},
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
}


def slack_text(text: str) -> str:
    """Return text as Slack shows it where it reads markup, in notifications.

    & < > are escaped (docs.slack.dev/messaging/formatting-message-text). For the others Slack has
    no escape: between two zero-width blanks they begin and end nothing.
    """
    return "".join(_SLACK_MARKUP.get(character, character) for character in text)


# Of Discord's markdown and of CommonMark, which is a little wider: every character that is markup
# anywhere; a colon that begins an emoji's name; what is markup at the beginning of a line.
_DISCORD_MARKUP: Final = re.compile(
    r"(?P<url>\bhttps?)(?=://[^\s\\*_~`|>#\[\]<@]*[\\*_~`|>#\[\]<@])"
    r"|(?P<number>^[ ]*\d{1,9})(?=[.)](?:\s|$))"
    r"|(?P<indent>^[ ]*)(?=[-+](?:\s|$)|[-=:][-=: ]*$)"
    r"|[\\*_~`|>#\[\]<@]|:(?=[\w+~-]+:)",
    re.M | re.A | re.I,
)


def discord_text(text: str) -> str:
    """Return text that Discord shows as it is, no more than one more than it takes anywhere.

    An address with a character that is escaped is no link either, or the backslash would be seen.
    """
    # Cut before it is looked at, because each address in it is read to its end.
    return _DISCORD_MARKUP.sub(_discord_escape, text[: DISCORD_DESCRIPTION + 1])


def _discord_escape(found: re.Match[str]) -> str:
    # After a name, a number or blanks the character to be escaped is the next one.
    return f"{found.group()}\\" if found.lastgroup else f"\\{found.group()}"


# What stands for one character: an entity, an escape, or an escaped escape of an invisible one.
_UNIT: Final = re.compile(
    r"&(?:amp|lt|gt);|\u200b[*_~`:]\u200b"
    r"|\\{1,2}(?:x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})|\\.|.",
    re.S,
)


def cut(text: str, most: int) -> str:
    """Shorten a text to so many UTF-16 units, as both services count, and show that it was.

    Neither a character nor an escape is cut in half.
    """
    if _units(text) <= most:
        return text
    if most < 1:
        return ""
    kept, left = [], most - len(_MORE)
    for found in _UNIT.finditer(text):
        left -= _units(found.group())
        if left < 0:
            break
        kept.append(found.group())
    return "".join(kept) + _MORE


def _units(text: str) -> int:
    return len(text) + sum(character > "\uffff" for character in text)
