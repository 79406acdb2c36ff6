"""The names in a PromQL expression, by a parser of the language."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import promql_parser

VARIABLES = {"$__rate_interval": "5m", "$__range": "1h", "$__interval": "1m"}


class Names(NamedTuple):
    """What an expression names.

    selectors: of each, the metric and its matchers as (label, value). labels: in `by` and `on`.
    """

    selectors: list[tuple[str | None, list[tuple[str, str]]]]
    labels: set[str]


def names_in(expression: str) -> Names:
    """The names of an expression. Raises ValueError if it is no PromQL."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    parts = list(_walk(promql_parser.parse(expression)))
    selectors = [
        (part.name, [(each.name, each.value) for each in part.matchers.matchers])
        for part in parts
        if isinstance(part, promql_parser.VectorSelector)
    ]
    return Names(selectors, {label for part in parts for label in _labels(part)})


def legend_labels(text: str) -> set[str]:
    """The labels in a legend: `{{realm_run_id}} p95`."""
    return set(re.findall(r"\{\{\s*(\w+)\s*\}\}", text))


def _walk(part: Any) -> Iterator[Any]:
    yield part
    for name in ("lhs", "rhs", "expr", "vector_selector"):
        below = getattr(part, name, None)
        if below is not None:
            yield from _walk(below)
    for below in getattr(part, "args", []) or []:
        yield from _walk(below)


def _labels(part: Any) -> list[str]:
    modifier = getattr(part, "modifier", None)
    if modifier is None:
        return []
    if isinstance(part, promql_parser.AggregateExpr):
        return list(modifier.labels)
    matching = modifier.matching
    return list(matching.labels) if matching else []
