"""Queries of the log away from the event loop, each with a deadline.

A query ends when its deadline passes or its client leaves, wherever in the engine it is then, and
its thread is free for the next one. What is no query (decoding a body, loading a snapshot) has
threads of its own, so that neither waits for the other.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, Generic, TypeVar

from starlette.types import ASGIApp, Receive, Scope, Send

from realm_telemetry.errors import LogError
from realm_telemetry.log.engine import Log, Reader, Snapshot
from realm_telemetry.log.errors import LogInterruptedError
from realm_telemetry.log.filters import InvalidFilterError
from realm_telemetry.service.errors import ApiError

T = TypeVar("T")

WORK_THREADS: Final = 2

PATIENCE_S: Final = 0.05
"""How long a query runs before somebody watches whether its client leaves."""

_AGAIN_S: Final = 0.02
"""Between interruptions: one that meets no running statement has no effect."""

_CLOSE_S: Final = 2.0
"""How long the end of the service waits for queries that were ended."""

_receive: ContextVar[Receive | None] = ContextVar("realm_receive", default=None)


class ClientWatch:
    """Middleware: lets the queries of a request notice that its client has left."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        token = _receive.set(receive)
        try:
            await self._app(scope, receive, send)
        finally:
            _receive.reset(token)


async def _client_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class _Query(Generic[T]):
    """A query on its way through one of the threads, and how to end it from outside.

    reader: the caller's own; None asks that of the thread.
    """

    future: "Future[T]"

    def __init__(self, ask: Callable[[Reader], T], reader: Reader | None = None) -> None:
        self._ask = ask
        self.reader = reader
        self._lock = threading.Lock()
        self._running: Reader | None = None
        self._stopped = False

    def run(self, reader: Reader) -> T:
        """Ask, in a thread. Raises LogInterruptedError."""
        with self._lock:
            if self._stopped:
                raise LogInterruptedError("the query was ended before it began")
            self._running = reader
        try:
            return self._ask(reader)
        finally:
            # Under the lock, so that the next query of this reader is not the one interrupted.
            with self._lock:
                self._running = None

    def stop(self) -> None:
        """End it, and look again until it has ended; on the event loop."""
        if self.future.done() or self.future.cancel():
            return
        self.interrupt()
        asyncio.get_running_loop().call_later(_AGAIN_S, self.stop)

    def interrupt(self) -> None:
        """End the statement that runs now, if one does."""
        with self._lock:
            self._stopped = True
            if self._running is not None:
                self._running.interrupt()


class ReaderPool:
    """A few threads that read the log, each with a reader; further queries wait their turn.

    timeout_s: for a query, with its wait for a thread.
    """

    def __init__(self, log: Log, threads: int, timeout_s: float) -> None:
        self._log = log
        self._timeout_s = timeout_s
        self._of_thread = threading.local()
        self._readers: set[Reader] = set()
        self._active: set[_Query[Any]] = set()
        self._queries = ThreadPoolExecutor(threads, thread_name_prefix="realm-telemetry-reader")
        self._work = ThreadPoolExecutor(WORK_THREADS, thread_name_prefix="realm-telemetry-work")

    def open(self) -> Reader:
        """A reader of its own, for what takes many steps; the caller closes or discards it."""
        return self._log.reader()

    def discard(self, reader: Reader) -> None:
        """Close a reader of `open` as soon as nothing runs on it."""
        # A copy: threads take out what has ended.
        for query in tuple(self._active):
            if query.reader is reader:
                query.future.add_done_callback(lambda _: reader.close())
                return
        try:
            self._work.submit(reader.close)
        except RuntimeError:  # the service has ended
            reader.close()

    async def run(self, query: Callable[[Snapshot], T]) -> T:
        """Run a query, or several of one snapshot, in one of the threads.

        Raises ApiError: log_unavailable, query_timeout, invalid_parameter.
        """
        return await self._ask(_Query(_in_snapshot(query)), self._timeout_s)

    async def run_long(self, query: Callable[[Snapshot], T]) -> T:
        """As `run`, without a deadline: for what the service itself reads."""
        return await self._ask(_Query(_in_snapshot(query)), None)

    async def step(self, reader: Reader, job: Callable[[], T]) -> T:
        """Run one step with the caller's own reader; raises as `run` does."""
        return await self._ask(_Query(lambda _: job(), reader), self._timeout_s)

    async def work(self, job: Callable[[], T]) -> T:
        """Run a job that is no query, in a thread for such jobs; raises as `run` does."""
        with translated():
            return await asyncio.get_running_loop().run_in_executor(self._work, job)

    async def _ask(self, query: _Query[T], timeout_s: float | None) -> T:
        query.future = self._queries.submit(self._run, query)
        self._active.add(query)
        query.future.add_done_callback(lambda _: self._active.discard(query))
        answer = asyncio.wrap_future(query.future)
        answer.add_done_callback(_note)
        patience = _Patience(answer, timeout_s)
        try:
            with translated():
                return await answer
        except asyncio.CancelledError:
            patience.check()
            raise
        finally:
            patience.end()
            query.stop()

    def _run(self, query: _Query[T]) -> T:
        reader = query.reader or self._own_reader()
        try:
            return query.run(reader)
        except LogInterruptedError:
            # An open cursor of what was ended could still block the reader's next transaction.
            # Who brought another reader discards that one.
            if query.reader is None:
                self._drop_own_reader()
            raise

    def _own_reader(self) -> Reader:
        reader: Reader | None = getattr(self._of_thread, "reader", None)
        if reader is None:
            reader = self._of_thread.reader = self.open()
            self._readers.add(reader)
        return reader

    def _drop_own_reader(self) -> None:
        reader: Reader | None = getattr(self._of_thread, "reader", None)
        if reader is not None:
            self._of_thread.reader = None
            self._readers.discard(reader)
            reader.close()

    def close(self) -> None:
        """End what runs, and take no further queries."""
        self._queries.shutdown(wait=False, cancel_futures=True)
        self._work.shutdown(wait=False, cancel_futures=True)
        deadline = time.monotonic() + _CLOSE_S
        while self._active and time.monotonic() < deadline:
            for query in tuple(self._active):
                query.interrupt()
            time.sleep(_AGAIN_S / 2)
        # To close a connection under a statement that still runs would end the process.
        if not self._active:
            for reader in tuple(self._readers):
                reader.close()


def _in_snapshot(query: Callable[[Snapshot], T]) -> Callable[[Reader], T]:
    def ask(reader: Reader) -> T:
        with reader.snapshot() as log:
            return query(log)

    return ask


class _Patience:
    """Gives an answer up when its deadline passes or its client leaves; for quick ones a timer."""

    def __init__(self, answer: "asyncio.Future[Any]", timeout_s: float | None) -> None:
        self._answer = answer
        self._timeout_s = timeout_s
        self._problem: str | None = None
        self._watch: asyncio.Task[None] | None = None
        loop = asyncio.get_running_loop()
        self._look = loop.call_later(PATIENCE_S, self._begin_to_watch)
        self._late = None if timeout_s is None else loop.call_later(timeout_s, self._give_up)

    def _begin_to_watch(self) -> None:
        receive = _receive.get()
        if receive is not None and not self._answer.done():
            self._watch = asyncio.ensure_future(_client_left(receive))
            self._watch.add_done_callback(self._left)

    def _left(self, watch: "asyncio.Future[None]") -> None:
        _note(watch)
        if not watch.cancelled():
            self._cancel("The client left before its answer was there.")

    def _give_up(self) -> None:
        self._cancel(f"The query took over {self._timeout_s:g} s.")

    def _cancel(self, problem: str) -> None:
        if not self._answer.done():
            self._problem = problem
            self._answer.cancel()

    def check(self) -> None:
        """Raise ApiError query_timeout if it was given up here, and not by who waits for it."""
        if self._problem is not None:
            raise ApiError("query_timeout", self._problem) from None

    def end(self) -> None:
        """Wait no longer."""
        self._look.cancel()
        if self._late is not None:
            self._late.cancel()
        if self._watch is not None:
            self._watch.cancel()


def _note(future: "asyncio.Future[T]") -> None:
    """Look at an outcome that nobody waits for any more, or asyncio complains of it."""
    if not future.cancelled():
        future.exception()


@contextmanager
def translated() -> Iterator[None]:
    """Raise errors of the log, and of filters, as ApiError."""
    try:
        yield
    except (LogError, OSError) as error:
        raise ApiError("log_unavailable", f"The log cannot be read: {error}") from error
    except InvalidFilterError as error:
        raise ApiError(
            "invalid_parameter", f"{error.parameter}: {error.message}.", error.hint
        ) from None
