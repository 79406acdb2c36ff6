"""The names of DESIGN's table: how an event's fields are called in a log record."""

from typing import Final

EVENT_NAME_PREFIX: Final = "realm."
EVENT_NAME: Final = "event.name"
"""What records without a field for the event's name have instead; ours may have both."""

DETAIL_PREFIX: Final = "realm.details."

UID: Final = "log.record.uid"
KIND: Final = "realm.kind"
CHANNEL: Final = "realm.channel"
SEVERITY: Final = "realm.severity"
HERO: Final = "realm.hero.id"
CAMPAIGN: Final = "realm.campaign.id"
RUN: Final = "realm.run.id"
SOURCE: Final = "realm.source"
RANK: Final = "realm.rank"
FIELD_ATTRIBUTES: Final = frozenset(
    {UID, KIND, CHANNEL, SEVERITY, HERO, CAMPAIGN, RUN, SOURCE, RANK}
)

PRODUCER_ID: Final = "realm.producer.id"
"""Resource attribute."""

WEBHOOKS_KEY: Final = "realm-webhooks"
"""Key in a record's context. Webhook addresses are secrets: attributes would be exported."""

SEVERITY_NUMBERS: Final = {"info": 9, "success": 10, "warning": 13, "error": 17}
SEVERITY_TEXTS: Final = {"info": "INFO", "success": "SUCCESS", "warning": "WARN", "error": "ERROR"}
