"""What an exporter has to keep so that no event is lost, doubled, or in anybody's way.

Run all of it with `check_exporter`, or one test per case:

    @pytest.mark.parametrize("case", CASES, ids=str)
    def test_my_exporter(case, tmp_path):
        case(Subject(make=lambda: MyExporter({"path": str(tmp_path / "out")}), ...))
"""

import copy
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from realm_telemetry.errors import ExportError
from realm_telemetry.event import Event
from realm_telemetry.otel import to_log_record
from realm_telemetry.otel.sdk import LogRecordExportResult, Resource
from realm_telemetry.testing.samples import sample_events

FULL_BATCH: Final = 512
_PATIENCE_S: Final = 30.0
"""The largest batch a shipper hands over."""


class ConformanceError(AssertionError):
    """An exporter breaks a rule; the message says which one."""


class Subject(NamedTuple):
    """An exporter under test.

    make: builds a fresh exporter, each time for the same destination.
    delivered: event ids that the destination holds, in order; None where it cannot be asked,
        then less is checked.
    make_broken: builds one whose destination cannot be reached, if there is such a thing.
    """

    make: Callable[[], Any]
    delivered: Callable[[], Sequence[str]] | None = None
    make_broken: Callable[[], Any] | None = None


class Case(NamedTuple):
    """One rule; call it with a Subject."""

    name: str
    rule: str
    check: Callable[[Subject], None]

    def __call__(self, subject: Subject) -> None:
        """Raise ConformanceError unless the rule is kept."""
        try:
            self.check(subject)
        except ConformanceError as error:
            raise ConformanceError(f"{self.name}: {error}\nThe rule: {self.rule}") from None

    def __str__(self) -> str:
        return self.name


def _require(kept: bool, problem: str) -> None:
    if not kept:
        raise ConformanceError(problem)


def _require_delivered(subject: Subject, events: Sequence[Event]) -> None:
    if subject.delivered is not None:
        ids = [event.id for event in events]
        there = [each for each in subject.delivered() if each in set(ids)]
        _require(
            sorted(set(there)) == sorted(set(ids)), f"{len(ids)} sent, {len(set(there))} there"
        )
        _require(len(there) == len(set(there)), "some events are there more than once")
        _require(there == ids, "the order is not that of the batch")


def _export(subject: Subject, *batches: Sequence[Event]) -> None:
    exporter = subject.make()
    try:
        for batch in batches:
            _export_in_time(exporter, batch)
    finally:
        exporter.shutdown()


def _export_in_time(exporter: Any, batch: Sequence[Event]) -> None:
    """Export as a shipper does: what fails for now is tried again, for half a minute."""
    ends_s = time.monotonic() + _PATIENCE_S
    while True:
        try:
            exporter.export_events(batch)
            return
        except ExportError as error:
            if not error.retryable or time.monotonic() > ends_s:
                raise
            time.sleep(min(error.retry_after_s or 0.1, 1.0))


def delivers_in_order(subject: Subject) -> None:
    """When `export_events` returns, all events are safe at the other side, oldest first.

    The shipper moves its cursor then and never sends them again.
    """
    first, second = sample_events(3, 1), sample_events(3, 4)
    _export(subject, first, second)
    _require_delivered(subject, first + second)


def takes_a_resent_batch(subject: Subject) -> None:
    """The same batch again, also from a new process, changes nothing: events go by their id.

    A shipper that was killed after the delivery and before it saved its cursor sends it again.
    """
    events = sample_events(5, 101)
    _export(subject, events, events)
    _export(subject, events)
    _require_delivered(subject, events)


def takes_an_overlapping_batch(subject: Subject) -> None:
    """A resent batch may be cut differently: known events are skipped, new ones taken."""
    events = sample_events(8, 201)
    _export(subject, events[:5])
    _export(subject, events[2:])
    _require_delivered(subject, events)


def takes_an_empty_batch(subject: Subject) -> None:
    """An empty batch is fine and needs no destination."""
    _export(subject, [])


def takes_a_full_batch(subject: Subject) -> None:
    """512 events are one batch."""
    events = sample_events(FULL_BATCH, 1001)
    _export(subject, events)
    _require_delivered(subject, events)


def takes_any_text(subject: Subject) -> None:
    """Text is any Unicode with control characters, keys are any text, numbers reach 2^64-1."""
    texts = [
        "日本 🏰 e\u0301",
        "a\nb\r\tc\x00\x1b[31m",
        "\u2028\u202e\ufeff\U0010ffff",
        '"\\/,;',
        "",
    ]
    events = [_text_event(text, number) for number, text in enumerate(texts, 2**64 - 12)]
    _export(subject, events)
    _require_delivered(subject, events)


def _text_event(text: str, number: int) -> Event:
    details = {text or "key": text, "big": 2**53 + 1, "nan": "NaN", "none": None}
    plain = Event("note", "debug", "info", text, details, number >> 8, "c1" * 8, number)
    return msgspec.structs.replace(plain, source=text, campaign_id=text)


def leaves_events_alone(subject: Subject) -> None:
    """The events belong to the shipper, which hands the same objects to others."""
    events = sample_events(2, 401)
    before = copy.deepcopy([event.details for event in events])
    _export(subject, events)
    _require([event.details for event in events] == before, "details were changed")


def shuts_down_twice(subject: Subject) -> None:
    """`shutdown` is harmless when called again, and on an exporter that was never used."""
    exporter = subject.make()
    exporter.shutdown()
    exporter.shutdown()


def refuses_after_shutdown(subject: Subject) -> None:
    """After `shutdown` events are refused with a retryable ExportError: a later run takes them.

    Returning would count them as delivered, and a final error as undeliverable.
    """
    exporter = subject.make()
    exporter.shutdown()
    try:
        exporter.export_events(sample_events(1, 501))
    except ExportError as error:
        _require(error.retryable, "the ExportError is not retryable")
    else:
        raise ConformanceError("nothing was raised")


def fails_with_export_error(subject: Subject) -> None:
    """A destination out of reach is a retryable ExportError with words for a person.

    By `retryable` the shipper decides whether to retry or to dead-letter.
    """
    if subject.make_broken is None:
        return
    exporter = subject.make_broken()
    try:
        exporter.export_events(sample_events(1, 601))
    except ExportError as error:
        _require(error.retryable, f"the ExportError is not retryable: {error}")
        _require(len(str(error)) > 10, "the ExportError has no message")
    except Exception as error:
        raise ConformanceError(f"it raised {type(error).__name__}: {error}") from error
    else:
        raise ConformanceError("nothing was raised")
    finally:
        exporter.shutdown()


def works_in_a_plain_sdk(subject: Subject) -> None:
    """`export` takes log records and answers SUCCESS, as any OpenTelemetry exporter does."""
    events = sample_events(2, 701)
    records = [to_log_record(event, Resource({"service.name": "plain"})) for event in events]
    exporter = subject.make()
    try:
        result = exporter.export(records)
        _require(result is LogRecordExportResult.SUCCESS, f"`export` answered {result}")
    finally:
        exporter.shutdown()
    _require_delivered(subject, events)


def flushes_in_time(subject: Subject) -> None:
    """`force_flush` answers a bool within its timeout, also before the first event."""
    exporter = subject.make()
    started = time.monotonic()
    try:
        _require(exporter.force_flush(1000) is True, "`force_flush` did not answer True")
        exporter.export_events(sample_events(1, 801))
        _require(exporter.force_flush(1000) is True, "`force_flush` did not answer True")
        _require(time.monotonic() - started < 10, "`force_flush` took longer than it was given")
    finally:
        exporter.shutdown()


CASES: Final[tuple[Case, ...]] = tuple(
    Case(check.__name__, " ".join((check.__doc__ or "").split()), check)
    for check in (
        delivers_in_order,
        takes_a_resent_batch,
        takes_an_overlapping_batch,
        takes_an_empty_batch,
        takes_a_full_batch,
        takes_any_text,
        leaves_events_alone,
        shuts_down_twice,
        refuses_after_shutdown,
        fails_with_export_error,
        works_in_a_plain_sdk,
        flushes_in_time,
    )
)


def check_exporter(
    make: Callable[[], Any],
    delivered: Callable[[], Sequence[str]] | None = None,
    make_broken: Callable[[], Any] | None = None,
) -> None:
    """Check an exporter against every case; the arguments are those of `Subject`.

    Raises ConformanceError, which names every rule that is broken.
    """
    broken = []
    for case in CASES:
        try:
            case(Subject(make, delivered, make_broken))
        except ConformanceError as error:
            broken.append(str(error))
    if broken:
        raise ConformanceError("\n\n".join(broken))
