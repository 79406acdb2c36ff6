"""The wire format between hosts: events as EventBatch, and its BatchAnswer."""

from realm_telemetry.wire.codec import (
    CONTENT_TYPE,
    decode_answer,
    decode_batch,
    encode_answer,
    encode_batch,
    read_batch,
)
from realm_telemetry.wire.fields import MAX_BATCH_BYTES, MAX_BATCH_EVENTS
from realm_telemetry.wire.messages import Batch, BatchAnswer, BatchProducer, Rejected

__all__ = [
    "CONTENT_TYPE",
    "MAX_BATCH_BYTES",
    "MAX_BATCH_EVENTS",
    "Batch",
    "BatchAnswer",
    "BatchProducer",
    "Rejected",
    "decode_answer",
    "decode_batch",
    "encode_answer",
    "encode_batch",
    "read_batch",
]
