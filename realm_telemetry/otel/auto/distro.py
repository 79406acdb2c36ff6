"""The distro of `opentelemetry-instrument`: stands back for any other that is installed."""

import os
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from opentelemetry.environment_variables import OTEL_LOGS_EXPORTER
from opentelemetry.instrumentation.distro import BaseDistro  # type: ignore[attr-defined]
from opentelemetry.instrumentation.environment_variables import (
    OTEL_PYTHON_CONFIGURATOR,
    OTEL_PYTHON_DISTRO,
)

from realm_telemetry.otel.auto.choice import DISTRO, anything_chosen

DEFAULT_EXPORTERS = "battle_log,realm_service"


class RealmDistro(BaseDistro):  # type: ignore[misc]  # its module is not checked
    """Chooses our configurator, and with `OTEL_PYTHON_DISTRO=realm` our exporters as the default.

    OpenTelemetry takes whichever distro it finds first. Where ours is not asked for by name and
    another is installed, that one does the work.
    """

    def __init__(self) -> None:
        self._other = None if _asked_for() else _first_other()

    def _configure(self, **kwargs: Any) -> None:
        if self._other is not None:
            self._other.configure(**kwargs)
        if _asked_for():
            os.environ.setdefault(OTEL_LOGS_EXPORTER, DEFAULT_EXPORTERS)
        if anything_chosen():
            # It goes through any other configurator, so that choosing it takes nothing away.
            os.environ.setdefault(OTEL_PYTHON_CONFIGURATOR, DISTRO)

    def load_instrumentor(self, entry_point: EntryPoint, **kwargs: Any) -> None:
        """Instrument a library, in the other distro's way if there is one."""
        if self._other is not None:
            self._other.load_instrumentor(entry_point, **kwargs)
        else:
            super().load_instrumentor(entry_point, **kwargs)


def _asked_for() -> bool:
    return os.environ.get(OTEL_PYTHON_DISTRO) == DISTRO


def _first_other() -> BaseDistro | None:
    for point in entry_points(group="opentelemetry_distro"):
        if point.name != DISTRO:
            found = point.load()()
            if isinstance(found, BaseDistro):
                return found
    return None
