"""Any Python value -> JSON value, within the limits of one conversion.

Types of other packages are known by name or by shape (`.shape`, `.dtype`, `.device`), so that
nothing is imported for them. If a value's own code raises, the conversion does not.
"""

from collections.abc import (
    Callable,
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    Sequence,
    Set,
    ValuesView,
)
from functools import partial
from itertools import islice
from operator import index
from typing import Any, Final

from realm_telemetry.values.clock import monotonic

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
MAX_READING_S: Final = 1.0
"""How long the values of one event may take to be read; what is left then is cut."""
EMPTY_KEY: Final = "(empty)"
"""Stands for an empty key, which OpenTelemetry does not allow."""

ENDING: Final = (KeyboardInterrupt, SystemExit)
"""What Ctrl-C and the handlers of other signals raise: it passes through, wherever it comes up.

All else that a value's own code raises stops here. Some libraries raise their own kinds of
BaseException while they show a value: a panic in Rust code, for one.
"""


class Walk:
    """One conversion: what is left of its limits, and whether anything was cut.

    deadline_s: on `clock.monotonic`; no item of a container is read after it.
    """

    __slots__ = ("chars_left", "cut", "deadline_s", "nodes_left", "open")

    def __init__(self, deadline_s: float | None = None) -> None:
        self.nodes_left = MAX_NODES
        self.chars_left = MAX_TEXT_CHARS
        self.open: set[int] = set()
        self.cut = False
        self.deadline_s = monotonic() + MAX_READING_S if deadline_s is None else deadline_s

    @property
    def late(self) -> bool:
        """Whether reading has taken too long; marks the cut."""
        if monotonic() < self.deadline_s:
            return False
        self.cut = True
        return True

    def first(self, items: Iterable[Any]) -> list[Any]:
        """Take as many items as a container may have, fewer if reading them fails after some."""
        kept, error = self.take(items)
        if error is not None:
            if not kept:
                raise error
            self.cut = True
        return kept

    def take(self, items: Iterable[Any]) -> tuple[list[Any], BaseException | None]:
        """Take as many items as a container may have, and what ended the reading before that."""
        allowed = min(MAX_ITEMS, self.nodes_left)
        kept: list[Any] = []
        error = None
        try:
            for item in islice(items, allowed + 1):
                kept.append(item)
                if self.late:
                    break
        except ENDING:
            raise
        except BaseException as raised:  # noqa: BLE001 - a value's own code may raise anything
            error = raised
        if len(kept) > allowed:
            self.cut = True
        self.nodes_left -= min(len(kept), allowed)
        return kept[:allowed], error

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
    except ENDING:
        raise
    except BaseException:  # noqa: BLE001 - a value's own code may raise anything
        return _last_resort(value)


def is_a(value: Any, kind: Any) -> bool:
    """`isinstance`; where a value's own code raises, as a lazy proxy's may, its type counts."""
    try:
        return isinstance(value, kind)
    except ENDING:
        raise
    except BaseException:  # noqa: BLE001 - a value's own code may raise anything
        return issubclass(type(value), kind)


def read_item(owner: Any, read: Callable[[Any], Any], name: Any) -> Any:
    """Return an item or attribute of an object, or text that says why it could not be read."""
    try:
        return read(name)
    except ENDING:
        raise
    except BaseException as error:  # noqa: BLE001 - a value's own code may raise anything
        return f"<item of {_class_name(owner)} that cannot be read: {_class_name(error)}>"


def _convert_by_class(value: Any, walk: Walk) -> Any:
    """Convert containers and everything that is not exactly a JSON scalar."""
    if isinstance(value, float):  # numpy.float64 is one
        return _float(value, walk)
    for base in type(value).__mro__:
        converter = _BY_NAME.get(f"{base.__module__}.{base.__qualname__}")
        if converter:
            return converter(value, walk)
    if _has(value, "shape"):
        if _has(value, "dtype"):
            return _array(value, walk)
        if _has(value, "columns"):
            return _table(value, walk)
    container = _container(value)
    return _repr(value, walk) if container is None else _enter(value, container, walk)


def _has(value: Any, name: str) -> bool:
    """Whether an object has an attribute, without asking it: configurations have any one."""
    if isinstance(value, type):  # NumPy's scalar classes have them as descriptors
        return False
    return hasattr(type(value), name) or name in _own_fields(value)


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
    if isinstance(value, tuple):
        return _fields if hasattr(type(value), "_fields") else _sequence
    if isinstance(value, Mapping):
        return _mapping
    if isinstance(value, KeysView | ValuesView | ItemsView | Sequence):
        return _sequence
    if isinstance(value, Set):
        return _set
    return _fields if field_names(type(value)) is not None else None


def field_names(kind: type) -> Sequence[str] | None:
    """Return the names of the fields of a dataclass, attrs class, struct or namedtuple."""
    if issubclass(kind, tuple):
        return getattr(kind, "_fields", None)
    if hasattr(kind, "__dataclass_fields__"):
        fields = kind.__dataclass_fields__.items()
        # Those of the class itself are no fields of a value.
        return [name for name, field in fields if repr(field._field_type) == "_FIELD"]
    if hasattr(kind, "__attrs_attrs__"):
        return [field.name for field in kind.__attrs_attrs__]
    return getattr(kind, "__struct_fields__", None)


def _fields(value: Any, walk: Walk) -> dict[str, Any]:
    names = walk.first(field_names(type(value)) or ())
    return _object(value, names, partial(getattr, value), walk)


def _mapping(value: Mapping[Any, Any], walk: Walk) -> dict[str, Any]:
    return _object(value, walk.first(value), value.__getitem__, walk)


def _object(
    value: Any, names: Iterable[Any], read: Callable[[Any], Any], walk: Walk
) -> dict[str, Any]:
    """Convert entries, each of which is read by itself: one that fails costs no other."""
    converted: dict[str, Any] = {}
    for name in names:
        if walk.late:
            break
        converted[key_text(name, converted)] = _convert(read_item(value, read, name), walk)
    return converted


def _attributes(value: Any, walk: Walk) -> dict[str, Any]:
    """Convert an object that is what is set on it: a namespace, a model of pydantic."""
    extra = getattr(value, "__pydantic_extra__", None)
    return _mapping({**_own_fields(value), **(extra or {})}, walk)


def _own_fields(value: Any) -> dict[str, Any]:
    return getattr(value, "__dict__", None) or {}


def _sequence(value: Iterable[Any], walk: Walk) -> list[Any]:
    kept, error = walk.take(value)
    if error is not None and isinstance(value, Sequence):
        kept += walk.first(_by_index(value, len(kept)))
    elif error is not None:
        walk.cut = True
        if not kept:
            raise error
    converted = []
    for item in kept:
        if walk.late:
            break
        converted.append(_convert(item, walk))
    return converted


def _by_index(value: Sequence[Any], start: int) -> Iterator[Any]:
    """Read on where iterating failed, each item by itself."""
    for at in range(start, len(value)):
        yield read_item(value, value.__getitem__, at)


def _set(value: Iterable[Any], walk: Walk) -> list[Any]:
    items = _sequence(value, walk)
    try:
        return sorted(items)
    except TypeError:
        return items


def _array(value: Any, walk: Walk) -> Any:
    """Read a small array of this host's memory; describe any other.

    Reading one back from a device would wait for all work queued on it.
    """
    sizes, shape = value.shape, []
    try:
        # Never int(): of a lazy size that would be the computation itself.
        shape = _sizes(sizes)
        if _size(shape) <= MAX_ARRAY_ITEMS and _is_on_host(value):
            return _array_items(value, walk)
    except ENDING:
        raise
    except BaseException:  # noqa: BLE001 - a value's own code may raise anything
        pass
    return {"shape": shape, "dtype": _attribute_text(value, "dtype")}


def _sizes(shape: Iterable[Any]) -> list[int]:
    sizes = [index(size) for size in islice(shape, MAX_ARRAY_ITEMS + 1)]
    if len(sizes) > MAX_ARRAY_ITEMS:
        raise ValueError("no array has that many dimensions")
    return sizes


def _table(value: Any, walk: Walk) -> dict[str, Any]:
    """Describe a data frame: its items may be millions, or not computed yet."""
    shape = _sizes(value.shape)
    columns = walk.first(value.columns)
    return {"shape": shape, "columns": [_convert(name, walk) for name in columns]}


def _array_items(value: Any, walk: Walk) -> Any:
    if getattr(value.dtype, "kind", "") in ("m", "M"):  # NumPy's times, which it counts in integers
        if value.shape == ():
            return _plain_text(value, walk)
        return [_plain_text(item, walk) for item in walk.first(value.ravel())]
    items = value.tolist()
    if type(items) is type(value):  # numpy.longdouble gives itself
        return _float(float(items), walk)
    return _convert(items, walk)


def _is_on_host(value: Any) -> bool:
    device = getattr(value, "device", "cpu")
    if getattr(device, "platform", None) == "cpu":  # JAX's, which may still be computing it
        return bool(value.is_ready())
    return device == "cpu" or str(device).split(":")[0] == "cpu"


def _size(shape: list[int]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


def _attribute_text(value: Any, name: str) -> str:
    text = read_item(value, lambda _: str.__str__(str(getattr(value, name))), name)
    return safe_text(text[:MAX_REPR_CHARS])


def _integer(value: int, walk: Walk) -> int | str:
    value = int.__pos__(value)
    if MIN_INT <= value <= MAX_INT:
        return value
    # Python refuses to write a number of more than 4,300 digits (sys.set_int_max_str_digits).
    return str(value) if value.bit_length() < 4_096 else f"<int of {value.bit_length()} bits>"


NOT_FINITE: Final = frozenset(("NaN", "Infinity", "-Infinity"))
"""What stands in an event for a number that JSON has not."""


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


def error_text(error: BaseException) -> str:
    """Return what an exception says of itself; never raises for it."""
    try:
        return safe_text(str.__str__(str(error)))
    except ENDING:
        raise
    except BaseException:  # noqa: BLE001 - an exception's own code may raise anything
        return "<exception str() failed>"  # what tracebacks have in its place


def _error(value: BaseException, walk: Walk) -> str:
    shown = _named_error(value)
    cause = _first_of_group(value)
    # The group itself says no more than how many there are.
    return walk.text(shown if cause is None else f"{shown}: {_named_error(cause)}")


def _named_error(value: BaseException) -> str:
    text = error_text(value)
    name = _class_name(value)
    return f"{name}: {text}" if text else name


def _first_of_group(value: BaseException) -> BaseException | None:
    """Return the first exception of a group that is none itself; None for no group."""
    found = value
    for _ in range(MAX_DEPTH):
        if not isinstance(found, BaseExceptionGroup):
            break
        found = BaseExceptionGroup.exceptions.__get__(found)[0]
    return None if found is value else found


def _plain_text(value: Any, walk: Walk) -> str:
    return walk.text(str.__str__(str(value)))


def _iso_text(value: Any, walk: Walk) -> str:
    return walk.text(str.__str__(value.isoformat()))


def _repr(value: Any, walk: Walk) -> str:
    if hasattr(type(value), "__fspath__"):
        return _path(value, walk)
    text = str.__str__(repr(value))
    if len(text) > MAX_REPR_CHARS:
        walk.cut = True
        text = text[: MAX_REPR_CHARS - 1] + "…"
    return safe_text(text)


def _last_resort(value: Any) -> str:
    return f"<{_class_name(value)} that cannot be shown>"


def _class_name(value: Any) -> str:
    return safe_text(type(value).__name__[:MAX_KEY_CHARS])


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
    "datetime.datetime": _iso_text,
    "datetime.date": _iso_text,
    "datetime.time": _iso_text,
    "datetime.timedelta": lambda value, walk: _float(value.total_seconds(), walk),
    "decimal.Decimal": _plain_text,
    "fractions.Fraction": _plain_text,
    "uuid.UUID": _plain_text,
    "collections.UserString": _plain_text,
    "collections.deque": lambda value, walk: _enter(value, _sequence, walk),
    "argparse.Namespace": lambda value, walk: _enter(value, _attributes, walk),
    "types.SimpleNamespace": lambda value, walk: _enter(value, _attributes, walk),
    "pydantic.main.BaseModel": lambda value, walk: _enter(value, _attributes, walk),
    "pydantic.v1.main.BaseModel": lambda value, walk: _enter(value, _attributes, walk),
    "ml_collections.config_dict.config_dict.ConfigDict": (
        lambda value, walk: _enter(value, _mapping, walk)
    ),
}
"""Converters by the full name of a class or of one of its bases, in method resolution order."""
