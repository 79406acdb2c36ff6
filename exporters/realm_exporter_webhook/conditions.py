"""Comparisons over details: `where = "loss > 5"`."""

import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from realm_telemetry.values.paths import InvalidPathError, find, read_path

OPERATORS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
ALLOWED: Final = (
    f"Write a detail, one of {' '.join(OPERATORS)}, and a number, or after == and != text in"
    ' quotes; join several with `and`: loss > 5 and phase == "train".'
)

MAX_COMPARISONS: Final = 64

_PART: Final = re.compile(
    r"""(?P<path>"(?:[^"\\]|\\.)*"|[^<>=!"]+?)\s*"""
    r"""(?P<operator>>=|<=|==|!=|>|<)\s*(?P<value>[^<>=!].*)""",
    re.S,
)
_SHOWN: Final = 80
_OTHER_GRAMMAR: Final = re.compile(r"^details\.|[\s()&|,]")
"""What no bare name has, but conditions of other languages, which would never fire here."""

_AND: Final = re.compile(r"""\s+and\s+(?=(?:[^"']|"[^"]*"|'[^']*')*$)""")
_TEXT: Final = re.compile(r"""(["'])(?P<text>.*)\1""", re.S)
_INFINITE: Final = {"Infinity": math.inf, "-Infinity": -math.inf}


class Comparison(msgspec.Struct, frozen=True):
    """One comparison. operator: of OPERATORS."""

    path: str
    operator: str
    value: float | str

    def holds(self, details: Mapping[str, Any]) -> bool:
        """Whether the details fit; without such a detail, or with another type, they do not.

        A value that was infinite is text in details, and compares as the number that it was.
        """
        found = find(details, self.path)
        if isinstance(self.value, str):
            return isinstance(found, str) and OPERATORS[self.operator](found, self.value)
        if isinstance(found, str):
            found = _INFINITE.get(found)
        if isinstance(found, bool) or not isinstance(found, int | float):
            return False
        return OPERATORS[self.operator](found, self.value)


def read_condition(text: str) -> tuple[Comparison, ...]:
    """Read comparisons with `and` between. Raises ValueError that says what is wrong."""
    return tuple(_read(part.strip()) for part in _AND.split(text.strip()))


def refuse_impossible(comparisons: Sequence[Comparison]) -> None:
    """Raise ValueError where no event can fit all of them, or where there are too many."""
    if len(comparisons) > MAX_COMPARISONS:
        raise ValueError(f"{len(comparisons):,} comparisons are more than {MAX_COMPARISONS}")
    for path in dict.fromkeys(each.path for each in comparisons):
        of_path = [each for each in comparisons if each.path == path]
        if not any(_fits(value, of_path) for value in _candidates(of_path)):
            parts = [f"{each.path} {each.operator} {each.value!r}" for each in of_path]
            raise ValueError(f"{' and '.join(parts)[:_SHOWN]!r} holds for no value")


def _fits(value: float | str, comparisons: Sequence[Comparison]) -> bool:
    # A number and a text never compare; see Comparison.holds.
    return all(
        isinstance(each.value, str) == isinstance(value, str)
        and OPERATORS[each.operator](value, each.value)
        for each in comparisons
    )


def _candidates(comparisons: Sequence[Comparison]) -> Iterator[float | str]:
    """Yield values of which one fits if any does: those compared with, and some beside them."""
    texts = [each.value for each in comparisons if isinstance(each.value, str)]
    yield from texts
    yield "".join(texts) + "x"
    for each in comparisons:
        if isinstance(each.value, float):
            yield each.value
            yield math.nextafter(each.value, math.inf)
            yield math.nextafter(each.value, -math.inf)


def _read(text: str) -> Comparison:
    part = _PART.fullmatch(text)
    shown = f"{text[:_SHOWN]}…" if len(text) > _SHOWN else text
    if part is None:
        raise ValueError(f"{shown!r} is no comparison")
    bare = "" if part["path"].startswith('"') else part["path"]
    if found := _OTHER_GRAMMAR.search(bare):
        raise ValueError(
            f"{shown!r}: {part['path'][:_SHOWN]!r} is taken for the name of one detail, for which"
            f" {found.group()!r} is odd; if it is one, put it in double quotes"
        )
    try:
        path = read_path(part["path"])
    except InvalidPathError as error:
        raise ValueError(str(error)) from None
    sign, given = part["operator"], part["value"].strip()
    quoted = _TEXT.fullmatch(given)
    if quoted is None:
        return Comparison(path, sign, _number(shown, given))
    if sign not in ("==", "!="):
        raise ValueError(f"{shown!r} compares text with {sign}")
    return Comparison(path, sign, quoted["text"])


def _number(text: str, given: str) -> float:
    try:
        number = float(given)
    except ValueError:
        raise ValueError(f"{text!r}: {given[:_SHOWN]!r} is no number") from None
    if math.isnan(number):
        raise ValueError(f"{text!r}: nothing compares with NaN; the rule not_finite reports it")
    return number
