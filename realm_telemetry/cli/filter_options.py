"""The common filters as options, one table for all commands that read."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import click
from click.shell_completion import CompletionItem

from realm_telemetry.event import CHANNELS, SEVERITIES
from realm_telemetry.kinds.catalog import KIND_METADATA

if TYPE_CHECKING:
    from realm_telemetry.log.filters import Filters

Function = TypeVar("Function", bound=Callable[..., Any])


class FilterOption(NamedTuple):
    """One filter.

    words: what a shell may complete. many: whether it may be given several times.
    """

    name: str
    metavar: str
    help: str
    words: tuple[str, ...] = ()
    many: bool = True


FILTER_OPTIONS: Final = (
    FilterOption("channel", "NAMES", f"Channels: {', '.join(CHANNELS)}.", CHANNELS),
    FilterOption("kind", "NAMES", "Kinds, such as checkpoint_saved.", tuple(KIND_METADATA)),
    FilterOption("severity", "NAMES", f"Severities: {', '.join(SEVERITIES)}.", SEVERITIES),
    FilterOption("hero", "IDS", "Hero ids."),
    FilterOption("campaign", "IDS", "Campaign ids."),
    FilterOption("run", "IDS", "Run ids."),
    FilterOption("producer", "IDS", "Producer ids, 16 hex digits each."),
    FilterOption(
        "since", "TIME", "At or after: 15m, 24h, 7d ago, a date, ISO 8601, seconds.", (), False
    ),
    FilterOption("until", "TIME", "Before; in the same forms.", (), False),
    FilterOption("q", "WORDS", 'Words that must all occur; "a phrase" in quotes.', (), False),
    FilterOption("has", "PATH:VALUE", "A detail that must have this value."),
    FilterOption("not", "PATH:VALUE", "A detail that must not have this value."),
)
"""The names are those of the HTTP API; names and ids may be comma lists."""


def filter_options(function: Function) -> Function:
    """Add every filter as an option; the command gets them as keyword arguments by name."""
    for option in reversed(FILTER_OPTIONS):
        function = click.option(
            f"--{option.name}",
            option.name,
            multiple=option.many,
            metavar=option.metavar,
            help=option.help,
            shell_complete=_completer(option.words),
        )(function)
    return function


def to_filters(values: Mapping[str, Any], **fields: Any) -> "Filters":
    """Return the filters that were given as options.

    fields: further fields of Filters. Raises InvalidFilterError.
    """
    import msgspec

    from realm_telemetry.log.filters import parse_filters

    params = {name: value for name, value in values.items() if value}
    return msgspec.structs.replace(parse_filters(params), **fields)


def _completer(
    words: tuple[str, ...],
) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    def complete(
        ctx: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        before, comma, word = incomplete.rpartition(",")
        return [
            CompletionItem(f"{before}{comma}{known}") for known in words if known.startswith(word)
        ]

    return complete
