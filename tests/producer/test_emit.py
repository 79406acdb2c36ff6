"""emit, bound and what becomes of odd arguments."""

import math
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import realm_telemetry as realm
from realm_telemetry.spool.frames import decode_event
from realm_telemetry.spool.reader import SpoolReader
from realm_telemetry.values.details import MAX_EVENT_BYTES


def spooled(producer: realm.Telemetry) -> list[realm.Event]:
    """All events in the spool, as the shipper would decode them."""
    assert producer.pipeline_dir is not None
    reader = SpoolReader(producer.pipeline_dir / producer.producer)
    frames = reader.read(100_000)
    reader.close()
    return [decode_event(f.payload, producer.producer, f.number) for f in frames if f.format == 1]


def test_emit_returns_the_event_that_is_spooled(producer: realm.Telemetry) -> None:
    """Complete, with id, time, channel and severity."""
    event = realm.emit("checkpoint_saved", step=183_000, loss=0.234, path="ckpt/183000")
    assert spooled(producer) == [event]
    assert event.message == "Checkpoint 183,000 saved (loss: 0.2340)"
    assert (event.channel, event.severity) == ("checkpoint", "success")
    assert event.id == producer.producer + "0000000000000001"
    assert event.run_id == "r0"


def test_the_typed_helper_is_the_same_event(producer: realm.Telemetry) -> None:
    """Only time and number differ."""
    generic = realm.emit("checkpoint_saved", step=1, loss=0.5, path="a")
    typed = realm.checkpoint_saved(step=1, loss=0.5, path="a")
    assert typed.details == generic.details
    assert (typed.message, typed.channel) == (generic.message, generic.channel)


def test_every_argument_reaches_the_event(producer: realm.Telemetry) -> None:
    """Fields join the details and win over them."""
    event = realm.emit(
        "note",
        "Anything",
        channel="debug",
        severity="warning",
        details={"a": 1, "b": {"c": [1, 2]}},
        hero_id="dio",
        campaign_id="c1",
        source="s",
        webhooks=["https://example.org/hook"],
        a=2,
    )
    assert spooled(producer) == [event]
    assert event.details == {"a": 2, "b": {"c": [1, 2]}}
    assert (event.channel, event.severity) == ("debug", "warning")
    assert (event.hero_id, event.campaign_id, event.source) == ("dio", "c1", "s")
    assert event.webhooks == ("https://example.org/hook",)


def test_not_a_number_and_infinity_become_text(producer: realm.Telemetry) -> None:
    """JSON has neither; the message still renders."""
    event = realm.checkpoint_saved(step=1, loss=math.nan, path="x")
    other = realm.emit("note", "n", a=math.inf, b=-math.inf)
    assert event.details["loss"] == "NaN"
    assert other.details == {"a": "Infinity", "b": "-Infinity"}
    assert spooled(producer) == [event, other]


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
def test_a_lone_surrogate_is_made_safe(producer: realm.Telemetry, text: str) -> None:
    """It cannot be encoded as UTF-8, in a value, a message or a key."""
    event = realm.emit("note", text, value=text, details={text: text})
    assert event.number == 1
    assert spooled(producer) == [event]


def test_an_event_over_the_limit_is_cut_and_marked(producer: realm.Telemetry) -> None:
    """Largest first; below the limit nothing is touched."""
    small = realm.emit("note", "n", text="x" * (MAX_EVENT_BYTES - 3000))
    large = realm.emit("note", "n", text="x" * (MAX_EVENT_BYTES + 1), keep=7)
    assert len(small.details["text"]) == MAX_EVENT_BYTES - 3000
    assert len(large.details["text"]) < MAX_EVENT_BYTES
    assert large.details["keep"] == 7
    assert large.details["realm.truncated"] == ["text"]
    assert spooled(producer) == [small, large]


def test_bound_adds_its_fields_inside_only(producer: realm.Telemetry) -> None:
    """Nested, the inner wins; an event's own win over both."""
    with realm.bound(hero_id="dio", run_id="r7", phase=1):
        outer = realm.emit("note", "n")
        with realm.bound(hero_id="iggy", phase=2, more=True):
            inner = realm.emit("note", "n", hero_id="own", phase=3)
    after = realm.emit("note", "n")
    assert (outer.hero_id, outer.run_id, outer.details) == ("dio", "r7", {"phase": 1})
    assert (inner.hero_id, inner.details) == ("own", {"phase": 3, "more": True})
    assert (after.hero_id, after.run_id, after.details) == (None, "r0", {})


@pytest.mark.anyio
async def test_bound_keeps_to_its_asyncio_task(producer: realm.Telemetry) -> None:
    """Two tasks that interleave do not see each other's fields."""
    events: list[realm.Event] = []

    async def work(name: str) -> None:
        with realm.bound(task=name):
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
                events.append(realm.emit("note", name))

    async with anyio.create_task_group() as group:
        group.start_soon(work, "a")
        group.start_soon(work, "b")
    assert len(events) == 10
    assert all(event.details["task"] == event.message for event in events)


def test_threads_share_one_numbering(producer: realm.Telemetry) -> None:
    """Numbers 1 to 4,000, each once."""
    threads = [
        threading.Thread(target=lambda: [realm.emit("note", "n") for _ in range(1000)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [event.number for event in spooled(producer)] == list(range(1, 4001))


@pytest.mark.parametrize("argument", [{"severity": "bad"}, {"channel": "nowhere"}])
def test_a_programmers_mistake_raises_under_pytest(
    producer: realm.Telemetry, argument: dict[str, str]
) -> None:
    """So that a test suite finds it."""
    with pytest.raises(realm.InvalidEventError, match="is none of"):
        realm.emit("note", "n", **argument)  # type: ignore[arg-type]


def test_outside_pytest_a_mistake_warns_once_and_records(
    producer: realm.Telemetry, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The kind's own severity stands in; the warning says where."""
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    events = [realm.emit("job_failed", "n", severity="terrible") for _ in range(2)]
    assert [event.severity for event in events] == ["error", "error"]
    warning = capfd.readouterr().err
    assert warning.count("'terrible' is none of info, success, warning, error") == 1
    assert "test_emit.py" in warning


def test_ids_that_are_no_text_become_text(producer: realm.Telemetry) -> None:
    """People number their heroes and runs; the log has text for both."""
    own = realm.emit("note", "n", hero_id=7, campaign_id=0, source=Path("a"))  # type: ignore[arg-type]
    with realm.bound(hero_id=8, campaign_id=9, run_id=10, source=11):  # type: ignore[arg-type]
        inherited = realm.emit("note", "n")
    assert (own.hero_id, own.campaign_id, own.source) == ("7", "0", "a")
    assert (inherited.hero_id, inherited.campaign_id) == ("8", "9")
    assert (inherited.run_id, inherited.source) == ("10", "11")
    assert spooled(producer) == [own, inherited]


def test_webhooks_may_be_one_address_and_are_always_text(producer: realm.Telemetry) -> None:
    """One address is not taken for a list of letters."""
    single = realm.emit("note", "n", webhooks="https://example.org/hook")
    odd = realm.emit("note", "n", webhooks=[5])  # type: ignore[list-item]
    assert single.webhooks == ("https://example.org/hook",)
    assert odd.webhooks == ("5",)
    assert spooled(producer) == [single, odd]
    with pytest.raises(realm.InvalidEventError, match="webhooks must be a list"):
        realm.emit("note", "n", webhooks=5)  # type: ignore[arg-type]


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("not shown")


def test_what_cannot_be_shown_is_recorded_all_the_same(
    producer: realm.Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As kind, message or id; a value's own code may raise anything."""
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    stand_in = "<Unshowable that cannot be shown>"
    events = [
        realm.emit(Unshowable(), "n"),  # type: ignore[arg-type]
        realm.emit("note", Unshowable()),  # type: ignore[arg-type]
        realm.emit("note", "n", hero_id=Unshowable()),  # type: ignore[arg-type]
    ]
    assert (events[0].kind, events[1].message, events[2].hero_id) == (stand_in,) * 3
    assert spooled(producer) == events


def test_an_unknown_kind_is_recorded_as_system_info(producer: realm.Telemetry) -> None:
    """Never refused."""
    event = realm.emit("what_is_this", x=1)
    assert (event.channel, event.severity) == ("system", "info")
    assert spooled(producer) == [event]


def test_a_registered_kind_has_its_channel_and_message(producer: realm.Telemetry) -> None:
    """And the log has an event of it."""
    realm.register_kind(
        "norm_exploded", channel="training", severity="warning", message="Norm {norm:.1f}"
    )
    event = realm.emit("norm_exploded", norm=12.345)
    assert (event.channel, event.severity) == ("training", "warning")
    assert event.message == "Norm 12.3"


def test_the_active_span_is_in_the_event(producer: realm.Telemetry) -> None:
    """Trace and span id as hex; without a span, none."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    before = realm.emit("note", "n")
    with TracerProvider().get_tracer("t").start_as_current_span("s") as span:
        event = realm.emit("note", "n")
    context = span.get_span_context()
    assert event.trace_id == trace.format_trace_id(context.trace_id)
    assert event.span_id == trace.format_span_id(context.span_id)
    assert event.trace_flags == int(context.trace_flags)
    assert (before.trace_id, before.span_id) == (None, None)
    assert spooled(producer) == [before, event]


FORBIDDEN = (
    "opentelemetry",
    "httpx",
    "google.protobuf",
    "sqlite3",
    "rich",
    "click",
    "starlette",
    "uvicorn",
    "numpy",
)


@pytest.mark.processes
def test_the_producer_path_imports_nothing_heavy(tmp_path: Path) -> None:
    """Neither OpenTelemetry, httpx, protobuf, SQLite nor a web framework."""
    code = (
        "import sys, realm_telemetry as realm\n"
        f"realm.configure(service_name='x', home={str(tmp_path)!r}, shipper='none')\n"
        "realm.training_step(step=1, loss=0.5)\n"
        "realm.flush(0.01); realm.shutdown()\n"
        f"print([m for m in {FORBIDDEN!r} if m in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"


class Lazy:
    """A proxy of something that is not there."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        raise RuntimeError("nothing to stand for")


class Unequal(str):
    """Text that cannot be compared."""

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not comparable")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [Lazy, lambda: Unequal("error")])
def test_no_argument_raises_what_its_own_code_raises(producer: realm.Telemetry, make: Any) -> None:
    """Django's lazy objects ask what they stand for when somebody asks for their class."""
    value = make()
    with realm.bound(run_id=value, hero_id=value):
        realm.emit("note", "in a block", x=value, details=None)
    for name in ("details", "channel", "severity", "hero_id", "source", "webhooks"):
        with suppress(realm.InvalidEventError):  # a mistake raises under pytest
            realm.emit("note", name, **{name: value})
    with suppress(realm.InvalidEventError):
        realm.log(value)
    assert spooled(producer)[0].message == "in a block"
