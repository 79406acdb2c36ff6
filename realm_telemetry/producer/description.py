"""What a producer says of itself: the manifest of its pipeline, and messages in its spool."""

import os
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from realm_telemetry.config import Settings, variable_marks
from realm_telemetry.kinds.catalog import KindSpec
from realm_telemetry.producer import runs
from realm_telemetry.producer.context import base
from realm_telemetry.shipper.manifest import Manifest, exporter_environment
from realm_telemetry.shipper.process_end import identity
from realm_telemetry.values.details import force_clean
from realm_telemetry.version import __version__


def manifest_of(settings: Settings) -> Manifest:
    """Return the manifest of the pipeline that settings describe."""
    return Manifest(
        version=__version__,
        python=sys.executable,
        home=str(settings.home),
        log_path=str(settings.log_path),
        search_path=str(settings.search_path),
        service_url=settings.service_url,
        token=settings.token,
        exporters=[_name(item) for item in settings.exporters],
        processors=[_name(item) for item in settings.processors],
        options=_own_options(settings),
        redact=list(settings.redact),
        import_path=[entry for entry in sys.path if entry],
        environment=exporter_environment(os.environ),
        service_name=settings.service_name,
        created_unix_nano=time.time_ns(),
    )


def resource_of(settings: Settings, producer: str) -> dict[str, Any]:
    """Return the resource of a producer's events, named as OpenTelemetry's conventions do."""
    rank = os.environ.get("RANK") or os.environ.get("SLURM_PROCID")
    named = {
        "service.name": settings.service_name,
        "service.instance.id": producer,
        "host.name": os.uname().nodename,
        "process.pid": os.getpid(),
        "process.executable.name": Path(sys.argv[0] or sys.executable).name,
        "realm.producer.id": producer,
        "realm.version": __version__,
        "realm.run.id": base.run_id or settings.run_id,
        "realm.rank": int(rank) if rank and rank.isdigit() else rank,
    }
    given = {key: value for key, value in named.items() if value is not None}
    return force_clean(given | settings.resource)[0]


def inherited_by_children(settings: Settings, pipeline_dir: Path | None) -> str:
    """Return what child processes take over, as JSON: the value of `REALM_PIPELINE`."""
    pipeline = {
        "directory": str(pipeline_dir),
        "service_name": settings.service_name,
        "shipper": settings.shipper,
        "environ": variable_marks(os.environ),
    }
    return msgspec.json.encode(pipeline | runs.for_children()).decode()


def hello(producer: str, resource: dict[str, Any], *, parent: str | None) -> dict[str, Any]:
    """Return the message that a spool begins with.

    parent: the producer that this process was forked from, if it was.
    """
    from realm_telemetry.producer.runs import for_hello

    return {
        "type": "hello",
        "producer": producer,
        "resource": resource,
        "forked": parent is not None,
        "parent": parent,
        "time_unix_nano": time.time_ns(),
        "runs": for_hello(),
        **identity(),
    }


def goodbye(emitted: int, dropped: int, goes_on: bool) -> dict[str, Any]:
    """Return the message that a spool ends with.

    goes_on: whether another spool of the process goes on with its runs.
    """
    return {"type": "goodbye", "emitted": emitted, "dropped": dropped, "goes_on": goes_on}


def kind_message(spec: KindSpec) -> dict[str, Any]:
    """Return the message that tells the log of a kind."""
    return {
        "type": "kind",
        "kind": spec.kind,
        "channel": spec.channel,
        "severity": spec.severity,
        "message": spec.template,
        "routine": spec.routine,
    }


def _own_options(settings: Settings) -> dict[str, dict[str, Any]]:
    """The options of what this pipeline uses; other plugins' secrets are no business of its."""
    names = {_name(item) for item in settings.exporters + settings.processors}
    return {name: options for name, options in settings.options.items() if name in names}


def _name(item: Any) -> str:
    return item if isinstance(item, str) else type(item).__name__
