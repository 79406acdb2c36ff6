"""What `bound` adds to events, by context: who is in which block, however blocks are left.

A block is often left elsewhere than it was entered: an async generator that a `break` leaves is
closed by a task of the event loop, a FastAPI dependency runs its two halves in two threads, blocks
end in another order than they began. The variable of one context cannot be reset from another. So a
block knows whose it is, the asyncio task's or else the thread's, and the context that still has a
block which was left elsewhere drops it when it is looked at next.
"""

import threading
from contextlib import ContextDecorator
from contextvars import ContextVar, Token
from sys import modules
from types import TracebackType
from typing import Any, Final, NamedTuple

from realm_telemetry.config import MAX_RUN_ID_CHARS
from realm_telemetry.values.details import clean_details, text_or_none


class Fields(NamedTuple):
    """What one block adds."""

    hero_id: str | None
    campaign_id: str | None
    run_id: str | None
    source: str | None
    details: dict[str, Any]


_NOTHING: Final = Fields(None, None, None, None, {})


class Block:
    """One entry into a `bound` block.

    abandoned: it was left elsewhere, and the context of its owner may have it still.
    entered: what only the context that entered it takes back.
    """

    __slots__ = ("abandoned", "entered", "owner")

    entered: "Token[Bound | None]"

    def __init__(self) -> None:
        self.owner = _owner()
        self.abandoned = False


class Bound:
    """What all blocks around an event add to it, the innermost block last.

    run_id: as a block said; None for that of the process.
    """

    __slots__ = ("block", "campaign_id", "details", "hero_id", "outer", "own", "run_id", "source")

    def __init__(
        self, outer: "Bound | None" = None, own: Fields | None = None, block: Block | None = None
    ) -> None:
        self.outer, self.own, self.block = outer, own, block
        around: Fields | Bound = outer or (_NOTHING if block is None else base)
        inside = own or _NOTHING
        self.hero_id: str | None = inside.hero_id or around.hero_id
        self.campaign_id: str | None = inside.campaign_id or around.campaign_id
        # Never that of `base`: a run may begin inside the block.
        self.run_id: str | None = inside.run_id or (outer.run_id if outer else None)
        self.source: str | None = inside.source or around.source
        self.details: dict[str, Any] = {**around.details, **inside.details}


base: Final = Bound()
"""What events carry outside any block."""
current: Final[ContextVar[Bound | None]] = ContextVar("realm_bound", default=None)
any_abandoned = False
"""Whether `settled` has to be asked at all: no block has been left elsewhere in most programs."""


def settled(found: Bound) -> Bound:
    """Drop the blocks that were left elsewhere from what this context has."""
    me = _owner()
    chain = _chain(found)
    kept = [
        each
        for each in chain
        if each.block is None or not (each.block.abandoned and each.block.owner == me)
    ]
    return found if len(kept) == len(chain) else _rebuild(kept) or base


def _chain(found: Bound | None) -> list[Bound]:
    """The blocks around, the innermost first."""
    chain = []
    while found is not None and found.block is not None:
        chain.append(found)
        found = found.outer
    return chain


def _rebuild(chain: list[Bound]) -> Bound | None:
    """Make what these blocks add what this context has."""
    rebuilt: Bound | None = None
    for each in reversed(chain):
        rebuilt = Bound(rebuilt, each.own, each.block)
    current.set(rebuilt)
    return rebuilt


def _owner() -> object:
    """The asyncio task that runs, else the thread."""
    asyncio = modules.get("asyncio")
    if asyncio is not None:
        try:
            task = asyncio.current_task()
        except (RuntimeError, AttributeError):  # no event loop runs here; or it is half imported
            task = None
        if task is not None:
            return task
    return threading.get_ident()


class bound(ContextDecorator):  # noqa: N801 - used like a function: a context, a decorator
    """Add fields to everything emitted inside the block, in this thread or asyncio task.

    fields: join the details; an event's own win. Blocks nest, the inner one wins. A block may be
    left in any context, in any order, and twice: that raises nothing, and its fields are gone.
    """

    def __init__(
        self,
        *,
        hero_id: str | None = None,
        campaign_id: str | None = None,
        run_id: str | None = None,
        source: str | None = None,
        **fields: Any,
    ) -> None:
        run = as_id(run_id)
        run = run and run[:MAX_RUN_ID_CHARS]
        names = (as_id(hero_id), as_id(campaign_id), run, as_id(source))
        self._own = Fields(*names, clean_details(fields)[0])
        self._entered: list[Block] = []

    def __enter__(self) -> None:
        block = Block()
        self._entered.append(block)
        block.entered = current.set(Bound(current.get(), self._own, block))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._entered:
            _leave(self._entered.pop())

    def _recreate_cm(self) -> "bound":
        """Return a fresh one for each call of a decorated function."""
        fresh = bound()
        fresh._own = self._own
        return fresh


def _leave(block: Block) -> None:
    global any_abandoned
    found = current.get()
    here = block.owner == _owner()
    if here and found is not None and found.block is block:
        try:
            current.reset(block.entered)
        except ValueError:  # in a copy of the context, and the owner's has it still
            block.abandoned = any_abandoned = True
        current.set(found.outer)
        return
    chain = _chain(found)
    kept = [each for each in chain if each.block is not block]
    if len(kept) < len(chain):
        _rebuild(kept)
    if not here or len(kept) == len(chain):
        block.abandoned = any_abandoned = True


def as_id(value: Any) -> str | None:
    """A hero's id and the like as text; text is looked at only if it does not encode."""
    return value if value is None or type(value) is str else text_or_none(value)
