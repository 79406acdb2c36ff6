"""Ring, view, coalescer, live view and throttle: each by itself."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm_telemetry.delivery.sources import RecentOfLog
from realm_telemetry.log.engine import open_log
from realm_telemetry.log.rows import LogRow
from realm_telemetry.log.sqlite.reader import LogReader
from realm_telemetry.log.sqlite.writer import LogWriter
from realm_telemetry.service.live.frames import Coalescer, thin_batch
from realm_telemetry.service.live.latest import LiveView
from realm_telemetry.service.live.ring import Ring
from realm_telemetry.service.live.tail import Tail
from realm_telemetry.service.live.view import MAX_PIECE_BYTES, View, join_pieces

from .conftest import make_event


def fill(ring: Ring, first: int, last: int, size: int = 10) -> None:
    """Append frames whose bytes tell their cursor."""
    for cursor in range(first, last + 1):
        ring.append(cursor, make_event(cursor), str(cursor).encode().ljust(size))


def cursors(data: bytes) -> list[int]:
    """The cursors in joined frames of `fill`."""
    return [int(part) for part in data.split()]


@given(
    frames=st.lists(st.integers(1, 50), max_size=300),
    max_frames=st.integers(1, 40),
    max_bytes=st.integers(1, 400),
)
def test_a_ring_keeps_its_bounds_and_its_newest_frames(
    frames: list[int], max_frames: int, max_bytes: int
) -> None:
    ring = Ring(0, max_frames, max_bytes)
    for cursor, size in enumerate(frames, 1):
        ring.append(cursor, make_event(cursor), bytes(size))
        kept = ring.frames(ring.tail, ring.head)
        assert len(kept) == len(ring) <= max_frames
        assert ring.bytes == sum(len(frame.data) for frame in kept)
        assert ring.bytes <= max_bytes or len(ring) == 1
        assert [frame.cursor for frame in kept] == [*range(ring.floor + 1, cursor + 1)]
        assert ring.position_after(ring.floor) == ring.tail
        assert ring.position_after(cursor) == ring.head


def test_an_empty_ring_still_knows_up_to_where_it_has_seen() -> None:
    ring = Ring(5, 10, 1000)
    fill(ring, 6, 8)
    ring.clear()
    ring.pass_over(12)
    ring.clear()
    assert (len(ring), ring.bytes, ring.floor) == (0, 0, 12)
    assert ring.holds_after(12)
    assert not ring.holds_after(11)


def test_a_view_gives_every_frame_once_in_bounded_pieces() -> None:
    ring = Ring(0, 1000, 10_000_000)
    view = View(ring, None)
    fill(ring, 1, 100, size=MAX_PIECE_BYTES // 10)
    position, seen, pieces = 0, [], 0
    while position < ring.head:
        data, (position, cursor) = view.piece(position)
        assert len(data) <= MAX_PIECE_BYTES
        seen += cursors(data)
        pieces += 1
        assert cursor == seen[-1]
    assert seen == [*range(1, 101)]
    assert pieces == 10


def test_streams_at_the_same_place_get_the_very_same_bytes() -> None:
    ring = Ring(0, 100, 10_000)
    view = View(ring, lambda event: event.number % 2 == 0)
    fill(ring, 1, 10)
    assert view.piece(0).data is view.piece(0).data
    assert cursors(view.piece(0).data) == [2, 4, 6, 8, 10]


@pytest.mark.anyio
async def test_a_waiting_stream_is_woken_by_wanted_frames_only() -> None:
    ring = Ring(0, 100, 10_000)
    view = View(ring, lambda event: event.number > 3)
    waiting = asyncio.ensure_future(view.next_place("one"))
    await asyncio.sleep(0)
    fill(ring, 1, 3)
    view.flush()
    await asyncio.sleep(0)
    assert not waiting.done()
    fill(ring, 4, 4)
    view.flush()
    place = await waiting
    assert cursors(view.piece(place.position).data) == [4]
    assert place.cursor == 3


@pytest.mark.anyio
async def test_a_stream_that_no_longer_waits_leaves_nothing_behind() -> None:
    view = View(Ring(0, 100, 10_000), None)
    waiting = asyncio.ensure_future(view.next_place("one"))
    await asyncio.sleep(0)
    view.nudge("one")
    assert (await waiting).position == 0
    waiting = asyncio.ensure_future(view.next_place("one"))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.sleep(0)
    assert view._waiting == {}


def offered(count: int, step_s: float, interval_s: float) -> Iterator[tuple[int, int]]:
    """(cursor, coalesced) of all that comes out of a coalescer, offered a step at steady times."""
    coalescer = Coalescer(interval_s)
    for cursor in range(1, count + 1):
        now = cursor * step_s
        for one in coalescer.due(now):
            yield one.cursor, one.coalesced
        if one_now := coalescer.offer(cursor, make_event(cursor, kind="training_step"), now):
            yield one_now.cursor, one_now.coalesced
    for one in coalescer.due(float("inf")):
        yield one.cursor, one.coalesced


@given(count=st.integers(1, 300), step_ms=st.integers(1, 300))
def test_a_coalescer_accounts_for_every_event_and_ends_with_the_last(
    count: int, step_ms: int
) -> None:
    out = list(offered(count, step_ms / 1000, 0.1))
    assert sum(1 + coalesced for _, coalesced in out) == count
    assert out[-1][0] == count
    assert [cursor for cursor, _ in out] == sorted(cursor for cursor, _ in out)
    assert len(out) <= count * step_ms / 100 + 2


def test_a_replayed_batch_keeps_the_last_of_each_kind_and_producer() -> None:
    kinds = ["training_step", "note", "training_step", "worker_heartbeat", "training_step"]
    rows = [(n, make_event(n, kind=kind)) for n, kind in enumerate(kinds, 1)]
    kept = thin_batch(rows, frozenset({1, 3, 4, 5}))
    assert [(one.cursor, one.coalesced) for one in kept] == [(2, 0), (4, 0), (5, 2)]


def test_the_live_view_is_bounded_by_routine_series() -> None:
    live = LiveView()
    for number in range(1, 1501):
        event = make_event(number, kind="training_step", producer=f"{number:016x}")
        live.add(LogRow(number, event))
    assert len(live.latest_routine()) == 1000
    assert live.latest_routine()[0].cursor == 1500
    assert live.last_not_routine() == []


@given(st.lists(st.binary(max_size=40_000), max_size=20))
def test_pieces_join_to_the_whole(frames: list[bytes]) -> None:
    assert b"".join(join_pieces(frames)) == b"".join(frames)


@pytest.mark.anyio
async def test_a_tail_goes_on_after_a_fault_that_nobody_thought_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realm_telemetry.service.live.tail._PAUSE_AFTER_ERROR_S", 0.01)
    failed, taken = asyncio.Event(), asyncio.Queue[int]()
    asyncio.get_running_loop().set_exception_handler(lambda *_: failed.set())

    def take(rows: Sequence[LogRow]) -> None:
        if not failed.is_set():
            raise ZeroDivisionError
        taken.put_nowait(rows[-1].cursor)

    with LogWriter(tmp_path / "log.db") as writer, LogReader(tmp_path / "log.db") as reader:
        tail = Tail(reader, RecentOfLog(), open_log(tmp_path / "log.db").watch(), 0, [take], 0.001)
        tail.start()
        async with asyncio.timeout(10):
            writer.append([make_event(1)])
            await failed.wait()
            writer.append([make_event(2)])
            assert await taken.get() == 2
        tail.stop()
        tail.close()
