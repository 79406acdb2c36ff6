"""Exporters and processors of installed distributions, and extensions of this package, by name."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Final, Self, TypeVar

import msgspec

from realm_telemetry.config import load_settings
from realm_telemetry.errors import ConfigError

EXPORTER_GROUPS: Final = ("realm_telemetry.exporters", "opentelemetry_logs_exporter")
"""Where exporters are found; of one name in both, the first group's counts."""

PROCESSOR_GROUP: Final = "realm_telemetry.processors"

_EXTENSIONS: Final = {
    "import.line": "realm_telemetry.compat.importers:event_of_line",
    "import.tables": "realm_telemetry.compat.importers:tables_of",
    "service.routes": "realm_telemetry.compat.routes:ENDPOINTS",
    "service.page": "realm_telemetry.compat.shapes:older_page",
    "jsonl.line": "realm_telemetry.compat.shapes:older_line",
}
"""Where parts of this package take in what only the older systems need.

They know the name of the place, and never import `realm_telemetry.compat` (docs/decisions/0084).
"""

_EXTRAS: Final = {
    "starlette": "service",
    "uvicorn": "service",
    "zstandard": "service",
    "numpy": "demo",
    "sklearn": "demo",
    "opentelemetry.exporter": "otlp",
    "opentelemetry.proto": "otlp",
    "google.rpc": "otlp",
    "requests": "otlp",
    "grpc": "otlp",
}
"""Modules that an extra of realm-telemetry installs."""

_SECRET_OPTIONS: Final = frozenset({"headers", "secret", "token"})


class ExporterContext(msgspec.Struct, frozen=True, kw_only=True):
    """What an exporter knows about the place where it works.

    log_id: of the log it follows, None outside a shipper.
    options: settings of this exporter, from `realm.toml` or `configure(options=)`.
    inside_shipper: False in a plain OpenTelemetry SDK, where no log has been written yet.
    long_lived: True in a service, which stays: what an exporter has kept safe it may deliver later.
    redact: the setting: what is taken out of events beside the built-in rules.
    log_url: of a log that is no file of the home; it may hold a password.
    environment: the variables that exporters read, as the producer saw them; None where that is
        this process's own. One process may ship several pipelines, each with its own.
    """

    home: Path
    log_path: Path
    log_id: str | None = None
    service_url: str = "http://127.0.0.1:8866"
    token: str | None = None
    options: dict[str, Any] = {}
    pipeline: str = ""
    service_name: str | None = None
    inside_shipper: bool = True
    long_lived: bool = False
    redact: tuple[str, ...] = ()
    environment: dict[str, str] | None = None
    log_url: str | None = None

    @property
    def log_place(self) -> str | Path:
        """What `open_log` opens the log by."""
        return self.log_url or self.log_path

    def find_service(self) -> str:
        """Return where the service is now: as set, else where that of the home says it is.

        Raises ConfigError where that of a shared home says nothing that helps.
        """
        from realm_telemetry.config import DEFAULT_SERVICE_URL, service_url_of

        if self.service_url != DEFAULT_SERVICE_URL:
            return self.service_url
        return service_url_of(self.home)

    def log_id_at(self, url: str) -> str | None:
        """Return the log that the home's service serves there; None if none need be named.

        Raises ConfigError if the `service.json` of a shared home is broken.
        """
        from realm_telemetry.home.token import named_log

        return named_log(self.home, url)

    def token_for(self, url: str) -> str | None:
        """Return the token for a service at another address; never the home's for another host.

        Where `log_id_at` names a log, ask for that first, and send the token only then.
        """
        # Here, because a process of 0.1.0 may import this module and has the older config.
        from realm_telemetry.config import token_for

        return token_for(self.home, self.token, url, is_checked=True)


Item = TypeVar("Item")


def _no_resource(producer: str) -> Mapping[str, Any]:
    return {}


class Batch(list[Item]):
    """What an exporter delivers at once: events, oldest first, with their producers' resources.

    resource: returns the resource of a producer, by its id; empty if none is known.
    """

    def __init__(
        self,
        items: Iterable[Item],
        resource: Callable[[str], Mapping[str, Any]] = _no_resource,
    ) -> None:
        super().__init__(items)
        self.resource = resource

    @classmethod
    def of(cls, items: Iterable[Item]) -> Self:
        """Return items as a batch; without resources, unless they are one."""
        return items if isinstance(items, cls) else cls(items)


class ExporterInfo(msgspec.Struct, frozen=True):
    """An installed exporter, as `realm exporters` lists it.

    status: "ok", "duplicate" (two distributions offer the name), "broken" (cannot be imported) or
        "hidden" (the name means the exporter that another group has under it).
    problem: what is wrong and what to do, empty if nothing is.
    """

    name: str
    group: str
    distribution: str
    version: str
    status: str = "ok"
    problem: str = ""


def standalone_context(name: str, options: Mapping[str, Any] | None = None) -> ExporterContext:
    """Return the context of an exporter in a plain OpenTelemetry SDK.

    All of it comes from the environment and `realm.toml`; options given here win.
    Raises ConfigError.
    """
    settings = load_settings()
    return ExporterContext(
        home=settings.home,
        log_path=settings.log_path,
        service_url=settings.service_url,
        token=settings.token,
        options=settings.options.get(name, {}) | dict(options or {}),
        service_name=settings.service_name,
        inside_shipper=False,
        redact=settings.redact,
    )


def load_exporter(name: str, context: ExporterContext) -> Any:
    """Return the exporter that is installed under a name, or that `module:attribute` names.

    It is built by its `from_context`, if it has one, else from its options as arguments.
    Raises ConfigError that says what to install or to correct.
    """
    factory = _import(_find(name, EXPORTER_GROUPS, "exporters"))
    build = getattr(factory, "from_context", None)
    try:
        exporter = build(context) if build is not None else factory(**context.options)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"options.{name}", f"the exporter cannot be built ({error})", "Correct its options."
        ) from error
    if not (hasattr(exporter, "export_events") or hasattr(exporter, "export")):
        raise ConfigError(
            f"exporters: {name!r}",
            f"{type(exporter).__qualname__} is not a LogRecordExporter: it has no export method",
            "Name another exporter, or report it to its author.",
        )
    return exporter


def exporter_class(name: str) -> Any:
    """Return what builds the exporter of a name; it may check its settings (`check`).

    Raises ConfigError that says what to install or to correct.
    """
    return _import(_find(name, EXPORTER_GROUPS, "exporters"))


def load_processor(name: str) -> Any:
    """Return the processor that is installed under a name, or that `module:attribute` names.

    A class is called without arguments; a function is the processor itself.
    Raises ConfigError that says what to install or to correct.
    """
    found = _import(_find(name, (PROCESSOR_GROUP,), "processors"))
    return found() if isinstance(found, type) else found


def extension(place: str) -> Any:
    """Return what is plugged in at a place of `_EXTENSIONS`; imported now, not before."""
    return resolve_name(_EXTENSIONS[place])


def installed_exporters() -> set[str]:
    """The names that installed distributions offer; imports none of them."""
    return set(_by_name(EXPORTER_GROUPS))


def installed() -> list[ExporterInfo]:
    """List every exporter of the installed distributions, by name; imports each of them."""
    points = _by_name(EXPORTER_GROUPS)
    return [_describe(point, points[name]) for name in sorted(points) for point in points[name]]


def _describe(point: EntryPoint, same_name: list[EntryPoint]) -> ExporterInfo:
    distribution, version = _distribution(point)
    status = problem = ""
    first = same_name[0]
    rivals = [each for each in same_name if each.group == point.group]
    if first.group != point.group and first.value != point.value:
        status, problem = "hidden", _hidden(point, first)
    elif len(rivals) > 1:
        status, problem = "duplicate", _duplicate(point.name, "exporters", rivals).args[0]
    else:
        try:
            _import(point)
        except ConfigError as error:
            status, problem = "broken", f"{error.problem}. {error.fix}"
    return ExporterInfo(point.name, point.group, distribution, version, status or "ok", problem)


def _by_name(groups: tuple[str, ...]) -> dict[str, list[EntryPoint]]:
    """All entry points by name, each name's in the order of the groups."""
    points: dict[str, list[EntryPoint]] = {}
    for point in _points(groups, tuple(_places())):
        points.setdefault(point.name, []).append(point)
    return points


@lru_cache(maxsize=8)
def _points(groups: tuple[str, ...], _: tuple[tuple[str, int], ...]) -> tuple[EntryPoint, ...]:
    """Read the metadata of all distributions: 30 ms where many are installed, so once."""
    return tuple(_distinct(groups))


def _places() -> Iterator[tuple[str, int]]:
    """Each directory of the path, and when a distribution last came or went there."""
    for entry in sys.path:
        try:
            yield entry, Path(entry).stat().st_mtime_ns
        except OSError:
            yield entry, 0


def _distinct(groups: tuple[str, ...]) -> Iterator[EntryPoint]:
    """Skip what is seen twice because one distribution is on the path twice."""
    seen = set()
    for group in groups:
        for point in entry_points(group=group):
            key = (group, point.name, point.value, _distribution(point)[0])
            if key not in seen:
                seen.add(key)
                yield point


def _distribution(point: EntryPoint) -> tuple[str, str]:
    return (point.dist.name, point.dist.version) if point.dist else ("unknown", "")


def _find(name: str, groups: tuple[str, ...], setting: str) -> EntryPoint:
    if ":" in name:
        return EntryPoint(name=name, value=name, group=groups[0])
    points = _by_name(groups)
    if name not in points:
        raise _none(name, setting, list(points))
    first = [point for point in points[name] if point.group == points[name][0].group]
    if len(first) > 1:
        raise _duplicate(name, setting, first)
    return first[0]


def _none(name: str, setting: str, known: list[str]) -> ConfigError:
    near = get_close_matches(name, known, 1)
    listing = ", ".join(sorted(known)) or "none: is realm-telemetry itself installed?"
    first = f"Did you mean {near[0]!r}? " if near else ""
    return ConfigError(
        f"{setting}: {name!r}",
        "no installed distribution offers it",
        f"{first}Install the distribution that does, or use one of these: {listing}",
    )


def _duplicate(name: str, setting: str, points: list[EntryPoint]) -> ConfigError:
    offers = " and ".join(f"{_distribution(point)[0]} ({point.value})" for point in points)
    return ConfigError(
        f"{setting}: {name!r}",
        f"{len(points)} distributions offer it: {offers}",
        f"Uninstall one of them, or name the one you mean: {points[0].value!r}",
    )


def _hidden(point: EntryPoint, first: EntryPoint) -> str:
    return (
        f"the name means that of {_distribution(first)[0]}; to use that of"
        f" {_distribution(point)[0]}, name it {point.value!r}"
    )


def _import(point: EntryPoint) -> Callable[..., Any]:
    try:
        return point.load()  # type: ignore[no-any-return]  # importlib.metadata says Any
    except ModuleNotFoundError as error:
        raise _missing(point, error.name or "?") from error
    except Exception as error:  # a plugin's own code may raise anything when imported
        raise ConfigError(
            f"plugin {point.name!r}",
            f"{point.value} cannot be imported ({type(error).__name__}: {error})",
            f"Reinstall or update {_distribution(point)[0]}.",
        ) from error


def _missing(point: EntryPoint, module: str) -> ConfigError:
    extra = next((extra for name, extra in _EXTRAS.items() if module.startswith(name)), None)
    what = f"realm-telemetry[{extra}]" if extra else f"the distribution that has {module!r}"
    return ConfigError(
        f"plugin {point.name!r}",
        f"{point.value} needs the module {module!r}, which is not installed",
        f"Install {what}: pip install '{what}'" if extra else f"Install {what}.",
    )


def read_options(
    setting: str, options: Mapping[str, Any], defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """Return an exporter's options over its defaults.

    Each has to be of its default's type, where that is not None.
    Raises ConfigError that names the option.
    """
    for name, value in options.items():
        if name not in defaults:
            near = get_close_matches(name, defaults, 1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(defaults)}."
            raise ConfigError(f"{setting}.{name}", "there is no such option", hint)
        wanted = type(defaults[name])
        if defaults[name] is not None and not _fits(value, wanted):
            shown = type(value).__name__ if name in _SECRET_OPTIONS else repr(value)
            raise ConfigError(
                f"{setting}.{name}",
                f"needs {wanted.__name__}, got {shown}",
                f"The default is {defaults[name]!r}.",
            )
    return dict(defaults) | dict(options)


def _fits(value: Any, wanted: type) -> bool:
    if wanted is float:
        return type(value) in (int, float)
    return type(value) is wanted
