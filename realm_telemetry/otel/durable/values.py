"""Attribute values and bodies as msgpack, and back exactly.

msgpack has no tuple, no integer beyond 64 bits, no text with lone surrogates and, as msgspec reads
it, keys of one type only. Extension types stand for these, so that what an exporter gets
equals what was logged.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from realm_telemetry.values.details import to_json_value

_BIG_INT, _SURROGATES, _TUPLE, _PAIRS = 1, 2, 3, 4
_MIN_INT: Final = -(2**63)
_MAX_INT: Final = 2**64 - 1

encode: Final = msgspec.msgpack.Encoder().encode


def exact(value: Any) -> Any:
    """Return a value that encodes to msgpack and comes back equal.

    What is no value of OpenTelemetry's (`AnyValue`) becomes JSON, as in an event.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return _int(int(value))
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        return _text(str.__str__(value))
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    return _collection(value)


def _int(value: int) -> Any:
    if _MIN_INT <= value <= _MAX_INT:
        return value
    return msgspec.msgpack.Ext(_BIG_INT, b"%x" % value)


def _text(value: str) -> Any:
    try:
        value.encode()
    except UnicodeEncodeError:
        return msgspec.msgpack.Ext(_SURROGATES, value.encode("utf-8", "surrogatepass"))
    return value


def _collection(value: Any) -> Any:
    if isinstance(value, tuple):
        return msgspec.msgpack.Ext(_TUPLE, encode([exact(item) for item in value]))
    if isinstance(value, Mapping):
        pairs = [(exact(key), exact(item)) for key, item in value.items()]
        if all(type(key) is str for key, _ in pairs):
            return dict(pairs)
        return msgspec.msgpack.Ext(_PAIRS, encode(pairs))
    if isinstance(value, Sequence):
        return [exact(item) for item in value]
    return exact(to_json_value(value))


def decode(data: bytes) -> Any:
    """Read what was encoded.

    Raises msgspec.DecodeError.
    """
    return _decode(data)


def _extension(code: int, data: memoryview) -> Any:
    if code == _BIG_INT:
        return int(bytes(data), 16)
    if code == _SURROGATES:
        return bytes(data).decode("utf-8", "surrogatepass")
    if code == _TUPLE:
        return tuple(_decode(data))
    if code == _PAIRS:
        return {key: item for key, item in _decode(data)}  # noqa: C416 - pairs are lists
    raise msgspec.DecodeError(f"unknown extension {code}")


_decode: Final = msgspec.msgpack.Decoder(ext_hook=_extension).decode


def tuples(value: Any) -> Any:
    """Return a value with tuples for lists at any depth: attributes hold no others."""
    if type(value) is list:
        return tuple(tuples(item) for item in value)
    if type(value) is dict:
        return {key: tuples(item) for key, item in value.items()}
    return value
