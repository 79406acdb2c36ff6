"""Queries of the log away from the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from realm_telemetry.errors import LogError
from realm_telemetry.log.engine import Log, Reader, Snapshot
from realm_telemetry.log.filters import InvalidFilterError
from realm_telemetry.service.errors import ApiError

T = TypeVar("T")


class ReaderPool:
    """A few threads that read the log; further queries wait their turn."""

    def __init__(self, log: Log, threads: int) -> None:
        self._log = log
        self._reader = self.open()
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="realm-telemetry-reader")

    def open(self) -> Reader:
        """A reader of its own, for what takes many steps; the caller closes it."""
        return self._log.reader()

    async def run(self, query: Callable[[Snapshot], T]) -> T:
        """Run a query, or several of one snapshot, in one of the threads.

        Raises ApiError: log_unavailable, invalid_parameter.
        """

        def ask() -> T:
            with self._reader.snapshot() as log:
                return query(log)

        return await self.work(ask)

    async def work(self, job: Callable[[], T]) -> T:
        """Run a job in one of the threads; raises as `run` does."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, job)
        except (LogError, OSError) as error:
            raise ApiError("log_unavailable", f"The log cannot be read: {error}") from error
        except InvalidFilterError as error:
            raise ApiError(
                "invalid_parameter", f"{error.parameter}: {error.message}.", error.hint
            ) from None

    def close(self) -> None:
        """Take no further queries; running ones end by themselves."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._reader.close()
