"""JSON from outside: read strictly, and where that fails as other software writes it.

Every door reads its JSON here. What is tolerated, and what stands for it:

- half an emoji (a lone surrogate) and bytes that are not UTF-8: U+FFFD;
- NaN and the infinities, bare: the texts that `emit` records for them;
- a byte order mark, UTF-8, UTF-16 or UTF-32: nothing;
- control characters inside of text: themselves;
- a number that neither 64 bits nor a double can hold: its digits as text.

Of equal keys the last one counts. Anything else that is not JSON is refused with the reason.
"""

import codecs
import json
import re
from typing import Any, Final, TypeVar, cast

import msgspec

from realm_telemetry.event import InvalidEventError
from realm_telemetry.values.conversions import MIN_INT, safe_text

T = TypeVar("T")

ANY: Final = msgspec.json.Decoder()

_MAX_UINT: Final = 2**64 - 1
_MAX_DIGITS: Final = 40
"""A longer number has no 64 bits, and Python refuses to read one of over 4,300 digits."""

# Longest first: the mark of UTF-32 begins with that of UTF-16.
_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

# Each escape as a whole, so that the second half of an escaped backslash begins none.
_ESCAPE: Final = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|u[dD][89a-fA-F][0-9a-fA-F]{2}|.)",
    re.DOTALL,
)
_LONE_CHARS: Final = len(r"\ud83d")

_MAX_NESTING: Final = 1_000
"""About what the strict reader takes. Python's own takes as much as its version's stack has."""
# A text that does not end is read once as well: none of its quotes begins another.
_BRACKET: Final = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|([\[{])|[\]}]', re.DOTALL)


def read_json(data: bytes | memoryview | str, decoder: msgspec.json.Decoder[T] = ANY) -> T:
    """Decode JSON, first strictly, then forgivingly.

    decoder: of the type that is expected; any JSON value by default.
    Raises InvalidEventError that says what is wrong.
    """
    try:
        return decoder.decode(data)
    except RecursionError:
        raise InvalidEventError("it is nested too deep") from None
    except (msgspec.DecodeError, UnicodeError) as error:
        problem = str(error) if len(data) else "it is empty"
    return _read_forgivingly(data, decoder, problem)


def read_object(data: bytes | str) -> dict[str, Any]:
    """Decode a JSON object as `read_json` does. Raises InvalidEventError."""
    try:
        value: Any = read_json(data)
    except InvalidEventError as error:
        raise InvalidEventError(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidEventError(f"expected a JSON object, got {_NAMES[type(value)]}")
    return value


_NAMES: Final = {
    list: "an array",
    str: "text",
    int: "a number",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
}


def _read_forgivingly(
    data: bytes | memoryview | str, decoder: msgspec.json.Decoder[T], problem: str
) -> T:
    text = safe_text(data.removeprefix("\ufeff")) if isinstance(data, str) else text_of(bytes(data))
    if _is_too_deep(text):
        raise InvalidEventError("it is nested too deep")
    try:
        value = _FORGIVING.decode(_ESCAPE.sub(_without_half, text).strip())
    except RecursionError:
        raise InvalidEventError("it is nested too deep") from None
    except ValueError:
        raise InvalidEventError(problem) from None
    if decoder is ANY:
        return cast("T", value)
    try:
        return decoder.decode(msgspec.json.encode(value))
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidEventError(str(error)) from None


def _is_too_deep(text: str) -> bool:
    depth = 0
    for found in _BRACKET.finditer(text):
        if found[1]:
            depth += 1
            if depth > _MAX_NESTING:
                return True
        elif not found[0].startswith('"'):
            depth -= 1
    return False


def _without_half(escape: re.Match[str]) -> str:
    return r"\ufffd" if len(escape[0]) == _LONE_CHARS else escape[0]


def _integer(digits: str) -> int | str:
    if len(digits) > _MAX_DIGITS or not MIN_INT <= (value := int(digits)) <= _MAX_UINT:
        return digits
    return value


def _number(digits: str) -> float | str:
    value = float(digits)
    return value if value - value == 0.0 else digits


_FORGIVING: Final = json.JSONDecoder(
    strict=False, parse_int=_integer, parse_float=_number, parse_constant=str
)


def encoding_of(start: bytes) -> tuple[str, int]:
    """Return the encoding that a byte order mark names, and the mark's length; UTF-8 without."""
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return encoding, len(mark)
    return "utf-8", 0


def text_of(data: bytes) -> str:
    """Return bytes as text that UTF-8 can carry, without a byte order mark; never raises."""
    encoding, mark = encoding_of(data)
    rest = data[mark:]
    return utf_8_text(rest) if encoding == "utf-8" else rest.decode(encoding, "replace")


def utf_8_text(data: bytes) -> str:
    """Return bytes that are to be UTF-8 as text that UTF-8 can carry; never raises."""
    try:
        # Halves of an emoji, each encoded for itself as JavaScript's older encoders do.
        return safe_text(data.decode("utf-8", "surrogatepass"))
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace")
