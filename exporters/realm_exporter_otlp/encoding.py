"""JSON values, producers and this package as OTLP's common messages.

Source: opentelemetry/proto/common/v1/common.proto. Messages are filled where they stand: made apart
and put in, each is copied, which takes several times as long.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from realm_telemetry.otel.names import PRODUCER_ID
from realm_telemetry.values.details import safe_text
from realm_telemetry.version import __version__

__all__ = [
    "SCOPE",
    "add_attributes",
    "any_value",
    "fill_value",
    "hex_bytes",
    "key_value",
    "key_values",
    "resource_of",
]

SCOPE: Final = InstrumentationScope(name="realm_telemetry", version=__version__)
"""The scope of all that is sent."""

_LOWEST: Final = -(2**63)
_HIGHEST: Final = 2**63 - 1


class Attributes(Protocol):
    """A repeated field of attributes."""

    def add(self) -> KeyValue:
        """Return a new one at the end."""
        ...


def fill_value(target: AnyValue, value: Any) -> None:
    """Write a JSON value: null stays empty, objects and arrays stay nested.

    What no JSON value is becomes its text; integers beyond 64 bits become decimal text.
    """
    kind = type(value)
    if kind is str:
        _fill_text(target, value)
    elif kind is float:
        target.double_value = value
    elif kind is int and _LOWEST <= value <= _HIGHEST:
        target.int_value = value
    elif kind is bool:
        target.bool_value = value
    elif kind is dict:
        target.kvlist_value.SetInParent()  # an empty one is no null
        add_attributes(target.kvlist_value.values, value.items())
    elif kind is list or kind is tuple:
        target.array_value.SetInParent()
        for item in value:
            fill_value(target.array_value.values.add(), item)
    elif value is None:
        target.SetInParent()  # there, and empty
    else:
        _fill_text(target, str(value))


def add_attributes(target: Attributes, items: Iterable[tuple[str, Any]]) -> None:
    """Add names and their JSON values, in their order."""
    add = target.add
    for key, value in items:
        pair = add()
        try:
            pair.key = key
        except UnicodeEncodeError:  # a lone surrogate, which protobuf refuses
            pair.key = safe_text(key)
        fill_value(pair.value, value)


def any_value(value: Any) -> AnyValue:
    """Return a JSON value as `fill_value` writes it."""
    message = AnyValue()
    fill_value(message, value)
    return message


def key_values(values: Mapping[str, Any]) -> list[KeyValue]:
    """Return attributes, in their order."""
    return [key_value(key, value) for key, value in values.items()]


def key_value(key: str, value: Any) -> KeyValue:
    """Return one attribute."""
    return KeyValue(key=safe_text(key), value=any_value(value))


def resource_of(producer: str, attributes: Mapping[str, Any]) -> Resource:
    """Return a producer's resource.

    attributes: what the log knows of it; without any, receivers still learn its id.
    """
    resource = Resource()
    add_attributes(resource.attributes, ({PRODUCER_ID: producer} | dict(attributes)).items())
    return resource


def hex_bytes(digits: str | None, length: int) -> bytes:
    """Return a trace or span id as bytes; empty for one that is none, as receivers want it."""
    try:
        found = bytes.fromhex(digits or "")
    except ValueError:
        return b""
    return found if len(found) == length and any(found) else b""


def _fill_text(target: AnyValue, text: str) -> None:
    try:
        target.string_value = text
    except UnicodeEncodeError:
        target.string_value = safe_text(text)
