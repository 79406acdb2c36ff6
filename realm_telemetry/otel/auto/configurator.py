"""The configurator of `opentelemetry-instrument`: sets up our exporters beside any others.

It sets up only those of our exporters that the user named. Everything else is left to the
configurator that would have run without it. It changes no LoggerProvider that is set up already,
and a later `configure()` in the program replaces what it has set up.
Records of any logger become events in our spool through a log record processor.
"""

import logging
import os
import sys
import threading
from importlib.metadata import entry_points
from typing import Any

from opentelemetry._logs import get_logger_provider, set_logger_provider
from opentelemetry.instrumentation.environment_variables import OTEL_PYTHON_DISTRO
from opentelemetry.sdk._configuration import _BaseConfigurator, _OTelSDKConfigurator

from realm_telemetry.config import load_settings
from realm_telemetry.errors import ConfigError, warn_once
from realm_telemetry.integrations import logging as realm_logging
from realm_telemetry.integrations.logging import THREAD_PREFIX
from realm_telemetry.otel import from_log_record
from realm_telemetry.otel.auto.choice import DISTRO, Choice, chosen, our_exporters, without_ours
from realm_telemetry.otel.auto.config_file import file_resource, read_file
from realm_telemetry.otel.sdk import (
    LoggerProvider,
    LogRecordProcessor,
    ReadableLogRecord,
    ReadWriteLogRecord,
    Resource,
)
from realm_telemetry.producer import api as telemetry
from realm_telemetry.producer.api import get_telemetry
from realm_telemetry.producer.emission import keep_clean
from realm_telemetry.producer.telemetry import Telemetry

_IDENTITY = frozenset({"service.name", "service.instance.id"})


class SpoolingProcessor(LogRecordProcessor):
    """Keeps each record as an event; the shipper does the rest, in a process of its own.

    What its producer's resource says already is not repeated in every event.
    """

    def __init__(self) -> None:
        self._last: tuple[object, Telemetry | None, Resource] = (None, None, Resource({}))

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Keep a record; never raises."""
        if threading.current_thread().name.startswith(THREAD_PREFIX):
            return  # what a delivery logs must not cause the next
        try:
            beyond = self._beyond_producer(log_record.resource)
            scope = log_record.instrumentation_scope
            keep_clean(from_log_record(ReadableLogRecord(log_record.log_record, beyond, scope)))
        except Exception as error:  # noqa: BLE001 - a logging program must not see it
            warn_once(f"spooling {type(error)}", f"a log record was not kept: {error!r}")

    def _beyond_producer(self, resource: Resource | None) -> Resource:
        """The resource without what the producer's hello frame has."""
        known, active, beyond = self._last
        telemetry = get_telemetry()
        if known is resource and active is telemetry:
            return beyond
        known = {} if telemetry is None else telemetry.resource()
        attributes = {} if resource is None else dict(resource.attributes)
        left = {
            key: value
            for key, value in attributes.items()
            if key not in _IDENTITY and _plain(value) != known.get(key)
        }
        self._last = (resource, telemetry, Resource(left))
        return self._last[2]

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait until all is in the log and with every exporter."""
        telemetry = get_telemetry()
        return telemetry is None or telemetry.flush(timeout_millis / 1e3)

    def shutdown(self) -> None:
        """Nothing to do: the producer ends by itself, after what is logged at exit."""


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


LOGGING_VARIABLE = "OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED"
_set_up_here = False


class RealmConfigurator(_BaseConfigurator):
    """Sets up our spool for the exporters of ours that are named, and leaves the rest to others."""

    def _configure(self, **kwargs: Any) -> None:
        other = _other_configurator()
        choice = _choice()
        if not choice.exporters:
            if other is not None:
                other.configure(**kwargs)  # type: ignore[no-untyped-call]
            return
        taken = isinstance(get_logger_provider(), LoggerProvider)
        try:
            _set_the_rest_up(choice, other or _OTelSDKConfigurator(), kwargs)  # type: ignore[no-untyped-call]
        finally:  # that an exporter of another's is not installed does not concern ours
            _begin(choice, taken)


def _set_the_rest_up(choice: Choice, other: _BaseConfigurator, arguments: dict[str, Any]) -> None:
    if choice.file is not None:
        _apply_file(choice.file)
        return
    with without_ours():
        other.configure(**arguments)  # type: ignore[no-untyped-call]


def after_instrumenting() -> None:
    """Take what the program logs, unless OpenTelemetry's own handler does or it is switched off."""
    wanted = os.environ.get(LOGGING_VARIABLE, "").strip().lower() != "false"
    if not _set_up_here or not wanted or realm_logging.installed() is not None:
        return
    handlers = logging.getLogger().handlers
    if not any(type(handler).__module__.startswith("opentelemetry.") for handler in handlers):
        realm_logging.install()


def _choice() -> Choice:
    if "realm_telemetry.shipper" in sys.orig_argv:  # it delivers and has no records of its own
        return Choice([], {})
    try:
        return chosen()
    except (ConfigError, ImportError) as error:
        warn_once("no code", f"nothing of ours is set up: {error}")
        return Choice([], {})


def _other_configurator() -> _BaseConfigurator | None:
    """The configurator that would be in charge without ours: of the named distro, or the first."""
    points = [p for p in entry_points(group="opentelemetry_configurator") if p.name != DISTRO]
    points.sort(key=lambda point: point.name != os.environ.get(OTEL_PYTHON_DISTRO))
    return points[0].load()() if points else None


def _begin(choice: Choice, taken: bool) -> None:
    """Configure this process, and let the loggers of the new LoggerProvider end in our spool."""
    global _set_up_here
    provider = get_logger_provider()
    resource: Resource | None = getattr(provider, "resource", None)
    try:
        telemetry.configure_provisionally(**_arguments(choice, resource))
    except (ConfigError, OSError) as error:
        warn_once("no code", f"nothing of ours is set up: {error}")
        return
    _set_up_here = telemetry.get_telemetry() is not None
    if taken:
        warn_once(
            "provider taken",
            "a LoggerProvider was set before; it is left as it is, and its records do not come to"
            f" {', '.join(choice.exporters)}. Add a processor with these exporters to it.",
        )
    elif isinstance(provider, LoggerProvider):
        provider.add_log_record_processor(SpoolingProcessor())


def _arguments(choice: Choice, resource: Resource | None) -> dict[str, Any]:
    attributes = {} if resource is None else dict(resource.attributes)
    attributes.pop("service.instance.id", None)  # the producer's id is that
    service = str(attributes.pop("service.name", ""))
    arguments: dict[str, Any] = {
        "exporters": choice.exporters,
        "resource": attributes,
        "service_name": None if service.startswith("unknown_service") else service or None,
    }
    if choice.options:
        arguments["options"] = load_settings().options | choice.options
    return arguments


def _apply_file(path: str) -> None:
    """Put a configuration file into force, but for its exporters that are ours."""
    try:
        from opentelemetry.configuration import configure_sdk, load_config_file
    except ImportError:
        warn_once(
            "configuration file",
            f"of {path} only the resource and the exporters of realm_telemetry are in force; "
            "`pip install opentelemetry-configuration` for the rest.",
        )
        resource = Resource.create(file_resource(read_file(path, os.environ)))
        set_logger_provider(LoggerProvider(resource))
        return
    config = load_config_file(path)
    ours = our_exporters()
    if config.logger_provider is not None:
        config.logger_provider.processors = [
            processor
            for processor in config.logger_provider.processors
            if not _names_ours(processor, ours)
        ]
    configure_sdk(config)


def _names_ours(processor: Any, ours: dict[str, str]) -> bool:
    kind = processor.batch or processor.simple
    named = getattr(getattr(kind, "exporter", None), "additional_properties", None) or {}
    return any(name in ours for name in named)
