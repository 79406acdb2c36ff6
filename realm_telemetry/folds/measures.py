"""Which numbers among the details of events measure something, and under which names."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from realm_telemetry.folds.state.values import number
from realm_telemetry.kinds.table import KIND_METADATA
from realm_telemetry.values.conversions import NOT_FINITE
from realm_telemetry.values.paths import MAX_PATH_CHARS

SAMPLED: Final = "resource_sampled"
MAX_DEPTH: Final = 3
"""Objects inside each other that are looked into."""

_STEP: Final = "training_step"
_BUILT_IN: Final = frozenset(
    (_STEP, "lr_changed", "evaluation_finished", "eval_completed", "checkpoint_saved", SAMPLED)
)
"""Built-in kinds that measure; the others say what happened."""

_NOT_DRAWN: Final = frozenset((*(KIND_METADATA.keys() - _BUILT_IN), "log_record", "exception"))

_NO_MEASURES: Final = frozenset(
    ("step", "total_steps", "rank", "local_rank", "world_size", "pid", "epoch")
)
"""What counts, and does not measure."""

_INNER: Final = ("otel.", "code.", "process.", "thread.", "exception.", "http.", "telemetry.")
"""How attributes begin with which other software describes a record, and measures nothing."""


def is_measured(kind: str) -> bool:
    """Whether the numbers of a kind are drawn."""
    return kind not in _NOT_DRAWN


def may_measure(key: str) -> bool:
    """Whether a detail of this name, at the top, may measure something."""
    return key not in _NO_MEASURES and not key.startswith(_INNER)


def _of_evaluation(name: str) -> str:
    return name if name.startswith("eval") else f"eval/{name}"


def _of_rate(name: str) -> str:
    return name if name == "learning_rate" else ""


_NAMES: Final[Mapping[str, Callable[[str], str]]] = {
    _STEP: str,
    "lr_changed": _of_rate,
    "evaluation_finished": _of_evaluation,
}
"""How a kind's numbers are named; those of other kinds have the kind before them."""


def named_by(kind: str) -> Callable[[str], str]:
    """Return what makes the name of a kind's number; an empty name means none."""
    return _NAMES.get(kind) or f"{kind}/".__add__


def measured(kind: str, details: Mapping[str, Any]) -> Iterator[tuple[str, float | str | None]]:
    """Yield the numbers of one event by name; those too large to be kept are None.

    What is not finite is a word, as in the event.
    """
    yield from _of_object(details, named_by(kind), "", 1)


def _of_object(
    found: Mapping[str, Any], named: Callable[[str], str], before: str, depth: int
) -> Iterator[tuple[str, float | str | None]]:
    for key, value in found.items():
        if not before and not may_measure(key):
            continue
        kind = type(value)
        if kind is dict and depth < MAX_DEPTH:
            yield from _of_object(value, named, f"{before}{key}.", depth + 1)
        elif kind is float or kind is int or (kind is str and value in NOT_FINITE):
            name = named(before + key)
            if name and len(name) <= MAX_PATH_CHARS:
                yield name, value if kind is str else number(value)
