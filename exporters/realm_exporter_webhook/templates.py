"""Messages as Discord, Slack or a program of yours wants them, within their limits."""

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from realm_exporter_webhook.engine import Firing
from realm_exporter_webhook.rules import REQUEST
from realm_telemetry.event import Event
from realm_telemetry.kinds.catalog import CHANNEL_ICONS, SEVERITY_ICONS, event_to_dict

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

_COLOURS: Final = {"info": 0x5B8DEF, "success": 0x3BA55D, "warning": 0xF0B232, "error": 0xED4245}
_RANK: Final = ("info", "success", "warning", "error")
_SHOWN_DETAILS: Final = 6
_DETAIL: Final = 200
_LINE: Final = 300
_MORE: Final = "…"

_encode: Final = msgspec.json.Encoder().encode


def render(template: str, firing: Firing, message_id: str) -> bytes:
    """Return the body of a message.

    template: one of `rules.TEMPLATES`. message_id: part of plain JSON.
    """
    return _encode(_RENDERERS[template](firing, message_id))


def title(firing: Firing) -> str:
    """The first line of a message, which says what it is about."""
    event = firing.events[-1]
    icon = SEVERITY_ICONS.get(_worst(firing), "")
    if firing.late:
        return f"{icon} {firing.rule}: {_events(firing.count)} that came late"
    if firing.count > 1:
        return f"{icon} {firing.rule}: {_events(firing.count)}, last {event.kind}"
    about = event.kind if firing.rule == REQUEST else f"{firing.rule}: {event.kind}"
    return f"{icon} {about}"


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
        "events": [event_to_dict(event) for event in firing.events],
    }


def _discord(firing: Firing, message_id: str) -> dict[str, Any]:
    embed = {
        "title": cut(title(firing), DISCORD_TITLE),
        "description": cut("\n".join(map(_discord_text, _lines(firing))), DISCORD_DESCRIPTION),
        "color": _COLOURS[_worst(firing)],
        "fields": [
            {
                "name": cut(name, DISCORD_FIELD_NAME),
                "value": cut(value, DISCORD_FIELD_VALUE),
                "inline": True,
            }
            for name, value in _facts(firing)[:DISCORD_FIELDS]
        ],
        "footer": {"text": cut(_footer(firing), DISCORD_FOOTER)},
        "timestamp": firing.events[-1].timestamp,
    }
    # Names in a message must not call people: @everyone in an error text is only text.
    return {"embeds": [_within(embed)], "allowed_mentions": {"parse": []}}


def _within(embed: dict[str, Any]) -> dict[str, Any]:
    """Cut the description so that the embed as a whole is within its limit."""
    others = len(embed["title"]) + len(embed["footer"]["text"])
    others += sum(len(field["name"]) + len(field["value"]) for field in embed["fields"])
    return embed | {"description": cut(embed["description"], DISCORD_ALL_EMBEDS - others)}


def _slack(firing: Firing, message_id: str) -> dict[str, Any]:
    blocks = [
        # A header is plain text, where nothing needs to be escaped.
        {
            "type": "header",
            "text": {"type": "plain_text", "text": cut(title(firing), SLACK_HEADER)},
        },
        _section("\n".join(_slack_text(line) for line in _lines(firing))),
    ]
    facts = "\n".join(
        f"*{_slack_text(name)}*: {_slack_text(value)}" for name, value in _facts(firing)
    )
    if facts:
        blocks.append(_section(facts))
    context = {"type": "mrkdwn", "text": cut(_slack_text(_footer(firing)), SLACK_SECTION)}
    blocks.append({"type": "context", "elements": [context]})
    # Shown in notifications, where blocks are not.
    return {"text": cut(_slack_text(title(firing)), SLACK_TEXT), "blocks": blocks}


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": cut(text, SLACK_SECTION) or "-"}}


_RENDERERS: Final[dict[str, Callable[[Firing, str], dict[str, Any]]]] = {
    "json": _json,
    "discord": _discord,
    "slack": _slack,
}


def _lines(firing: Firing) -> list[str]:
    """A line for each event that is shown, and one for those that are not."""
    single = firing.count == 1
    lines = [event.message if single else cut(_line(event), _LINE) for event in firing.events]
    hidden = firing.count - len(firing.events)
    return [f"{_events(hidden)} before these", *lines] if hidden > 0 else lines


def _line(event: Event) -> str:
    icon = CHANNEL_ICONS.get(event.channel, "")
    return f"{icon} {event.timestamp[11:19]} {event.kind}: {event.message}"


def _facts(firing: Firing) -> list[tuple[str, str]]:
    """Names and values beside the text: group, who, and of a single event the first details."""
    event = firing.events[-1]
    facts = [("group", firing.group)] if firing.group else []
    if firing.count == 1:
        who = {"hero": event.hero_id, "campaign": event.campaign_id, "run": event.run_id}
        facts += [(label, name) for label, name in who.items() if name]
        details = list(event.details.items())[:_SHOWN_DETAILS]
        facts += [(key or "-", _value(value)) for key, value in details]
    return [(cut(name, _DETAIL), cut(value, _DETAIL)) for name, value in facts if value]


def _value(value: Any) -> str:
    return value if isinstance(value, str) else _encode(value).decode()


def _footer(firing: Firing) -> str:
    parts = ["realm_telemetry", firing.rule]
    if firing.held:
        parts.append(f"{_events(firing.held)} held back before by the cooldown")
    return " · ".join(parts)


def _worst(firing: Firing) -> str:
    found = {event.severity for event in firing.events}
    return max(found & set(_RANK), key=_RANK.index, default="info")


def _events(count: int) -> str:
    return f"{count:,} event{'' if count == 1 else 's'}"


def _slack_text(text: str) -> str:
    """Escape what Slack reads as markup (docs.slack.dev/messaging/formatting-message-text)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _discord_text(text: str) -> str:
    """Escape what Discord reads as markup."""
    return "".join(_escaped(text))


def _escaped(text: str) -> Iterable[str]:
    for character in text:
        yield f"\\{character}" if character in "\\*_~`|>#[]" else character


def cut(text: str, most: int) -> str:
    """Shorten a text to so many UTF-16 units, as both services count, and show that it was."""
    if _units(text) <= most:
        return text
    if most < 1:
        return ""
    kept = text.encode("utf-16-le", "surrogatepass")[: 2 * (most - 1)].decode("utf-16-le", "ignore")
    # Half an escape would swallow the mark, half an entity would be shown.
    head, ampersand, tail = kept.rpartition("&")
    if ampersand and len(tail) < 5 and ";" not in tail:
        kept = head
    return kept.rstrip("\\") + _MORE


def _units(text: str) -> int:
    return len(text) + sum(character > "\uffff" for character in text)
