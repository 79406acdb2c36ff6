"""Import paths of version 0.1.0: they work, with a DeprecationWarning that names the new path."""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from importlib.abc import Loader
else:
    # Every program imports this module, and importlib.abc would take longer than the rest of it.
    Loader = object

_RENAMED: Final = """
catalog -> kinds.catalog
console -> kinds.line
kind_rules -> kinds.catalog
kind_table -> kinds.table
messages -> kinds.messages
conversions -> values.conversions
json_fields -> values.json_fields
limits -> values.details
walk -> values.conversions
appenders -> producer.appenders
emission -> producer.emission
instrument -> producer.instrument
telemetry -> producer.api
filesystem -> home
once -> errors
cli.progress -> cli.terminal
sse -> client.sse
retry_after -> delivery.http
unlogged -> delivery.http
pipeline -> shipper
shipper.shift -> shipper.session
shipper.once -> shipper.ship_once
shipper.inside -> shipper.thread
shipper.backoff -> delivery.retry
shipper.bisection -> delivery.retry
shipper.guarded -> delivery.guarded
shipper.recent -> delivery.sources
shipper.report -> delivery.report
shipper.outlet -> delivery.outlet
shipper.delivery -> delivery.delivery
shipper.quarantine -> delivery.quarantine
log.connection -> log.sqlite.connection
log.cursors -> log.exporter_cursors
log.lock -> log.sqlite.lock
log.migrations -> log.sqlite.schema
log.older -> log.sqlite.older
log.pages -> log.sqlite.history
log.producers -> log.sqlite.producers
log.reader -> log.sqlite.reader
log.retention -> log.sqlite.retention
log.schema -> log.sqlite.schema
log.search -> log.sqlite.search
log.series -> log.sqlite.series
log.tail -> log.sqlite.tail
log.upkeep -> log.sqlite.upkeep
log.writer -> log.sqlite.writer
history -> transfer
history.exporting -> transfer.exports
history.output -> transfer.exports
history.writers -> transfer.formats
history.importing -> transfer.imports
history.reports -> transfer.imports
history.lines -> transfer.inputs
history.older_events -> transfer.inputs
history.replaying -> transfer.replay
history.pace -> transfer.replay
history.reading -> transfer.source
state -> folds.state
measures -> folds.metrics
otlp -> otel.otlp
otlp.reading -> otel.otlp.requests
integrations.opentelemetry -> otel.durable
integrations.opentelemetry.durable -> otel.durable.processor
integrations.opentelemetry.distro -> otel.auto.distro
integrations.opentelemetry.configurator -> otel.auto.configurator
integrations.opentelemetry.config_file -> otel.auto.config_file
integrations.opentelemetry.choice -> otel.auto.choice
integrations.opentelemetry.names -> otel.auto.choice
integrations.opentelemetry.spooling -> otel.auto.configurator
older_shapes -> compat.shapes
service.addresses -> service.server
service.headers -> service.pages
service.static -> service.pages
service.throttle -> service.access
service.older_reading -> compat.routes
service.older_stream -> compat.stream
service.older_writing -> compat.routes
service.counts -> service.api.counts
service.events -> service.api.history
service.export -> service.api.export
service.exposition -> service.api.exposition
service.health -> service.api.health
service.history -> service.api.history
service.measured -> service.api.event_metrics
service.metrics -> service.api.metrics
service.openapi -> service.api.openapi
service.parameters -> service.api.parameters
service.state -> service.api.state
service.body -> service.ingest.body
service.otlp -> service.ingest.otlp
service.writing -> service.ingest.writer
service.commit -> service.ingest.writer
service.exporting -> service.exporters
service.folding -> service.folds
service.reading -> service.reader_pool
service.upkeep -> service.core
service.coalesce -> service.live.frames
service.frames -> service.live.frames
service.hub -> service.live.hub
service.prefill -> service.live.latest
service.ring -> service.live.ring
service.sse -> service.live.sse
service.streams -> service.live.streams
service.tail -> service.live.tail
service.view -> service.live.view
"""
"""Old name and new one, both within `realm_telemetry`; a row holds for what is inside it too."""

MEMBERS: Final = {
    "kinds": "kinds.typed",
    "producer": "producer.telemetry",
    "values": "values.details",
}
"""Modules that are packages now, and where the names are that they had."""

ROOT: Final = "realm_telemetry."
RENAMED: Final = dict(row.split(" -> ") for row in _RENAMED.strip().splitlines())


def install() -> None:
    """Make the old paths importable. The packages of `MEMBERS` must have been imported."""
    # Before all others: inside an alias of a package, they would load its modules a second time.
    sys.meta_path.insert(0, Finder())
    for package, new in MEMBERS.items():
        vars(sys.modules[ROOT + package])["__getattr__"] = _member_of(ROOT + package, ROOT + new)


def new_name(old: str) -> str | None:
    """Return the new name of a module, by the longest row that holds for it; None if none does."""
    if not old.startswith(ROOT):
        return None
    known, rest = old.removeprefix(ROOT), ""
    while known not in RENAMED:
        known, _, last = known.rpartition(".")
        if not known:
            return None
        rest = f".{last}{rest}"
    return ROOT + RENAMED[known] + rest


class Finder:
    """Finds modules by their old names."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        new = new_name(fullname)
        return None if new is None else ModuleSpec(fullname, _Renamed(fullname, new))


class Alias(Loader):
    """Loads another module, which is then the same object under both names."""

    def __init__(self, name: str) -> None:
        self._name = name

    def create_module(self, spec: ModuleSpec) -> None:
        """Let the import system make a module, which exec_module replaces."""

    def exec_module(self, module: ModuleType) -> None:
        """Put the other module in the place of this one."""
        sys.modules[module.__name__] = import_module(self._name)


class _Renamed(Alias):
    """Loads a module by its old name, with a warning."""

    def __init__(self, old: str, new: str) -> None:
        super().__init__(new)
        self._text = f"{old} is deprecated; use {new}"

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        _warn(self._text)


def _member_of(package: str, new: str) -> Callable[[str], Any]:
    def __getattr__(name: str) -> Any:  # noqa: N807  # it becomes the package's
        members = vars(import_module(new))
        if name.startswith("_") or name not in members:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        _warn(f"{package}.{name} is deprecated; use {new}.{name}")
        return members[name]

    return __getattr__


def _warn(text: str) -> None:
    import warnings

    # Frames of the import system do not count: the third is the import or the access.
    warnings.warn(text, DeprecationWarning, stacklevel=3)


# A module of 0.1.0: the process was started before these files were installed.
if hasattr(sys.modules["realm_telemetry"], "once_more"):
    from realm_telemetry.compat.live_upgrade import adopt

    adopt()
