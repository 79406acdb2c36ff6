"""Between spool and log: kind metadata, resource, redaction, and processors of your own."""

from realm_telemetry.processors.chain import (
    FAILED_KEY,
    KindMetadataProcessor,
    Processor,
    ProcessorChain,
    ResourceProcessor,
)

__all__ = [
    "FAILED_KEY",
    "KindMetadataProcessor",
    "Processor",
    "ProcessorChain",
    "ResourceProcessor",
]
