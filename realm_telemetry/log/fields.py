"""What events can be filtered by: one row each, for everything that reads the log.

From here come the filters and what they match, the SQL, the parameters of the HTTP API and its
OpenAPI document, the options of the commands, the arguments of the clients, the filters of webhook
rules, and the list that the pages have (`make fields` writes it; a test compares). A new filter is
a row in FIELDS.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from realm_telemetry.event import CHANNELS, SEVERITIES
from realm_telemetry.kinds.catalog import KIND_METADATA


class Field(NamedTuple):
    """A field of an event whose values are names: some must fit, others must not (`!name`).

    name: of parameter and option. plural: the attribute of Filters; `not_` before it leaves out.
    column: of the log's table, and the attribute of an Event.
    help: what the names are. metavar: what stands for them in the help of a command.
    alias: another name of the parameter. allowed: the only names there are; empty allows any.
    words: what a shell may complete. read: how a name that was given becomes the stored one.
    absent: the name that stands for "has no value"; empty if there is none.
    sql: the value in SQL where it is not just the column, NULL for no value.
    number: whether names are whole numbers from 0.
    """

    name: str
    plural: str
    column: str
    help: str
    metavar: str = "IDS"
    alias: str = ""
    allowed: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    read: Callable[[str], str] = str
    absent: str = ""
    sql: str = ""
    number: bool = False

    @property
    def not_plural(self) -> str:
        """The attribute of Filters for the names that must not fit."""
        return f"not_{self.plural}"


def _digits(name: str) -> str:
    """`007` is 7."""
    return (name.lstrip("0") or "0") if name.isdigit() else name


FIELDS: Final = (
    Field(
        "channel",
        "channels",
        "channel",
        f"Channels: {', '.join(CHANNELS)}",
        "NAMES",
        alias="channels",
        allowed=CHANNELS,
        words=CHANNELS,
    ),
    Field(
        "kind",
        "kinds",
        "kind",
        "Kinds, such as checkpoint_saved",
        "NAMES",
        words=tuple(KIND_METADATA),
    ),
    Field(
        "severity",
        "severities",
        "severity",
        f"Severities: {', '.join(SEVERITIES)}",
        "NAMES",
        allowed=SEVERITIES,
        words=SEVERITIES,
    ),
    Field("hero", "heroes", "hero_id", "Hero ids"),
    Field("campaign", "campaigns", "campaign_id", "Campaign ids"),
    Field("run", "runs", "run_id", "Run ids"),
    Field(
        "rank",
        "ranks",
        "rank",
        "Ranks of processes in their run, whole numbers from 0",
        "NUMBERS",
        read=_digits,
        sql="CAST(rank AS TEXT)",
        number=True,
    ),
    Field("producer", "producers", "producer", "Producer ids, 16 hex digits each", read=str.lower),
    Field(
        "source",
        "sources",
        "source",
        "Sources as given at emit; none is for events without one",
        "NAMES",
        absent="none",
        # The column cannot be NULL and holds this where no source was given.
        sql="nullif(source, 'event.' || kind)",
    ),
    Field("trace", "traces", "trace_id", "Trace ids, 32 hex digits each", read=str.lower),
)


class Filter(NamedTuple):
    """A filter that is not by a field's names. repeated: it may be given several times."""

    name: str
    metavar: str
    help: str
    repeated: bool = False


OTHER_FILTERS: Final = (
    Filter(
        "since", "TIME", "At or after: ISO 8601, a date, 15m, 24h or 7d ago, seconds since 1970"
    ),
    Filter("until", "TIME", "Before; in the forms of since"),
    Filter("q", "WORDS", 'Words that must all occur; "a phrase" in double quotes'),
    Filter("has", "PATH:VALUE", "A detail that must have this value", repeated=True),
    Filter("not", "PATH:VALUE", "A detail that must not have this value", repeated=True),
)

FILTER_NAMES: Final = (*(field.name for field in FIELDS), *(other.name for other in OTHER_FILTERS))
FILTER_PARAMETERS: Final = (*FILTER_NAMES, "limit", "cursor")
"""The parameters of every query: the filters, the size of a page, and where it begins."""
