"""Build the processors of a pipeline from its manifest."""

from collections.abc import Callable, Mapping
from typing import Any

from realm_telemetry.delivery.report import Reporter
from realm_telemetry.errors import ConfigError
from realm_telemetry.event import Event
from realm_telemetry.plugins import load_processor
from realm_telemetry.processors import KindMetadataProcessor, ProcessorChain, ResourceProcessor
from realm_telemetry.processors.redaction import RedactionProcessor
from realm_telemetry.shipper.manifest import Manifest

Process = Callable[[Event], Event | None]


def build_chain(
    manifest: Manifest,
    resources: ResourceProcessor,
    objects: Mapping[str, Any],
    report: Reporter,
) -> tuple[ProcessorChain, list[Callable[[], None]]]:
    """Return the chain, and what to call at the end.

    The order is kind metadata, resource, redaction, then the user's as they are named.
    objects: processors to use for some names, in place of what is installed.
    """
    built_in: list[tuple[str, Callable[[Event], Event]]] = [
        ("kind_metadata", KindMetadataProcessor()),
        ("resource", resources),
        ("redaction", RedactionProcessor(manifest.redact)),
    ]
    endings: list[Callable[[], None]] = []
    own = [(name, _load(name, objects, resources, endings)) for name in manifest.processors]

    def failed(name: str, error: BaseException) -> None:
        report.problem(
            f"processor {name}",
            f"processor {name} fails: {error!r}. Events pass without it and are marked; mend it"
            " and restart the programs that use it.",
        )

    return ProcessorChain(built_in, own, failed), endings


def _load(
    name: str,
    objects: Mapping[str, Any],
    resources: ResourceProcessor,
    endings: list[Callable[[], None]],
) -> Process:
    try:
        found = objects[name] if name in objects else load_processor(name)
    except ConfigError as error:
        return _raising(error)
    if not hasattr(found, "on_emit"):
        return found  # type: ignore[no-any-return]  # plugins are of any type
    endings.append(found.shutdown)
    return _adapted(found, resources)


def _raising(error: ConfigError) -> Process:
    """Stand in for a processor that cannot be loaded: events are marked as with one that fails."""

    def process(event: Event) -> Event:
        raise error

    return process


def _adapted(processor: Any, resources: ResourceProcessor) -> Process:
    """Let an OpenTelemetry log record processor see events as log records."""
    from realm_telemetry.otel import apply_log_record_processor
    from realm_telemetry.otel.sdk import Resource

    latest: tuple[str, Resource] = ("", Resource({}))

    def process(event: Event) -> Event:
        nonlocal latest
        producer, resource = latest
        if producer != event.producer:
            resource = Resource(dict(resources.resource(event.producer)))
            latest = event.producer, resource
        return apply_log_record_processor(processor, [event], resource)[0]

    return process
