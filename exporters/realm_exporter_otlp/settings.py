"""Where and how one signal is sent: options over OpenTelemetry's environment variables.

The variables, and what they mean, are those of OpenTelemetry's own exporters for Python; source:
https://opentelemetry.io/docs/specs/otel/protocol/exporter/. An empty one counts as not set.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import unquote, urlsplit

import msgspec

from realm_telemetry.errors import ConfigError

SignalName = Literal["logs", "traces", "metrics"]

TRANSPORT_DEFAULTS: Final[Mapping[str, Any]] = {
    "endpoint": "",
    "signal_endpoint": "",
    "protocol": "",
    "headers": {},
    "compression": "",
    "timeout_s": 0.0,
    "certificate": "",
    "client_certificate": "",
    "client_key": "",
    "insecure": None,
    "max_request_bytes": 4_000_000,
}
"""The options that every exporter of this distribution has; those that are empty count as not set.

max_request_bytes: of one request before compression; collectors take 4 MiB over gRPC by default.
"""

EXPORTERS: Final[dict[SignalName, str]] = {
    "logs": "otlp",
    "traces": "otlp_traces",
    "metrics": "otlp_metrics",
}
"""Each signal's exporter: what its options are called by."""

PROTOCOLS: Final = ("http/protobuf", "grpc")
COMPRESSIONS: Final = {"http/protobuf": ("none", "gzip", "deflate"), "grpc": ("none", "gzip")}
DEFAULT_ENDPOINTS: Final = {
    "http/protobuf": "http://localhost:4318",
    "grpc": "http://localhost:4317",
}
DEFAULT_TIMEOUT_S: Final = 10.0

# What HTTP and gRPC both take; -bin would have gRPC want bytes.
_HEADER_NAME: Final = re.compile(r"[a-z0-9_.-]+(?<!-bin)")


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where and how one signal is sent.

    exporter: the name under which its options are found.
    endpoint: the whole address, over HTTP with its path. headers: lower-case names; secrets.
    timeout_s: for a whole request.
    certificate: of who signed the other side's, a file; None for the system's.
    insecure: whether gRPC goes without TLS.
    """

    signal: SignalName
    exporter: str
    protocol: str
    endpoint: str
    headers: dict[str, str]
    compression: str
    timeout_s: float
    certificate: str | None
    client_certificate: str | None
    client_key: str | None
    insecure: bool

    @property
    def shown(self) -> str:
        """The address as people may see it: without user, password and query."""
        parts = urlsplit(self.endpoint)
        place = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme}://{place}{parts.path}" if parts.scheme and place else self.endpoint

    @property
    def endpoint_setting(self) -> str:
        """How a person sets the address."""
        return f"options.{self.exporter}.endpoint or OTEL_EXPORTER_OTLP_ENDPOINT"

    @property
    def headers_fix(self) -> str:
        """What to do about a receiver that requires a header."""
        return f"Set options.{self.exporter}.headers or OTEL_EXPORTER_OTLP_HEADERS to what it asks"


def resolve(signal: SignalName, options: Mapping[str, Any], environ: Mapping[str, str]) -> Target:
    """Return where and how a signal is sent.

    options: as in `TRANSPORT_DEFAULTS`, maybe among others.
    Raises ConfigError, which names the option and the variable.
    """
    look = _Look(signal, options, environ)
    protocol = look.one_of("protocol", PROTOCOLS) or PROTOCOLS[0]
    endpoint = _endpoint(look, protocol)
    compression = look.one_of("compression", COMPRESSIONS[protocol])
    return Target(
        signal=signal,
        exporter=EXPORTERS[signal],
        protocol=protocol,
        endpoint=endpoint,
        headers=_headers(look),
        compression=compression or "none",
        timeout_s=_timeout_s(look),
        certificate=look.file("certificate"),
        client_certificate=look.file("client_certificate"),
        client_key=look.file("client_key"),
        insecure=_insecure(look, endpoint),
    )


class _Look:
    """Looks for settings where they may be: the option, the signal's variable, the general one."""

    def __init__(
        self, signal: SignalName, options: Mapping[str, Any], environ: Mapping[str, str]
    ) -> None:
        self.signal = signal
        self.options = options
        self._environ = environ

    def own_variable(self, name: str) -> str | None:
        """The value of the signal's own variable."""
        return self._value(f"OTEL_EXPORTER_OTLP_{self.signal.upper()}_{name.upper()}")

    def general_variable(self, name: str) -> str | None:
        """The value of the variable for all signals."""
        return self._value(f"OTEL_EXPORTER_OTLP_{name.upper()}")

    def variable(self, name: str) -> str | None:
        """The value of the signal's own variable, else of the general one."""
        return self.own_variable(name) or self.general_variable(name)

    def _value(self, variable: str) -> str | None:
        return self._environ.get(variable, "").strip() or None

    def text(self, name: str) -> str | None:
        """The option, else the variable."""
        return self.options[name] or self.variable(name)

    def one_of(self, name: str, choices: tuple[str, ...]) -> str | None:
        """One of some words; None if it is not set."""
        found = self.text(name)
        if found is None or found.lower() in choices:
            return found and found.lower()
        raise self.error(name, f"there is no {found!r}", f"Use one of {', '.join(choices)}.")

    def file(self, name: str) -> str | None:
        """A file that has to be there; None if it is not set."""
        found = self.text(name)
        if found is not None and not Path(found).is_file():
            fix = "Write an absolute path: the shipper works in another directory."
            raise self.error(name, f"there is no file {found}", fix)
        return found

    def error(self, name: str, problem: str, fix: str) -> ConfigError:
        """What is wrong with a setting, named as option and as variable."""
        variable = "TIMEOUT" if name == "timeout_s" else name.upper()
        where = f"options.{EXPORTERS[self.signal]}.{name} (OTEL_EXPORTER_OTLP_{variable})"
        return ConfigError(where, problem, fix)


def _endpoint(look: _Look, protocol: str) -> str:
    """The signal's own endpoint is used as it is; the general one gets the signal's path."""
    verbatim, base = look.options["signal_endpoint"], look.options["endpoint"]
    if not (verbatim or base):
        verbatim, base = look.own_variable("endpoint"), look.general_variable("endpoint")
    endpoint = str(verbatim or base or DEFAULT_ENDPOINTS[protocol])
    _check_endpoint(look, protocol, endpoint)
    if verbatim or protocol == "grpc":
        return endpoint
    return f"{endpoint.rstrip('/')}/v1/{look.signal}"


def _check_endpoint(look: _Look, protocol: str, endpoint: str) -> None:
    try:
        parts = urlsplit(endpoint)
        good = bool(parts.hostname) and parts.scheme in ("http", "https")
        parts.port  # noqa: B018 - raises ValueError for one that is no number
    except ValueError:
        good = False
    if protocol == "grpc" and "://" not in endpoint:
        good = True  # gRPC's own names: host:port, dns:..., unix:...
    if not good:
        fix = f"Write it like {DEFAULT_ENDPOINTS[protocol]}"
        raise look.error("endpoint", f"{_without_user(endpoint)!r} is not an address", fix)


def _without_user(endpoint: str) -> str:
    return endpoint.rpartition("@")[2]


def _headers(look: _Look) -> dict[str, str]:
    """Headers of the variable, and over them those of the options; no value is ever shown."""
    headers = {}
    # OpenTelemetry's own parser logs what it cannot read, and that may be a secret.
    for item in filter(None, map(str.strip, (look.variable("headers") or "").split(","))):
        name, equals, value = item.partition("=")
        if not equals:
            raise look.error("headers", "are not written as name=value", "Divide them by commas.")
        headers[unquote(name).strip().lower()] = unquote(value).strip()
    for name, value in look.options["headers"].items():
        if not isinstance(value, str):
            raise look.error("headers", f"the value of {name} is not text", "Put it in quotes.")
        headers[name.strip().lower()] = value.strip()
    for name, value in headers.items():
        # The libraries refuse these too, but their messages show the value.
        if not (_HEADER_NAME.fullmatch(name) and value.isascii() and value.isprintable()):
            fix = "Use letters, digits, - and _ in its name, and printable ASCII in its value."
            raise look.error("headers", f"{name!r} cannot be sent", fix)
    return headers


def _timeout_s(look: _Look) -> float:
    """Seconds, as OpenTelemetry's exporters for Python read the variable."""
    given = look.options["timeout_s"] or look.variable("timeout") or DEFAULT_TIMEOUT_S
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds < float("inf"):
        raise look.error("timeout_s", f"{given!r} is no time", "Write seconds, such as 10.")
    return seconds


def _insecure(look: _Look, endpoint: str) -> bool:
    if endpoint.startswith("https://"):
        return False
    given = look.options["insecure"]
    if given is None:
        given = look.variable("insecure")
    if given is None:
        return endpoint.startswith("http://")
    return str(given).lower() == "true"
