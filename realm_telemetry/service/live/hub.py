"""From the tail to every stream: two feeds, their views, and when they are flushed.

Everything here belongs to the event loop's thread.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Literal

from realm_telemetry.event import Event
from realm_telemetry.kinds.catalog import is_routine
from realm_telemetry.log.rows import LogRow
from realm_telemetry.service.live.frames import (
    Coalescer,
    coalesced_frame,
    event_frame,
    replayed_frame,
)
from realm_telemetry.service.live.ring import Ring
from realm_telemetry.service.live.view import View
from realm_telemetry.service.settings import ServiceSettings

RoutineMode = Literal["all", "latest"]

_COALESCE_PER_STREAM_S: Final = 0.00008
_MAX_COALESCE_S: Final = 0.025
"""Each wake costs one write per stream, so with many streams frames are gathered for longer."""


class Feed:
    """A ring and the views of it; without a view the ring is empty and costs nothing."""

    def __init__(self, settings: ServiceSettings, cursor: int) -> None:
        self.ring = Ring(cursor, settings.ring_frames, settings.ring_bytes)
        self._views: dict[str, View] = {}

    @property
    def watched(self) -> bool:
        """Whether any stream reads this feed."""
        return bool(self._views)

    def enter(self, key: str, matches: Callable[[Event], bool] | None) -> View:
        """Share the view of these filters; `key` says whether filters are the same."""
        view = self._views.get(key)
        if view is None:
            view = self._views[key] = View(self.ring, matches)
        view.users += 1
        return view

    def leave(self, key: str) -> None:
        """Give a view back; the last one to leave clears the ring."""
        view = self._views[key]
        view.users -= 1
        if not view.users:
            del self._views[key]
        if not self._views:
            self.ring.clear()

    def flush(self) -> None:
        """Let every view look at what is new."""
        for view in self._views.values():
            view.flush()


class Hub:
    """Encodes what the tail brings, once, into the feeds that somebody reads."""

    def __init__(self, settings: ServiceSettings, log_id: str, cursor: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._settings = settings
        self._coalescer = Coalescer(settings.routine_interval_s)
        self._flush_timer: asyncio.TimerHandle | None = None
        self._flushed_at = 0.0
        self.log_id = self.name = log_id
        self.cursor = cursor
        self.streams = 0
        self.feeds: dict[RoutineMode, Feed] = {
            "all": Feed(settings, cursor),
            "latest": Feed(settings, cursor),
        }

    def publish(self, rows: Sequence[LogRow]) -> None:
        """Take the next rows of the log."""
        every, latest = self.feeds["all"], self.feeds["latest"]
        watched = every.watched or latest.watched
        for cursor, event in ((row.cursor, row.event) for row in rows) if watched else ():
            routine = is_routine(event.kind)
            if every.watched or not routine:
                self._append(cursor, event, routine)
            if routine and latest.watched:
                self._coalesce(cursor, event)
        self.cursor = rows[-1].cursor
        for feed in (every, latest):
            feed.ring.pass_over(self.cursor)
            if not feed.watched:
                feed.ring.clear()
        if watched:
            self._schedule_flush()

    def show_again(self, rows: Sequence[LogRow]) -> None:
        """Send rows that the streams may have had before; no stream's cursor moves."""
        watched = [feed for feed in self.feeds.values() if feed.watched]
        for row in rows if watched else ():
            data = replayed_frame(row.cursor, row.event)
            for feed in watched:
                feed.ring.append(row.cursor, row.event, data)
        if watched:
            self._schedule_flush()

    def _append(self, cursor: int, event: Event, routine: bool) -> None:
        data = event_frame(self.name, cursor, event)
        if self.feeds["all"].watched:
            self.feeds["all"].ring.append(cursor, event, data)
        if self.feeds["latest"].watched and not routine:
            self.feeds["latest"].ring.append(cursor, event, data)

    def _coalesce(self, cursor: int, event: Event) -> None:
        ready = self._coalescer.offer(cursor, event, self._loop.time())
        if ready is not None:
            self._append_coalesced(ready.cursor, ready.event, ready.coalesced)

    def _append_coalesced(self, cursor: int, event: Event, coalesced: int) -> None:
        ring = self.feeds["latest"].ring
        data = coalesced_frame(
            self.name, cursor, event, coalesced, resumable=cursor >= ring.watermark
        )
        ring.append(cursor, event, data)

    def _schedule_flush(self) -> None:
        if self._flush_timer is None:
            gather_s = self._settings.stream_coalesce_s
            gather_s = max(gather_s, min(_MAX_COALESCE_S, self.streams * _COALESCE_PER_STREAM_S))
            at = max(self._loop.time(), self._flushed_at + gather_s)
            self._flush_timer = self._loop.call_at(at, self._flush)

    def _flush(self) -> None:
        self._flush_timer = None
        self._flushed_at = now_s = self._loop.time()
        for one in self._coalescer.due(now_s):
            if self.feeds["latest"].watched:
                self._append_coalesced(*one)
        for feed in self.feeds.values():
            feed.flush()
        if self._coalescer.holding:
            self._schedule_flush()

    def close(self) -> None:
        """Stop flushing."""
        if self._flush_timer is not None:
            self._flush_timer.cancel()
