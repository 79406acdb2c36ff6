"""The filters as options of all commands that read: a row of `log.fields` is an option."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from click.shell_completion import CompletionItem

from realm_telemetry.cli.times import times, utc_option
from realm_telemetry.log.fields import FIELDS, OTHER_FILTERS

if TYPE_CHECKING:
    from realm_telemetry.log.filters import Filters

TIMES: Final = frozenset({"since", "until"})
"""Filters that are times."""

Function = TypeVar("Function", bound=Callable[..., Any])


def filter_options(function: Function) -> Function:
    """Add every filter as an option; the command gets them as keyword arguments by name.

    The names are those of the HTTP API; names and ids may be comma lists.
    """
    for other in reversed(OTHER_FILTERS):
        function = _option(other.name, other.metavar, other.help, many=other.repeated)(function)
    for field in reversed(FIELDS):
        function = _option(field.name, field.metavar, field.help, field.words)(function)
    return utc_option(function)


def _option(
    name: str, metavar: str, text: str, words: tuple[str, ...] = (), *, many: bool = True
) -> Callable[[Function], Function]:
    return click.option(
        f"--{name}",
        name,
        multiple=many,
        metavar=metavar,
        help=f"{text}.",
        shell_complete=_completer(words),
    )


def to_filters(values: Mapping[str, Any], **fields: Any) -> "Filters":
    """Return the filters that were given as options.

    fields: further fields of Filters. Raises InvalidFilterError.
    """
    import msgspec

    from realm_telemetry.log.filters import parse_filters

    params = {name: value for name, value in values.items() if value}
    for name in TIMES & params.keys():
        params[name] = times().with_zone(params[name])
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
