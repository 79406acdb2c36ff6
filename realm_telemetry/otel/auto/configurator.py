"""The configurator of `opentelemetry-instrument`: ours beside whatever else is chosen.

It sets up only what the user named of ours. All else is left to the configurator that would have
done it, and nothing is touched that somebody has set up before: a LoggerProvider, or `configure()`,
which a program may also call later and then has its own way.
"""

import logging
import os
import sys
from importlib.metadata import entry_points
from typing import Any

from opentelemetry._logs import get_logger_provider, set_logger_provider
from opentelemetry.instrumentation.environment_variables import OTEL_PYTHON_DISTRO
from opentelemetry.sdk._configuration import _BaseConfigurator, _OTelSDKConfigurator

from realm_telemetry.config import load_settings
from realm_telemetry.errors import ConfigError, warn_once
from realm_telemetry.integrations import logging as realm_logging
from realm_telemetry.otel.auto.choice import Choice, chosen, without_ours
from realm_telemetry.otel.auto.config_file import file_resource, read_file
from realm_telemetry.otel.auto.names import DISTRO, our_exporters
from realm_telemetry.otel.auto.spooling import SpoolingProcessor
from realm_telemetry.otel.sdk import LoggerProvider, Resource
from realm_telemetry.producer import api as telemetry

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
    """Hear what the program logs, unless OpenTelemetry's own handler does or nobody should."""
    wanted = os.environ.get(LOGGING_VARIABLE, "").strip().lower() != "false"
    if not _set_up_here or not wanted or realm_logging.installed() is not None:
        return
    handlers = logging.getLogger().handlers
    if not any(type(handler).__module__.startswith("opentelemetry.") for handler in handlers):
        realm_logging.install(beside=True)


def _choice() -> Choice:
    if "realm_telemetry.shipper" in sys.orig_argv:  # it delivers, and has nothing to tell
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
