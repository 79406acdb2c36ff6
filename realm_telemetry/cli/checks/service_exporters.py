"""The exporters that a service runs over its whole log: their settings."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from realm_telemetry.cli.checks.check import Finding, Subject
from realm_telemetry.config import Settings
from realm_telemetry.errors import ConfigError
from realm_telemetry.plugins import ExporterContext, exporter_class

DEFAULT: Final = ("webhook",)


def check_service_exporters(subject: Subject) -> Iterator[Finding]:
    """Let each examine its own settings, where it can."""
    settings = subject.settings
    named = settings.service.get("exporters", DEFAULT)
    names = named if isinstance(named, Sequence) and not isinstance(named, str) else ()
    used = [*names, *(name for name in settings.exporters if name not in names)]
    for name in used:
        if isinstance(name, str):
            yield from _examine(subject, name, wanted=name not in DEFAULT or named is not DEFAULT)


def _examine(subject: Subject, name: str, *, wanted: bool) -> Iterator[Finding]:
    try:
        exporter_class(name)
    except ConfigError as error:
        if wanted and name not in subject.settings.exporters:  # the others are looked at elsewhere
            yield Finding(name, "problem", f"{error.setting}: {error.problem}", error.fix)
        return
    yield from examine_exporter(name, subject.settings, subject.log_id)


def examine_exporter(name: str, settings: Settings, log_id: str | None = None) -> Iterator[Finding]:
    """Let an exporter that can be imported examine its settings; nothing if it does not do that."""
    context = ExporterContext(
        home=settings.home,
        log_path=settings.log_path,
        log_id=log_id,
        service_url=settings.service_url,
        token=settings.token,
        options=settings.options.get(name, {}),
    )
    examine: Any = getattr(exporter_class(name), "examine", None)
    try:
        for level, message, fix in examine(context) if examine else ():
            yield Finding(name, level, message, fix)
    except ConfigError as error:
        yield Finding(name, "problem", f"{error.setting}: {error.problem}", error.fix)
