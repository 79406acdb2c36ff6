"""Any Python value -> JSON value, within the limits of one conversion.

Types of other packages are known by name or by shape (`.shape`, `.dtype`, `.device`), so that
nothing is imported for them. If a value's own code raises, the conversion does not.
"""

from collections.abc import Callable, ItemsView, Iterable, KeysView, Mapping, ValuesView
from itertools import islice
from typing import Any, Final

MAX_DEPTH: Final = 16
"""Containers inside containers, counted from the value itself."""
MAX_ITEMS: Final = 1_000
"""Items kept of one container, the first ones."""
MAX_NODES: Final = 10_000
"""Values kept of one detail, over all its containers."""
MAX_ARRAY_ITEMS: Final = 64
"""An array of more is recorded as its shape and dtype."""
MAX_TEXT_CHARS: Final = 65_536
"""Characters kept of one detail, over all its texts."""
MAX_REPR_CHARS: Final = 500
MAX_KEY_CHARS: Final = 256
MAX_BYTES_KEPT: Final = 3_072
EMPTY_KEY: Final = "(empty)"
"""Stands for an empty key, which OpenTelemetry does not allow."""


class Walk:
    """One conversion: what is left of its limits, and whether anything was cut."""

    __slots__ = ("chars_left", "cut", "nodes_left", "open")

    def __init__(self) -> None:
        self.nodes_left = MAX_NODES
        self.chars_left = MAX_TEXT_CHARS
        self.open: set[int] = set()
        self.cut = False

    def first(self, items: Iterable[Any]) -> list[Any]:
        """Take as many items as a container may have."""
        kept = list(islice(items, MAX_ITEMS + 1))
        allowed = min(MAX_ITEMS, self.nodes_left)
        if len(kept) > allowed:
            self.cut = True
        self.nodes_left -= min(len(kept), allowed)
        return kept[:allowed]

    def text(self, text: str, most: int = MAX_TEXT_CHARS) -> str:
        """Return the text, cut to a length and to what the conversion has left."""
        most = min(most, self.chars_left)
        if len(text) > most:
            self.cut = True
            text = text[:most]
        self.chars_left -= len(text)
        return safe_text(text)


def safe_text(text: str) -> str:
    """Return text that UTF-8 can carry: surrogate pairs joined, lone ones replaced by U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


MAX_INT: Final = 2**63 - 1
MIN_INT: Final = -(2**63)


def to_json_value(value: Any, walk: Walk | None = None) -> Any:
    """Return the JSON value that stands for any Python value. Never raises an Exception.

    walk: knows afterwards whether something was cut.
    The rules are in docs/semantic-conventions.md.
    """
    return _convert(value, walk or Walk())


def key_text(key: Any, taken: Mapping[str, Any]) -> str:
    """Return a key as text that is not empty and not among those taken."""
    if type(key) is str and 0 < len(key) <= MAX_KEY_CHARS and key.isascii() and key not in taken:
        return key
    walk = Walk()
    converted = _convert(key, walk)
    text = converted if isinstance(converted, str) else str(converted)
    text = walk.text(text, MAX_KEY_CHARS) or EMPTY_KEY
    while text in taken:
        text = f"{text} ({len(taken)})"
    return text


def _convert(value: Any, walk: Walk) -> Any:
    try:
        converter = _SCALARS.get(type(value))
        return converter(value, walk) if converter else _convert_by_class(value, walk)
    except Exception:  # noqa: BLE001 - a value's own code may raise anything
        return _last_resort(value)


def _convert_by_class(value: Any, walk: Walk) -> Any:
    """Convert containers and everything that is not exactly a JSON scalar."""
    if isinstance(value, float):  # numpy.float64 is one
        return _float(value, walk)
    if _is_array(value):
        return _array(value, walk)
    for base in type(value).__mro__:
        converter = _BY_NAME.get(f"{base.__module__}.{base.__qualname__}")
        if converter:
            return converter(value, walk)
    container = _container(value)
    return _repr(value, walk) if container is None else _enter(value, container, walk)


def _enter(value: Any, container: Callable[[Any, Walk], Any], walk: Walk) -> Any:
    """Convert a container unless it is inside itself or too deep."""
    if id(value) in walk.open:
        return f"<{_class_name(value)} inside itself>"
    if len(walk.open) >= MAX_DEPTH:
        walk.cut = True
        return f"<{_class_name(value)} nested too deep>"
    walk.open.add(id(value))
    try:
        return container(value, walk)
    finally:
        walk.open.discard(id(value))


def _container(value: Any) -> Callable[[Any, Walk], Any] | None:
    kind = type(value)
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        return _named_fields(kind._fields)
    if isinstance(value, Mapping):
        return _mapping
    if isinstance(value, set | frozenset):
        return _set
    if isinstance(value, list | tuple | range | KeysView | ValuesView | ItemsView):
        return _sequence
    for attribute in ("__dataclass_fields__", "__struct_fields__"):
        if hasattr(kind, attribute):
            return _named_fields(getattr(kind, attribute))
    return None


def _named_fields(names: Iterable[str]) -> Callable[[Any, Walk], Any]:
    def convert(value: Any, walk: Walk) -> dict[str, Any]:
        return {
            safe_text(name): _convert(getattr(value, name, None), walk)
            for name in walk.first(names)
        }

    return convert


def _mapping(value: Mapping[Any, Any], walk: Walk) -> dict[str, Any]:
    converted: dict[str, Any] = {}
    for key in walk.first(value):
        name = key_text(key, converted)
        converted[name] = _convert(value[key], walk)
    return converted


def _sequence(value: Iterable[Any], walk: Walk) -> list[Any]:
    return [_convert(item, walk) for item in walk.first(value)]


def _set(value: Iterable[Any], walk: Walk) -> list[Any]:
    items = _sequence(value, walk)
    try:
        return sorted(items)
    except TypeError:
        return items


def _is_array(value: Any) -> bool:
    # NumPy's scalar classes have both themselves, as descriptors.
    return hasattr(value, "shape") and hasattr(value, "dtype") and not isinstance(value, type)


def _array(value: Any, walk: Walk) -> Any:
    """Read a small array of this host's memory; describe any other.

    Reading one back from a device would wait for all work queued on it.
    """
    try:
        shape = [int(size) for size in value.shape]
        if _size(shape) <= MAX_ARRAY_ITEMS and _is_on_host(value):
            return _array_items(value, walk)
    except Exception:  # noqa: BLE001 - a value's own code may raise anything
        shape = []
    return {"shape": shape, "dtype": _attribute_text(value, "dtype")}


def _array_items(value: Any, walk: Walk) -> Any:
    if getattr(value.dtype, "kind", "") in ("m", "M"):  # NumPy's times, which it counts in integers
        return str(value) if value.shape == () else [str(item) for item in value.ravel()]
    items = value.tolist()
    return float(items) if type(items) is type(value) else _convert(items, walk)


def _is_on_host(value: Any) -> bool:
    device = getattr(value, "device", "cpu")
    return device == "cpu" or str(device).split(":")[0] == "cpu"


def _size(shape: list[int]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


def _attribute_text(value: Any, name: str) -> str:
    try:
        return safe_text(str(getattr(value, name)))[:MAX_REPR_CHARS]
    except Exception:  # noqa: BLE001 - a value's own code may raise anything
        return "?"


def _integer(value: int, walk: Walk) -> int | str:
    value = int.__pos__(value)
    if MIN_INT <= value <= MAX_INT:
        return value
    # Python refuses to write a number of more than 4,300 digits (sys.set_int_max_str_digits).
    return str(value) if value.bit_length() < 4_096 else f"<int of {value.bit_length()} bits>"


def _float(value: float, walk: Walk) -> float | str:
    value = float.__pos__(value)
    if value - value == 0.0:
        return value
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def _text(value: str, walk: Walk) -> str:
    return walk.text(str.__str__(value))


def _bytes(value: bytes | bytearray | memoryview, walk: Walk) -> str:
    from binascii import b2a_base64

    raw = bytes(memoryview(value)[: MAX_BYTES_KEPT + 1])
    if len(raw) > MAX_BYTES_KEPT:
        walk.cut = True
    return b2a_base64(raw[:MAX_BYTES_KEPT], newline=False).decode("ascii")


def _path(value: Any, walk: Walk) -> str:
    from os import fsdecode

    return walk.text(fsdecode(value))


def _error(value: BaseException, walk: Walk) -> str:
    try:
        text = str(value)
    except Exception:  # noqa: BLE001 - a value's own code may raise anything
        text = ""
    name = _class_name(value)
    return walk.text(f"{name}: {text}" if text else name)


def _plain_text(value: Any, walk: Walk) -> str:
    return walk.text(str(value))


def _repr(value: Any, walk: Walk) -> str:
    if hasattr(type(value), "__fspath__"):
        return _path(value, walk)
    text = repr(value)
    if len(text) > MAX_REPR_CHARS:
        text = text[: MAX_REPR_CHARS - 1] + "…"
    return safe_text(text)


def _last_resort(value: Any) -> str:
    return f"<{_class_name(value)} that cannot be shown>"


def _class_name(value: Any) -> str:
    return safe_text(type(value).__name__)


_SCALARS: Final[dict[type, Callable[[Any, Walk], Any]]] = {
    str: _text,
    int: _integer,
    float: _float,
    bool: lambda value, walk: value,
    type(None): lambda value, walk: value,
}
_BY_NAME: Final[dict[str, Callable[[Any, Walk], Any]]] = {
    "enum.Enum": lambda value, walk: _convert(value.value, walk),
    "builtins.str": _text,
    "builtins.int": _integer,
    "builtins.float": _float,
    "builtins.bytes": _bytes,
    "builtins.bytearray": _bytes,
    "builtins.memoryview": _bytes,
    "builtins.BaseException": _error,
    "datetime.datetime": lambda value, walk: value.isoformat(),
    "datetime.date": lambda value, walk: value.isoformat(),
    "datetime.time": lambda value, walk: value.isoformat(),
    "datetime.timedelta": lambda value, walk: _float(value.total_seconds(), walk),
    "decimal.Decimal": _plain_text,
    "fractions.Fraction": _plain_text,
    "uuid.UUID": _plain_text,
    "collections.deque": lambda value, walk: _enter(value, _sequence, walk),
}
"""Converters by the full name of a class or of one of its bases, in method resolution order."""
