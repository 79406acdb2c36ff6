"""Which of our exporters the user has chosen, by OTEL_LOGS_EXPORTER or in a configuration file."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import Any, Final, NamedTuple

from opentelemetry.environment_variables import OTEL_LOGS_EXPORTER

from realm_telemetry.errors import ConfigError
from realm_telemetry.otel.auto.config_file import file_exporters, read_file
from realm_telemetry.plugins import EXPORTER_GROUPS


def our_exporters() -> dict[str, str]:
    """Return the names in `opentelemetry_logs_exporter` that our shipper can work with.

    Each with its name in `realm_telemetry.exporters`, which may be shorter: `realm_jsonl` is our
    `jsonl`. What stands in the first group alone is another's, even if its name is one of ours.
    """
    own = {point.value: point.name for point in entry_points(group=EXPORTER_GROUPS[0])}
    theirs = entry_points(group=EXPORTER_GROUPS[1])
    return {point.name: own[point.value] for point in theirs if point.value in own}


DISTRO: Final = "realm"
"""The name of our distro and of our configurator."""


CONFIG_FILE_VARIABLES: Final = ("OTEL_CONFIG_FILE", "OTEL_EXPERIMENTAL_CONFIG_FILE")


class Choice(NamedTuple):
    """exporters: ours that are named, by our own names; options: of those that have some.

    file: the configuration file that names them; None if the environment does.
    """

    exporters: list[str]
    options: dict[str, dict[str, Any]]
    file: str | None = None


def chosen(environ: Mapping[str, str] = os.environ) -> Choice:
    """Read the user's choice; where there is a configuration file it alone counts.

    Raises ConfigError for a file that cannot be read.
    """
    file = next((environ[name] for name in CONFIG_FILE_VARIABLES if environ.get(name)), None)
    ours = our_exporters()
    if file is not None:
        options = {
            ours[name]: given
            for name, given in file_exporters(read_file(file, environ))
            if name in ours
        }
        return Choice(list(options), {name: own for name, own in options.items() if own}, file)
    named = [ours[name] for name in _names(environ) if name in ours]
    return Choice(list(dict.fromkeys(named)), {})


def anything_chosen() -> bool:
    """Whether anything of ours is named, as far as it can be read."""
    try:
        return bool(chosen().exporters)
    except (ConfigError, ImportError):  # the configurator says so
        return False


def _names(environ: Mapping[str, str]) -> list[str]:
    return [name.strip() for name in environ.get(OTEL_LOGS_EXPORTER, "").split(",")]


@contextmanager
def without_ours() -> Iterator[None]:
    """Inside, OTEL_LOGS_EXPORTER names only what is not ours: that is for others to set up."""
    before = os.environ.get(OTEL_LOGS_EXPORTER)
    ours = our_exporters()
    rest = [name for name in _names(os.environ) if name and name not in ours]
    os.environ[OTEL_LOGS_EXPORTER] = ",".join(rest) or "none"
    try:
        yield
    finally:
        if before is None:
            del os.environ[OTEL_LOGS_EXPORTER]
        else:
            os.environ[OTEL_LOGS_EXPORTER] = before
