"""Blocks of `bound` and `lifecycle` that are left elsewhere, out of order or twice."""

import asyncio
import contextvars
import threading
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

import realm_telemetry as realm


def hero() -> str | None:
    return realm.emit("note", "n").hero_id


@pytest.fixture(autouse=True)
def configured(producer: realm.Telemetry) -> realm.Telemetry:
    return producer


def stream() -> Generator[str | None, None, None]:
    with realm.bound(hero_id="dio", phase=1):
        yield hero()
        yield hero()


async def async_stream() -> AsyncGenerator[str | None, None]:
    with realm.bound(hero_id="dio", phase=1):
        yield hero()
        yield hero()


def test_a_generator_closed_in_another_context_raises_nothing() -> None:
    opened = stream()
    context = contextvars.copy_context()
    assert context.run(next, opened) == "dio"
    opened.close()
    assert hero() is None
    assert context.run(hero) is None


def test_a_generator_that_is_entered_here_and_closed_elsewhere_leaves_no_fields() -> None:
    opened = stream()
    assert next(opened) == "dio"
    thread = threading.Thread(target=opened.close)
    thread.start()
    thread.join()
    assert hero() is None
    assert realm.emit("note", "n").details == {}


def test_an_async_generator_closed_by_another_task_leaves_no_fields() -> None:
    async def main() -> list[str | None]:
        opened = async_stream()
        seen = [await anext(opened)]
        await asyncio.create_task(opened.aclose())
        with realm.bound(phase=2):
            return [*seen, hero()]

    assert asyncio.run(main()) == ["dio", None]


def test_an_async_generator_left_by_break_leaves_no_fields() -> None:
    async def main() -> str | None:
        async for _ in async_stream():
            break
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return hero()

    assert asyncio.run(main()) is None


def test_a_block_left_in_a_copy_of_its_context_leaves_no_fields() -> None:
    """As frameworks do that run the two halves of a fixture in copies."""
    outer, inner = realm.bound(hero_id="outer"), realm.bound(hero_id="h")
    with outer:
        inner.__enter__()
        contextvars.copy_context().run(inner.__exit__, None, None, None)
        assert realm.emit("note").hero_id == "outer"
        inner.__exit__(None, None, None)
        assert realm.emit("note").hero_id == "outer"
    assert realm.emit("note").hero_id is None


def test_a_task_begun_inside_a_block_keeps_its_fields() -> None:
    async def main() -> str | None:
        async def later() -> str | None:
            await asyncio.sleep(0.01)
            return hero()

        with realm.bound(hero_id="dio"):
            task = asyncio.create_task(later())
        return await task

    assert asyncio.run(main()) == "dio"


def test_halves_in_two_threads_of_a_pool_raise_nothing() -> None:
    """As the dependencies of FastAPI with `yield` run."""
    block = realm.bound(hero_id="dio")
    with ThreadPoolExecutor(2) as pool:
        pool.submit(contextvars.copy_context().run, block.__enter__).result()
        pool.submit(contextvars.copy_context().run, block.__exit__, None, None, None).result()
        assert pool.submit(hero).result() is None
    assert hero() is None


def test_blocks_that_end_in_the_order_they_began() -> None:
    outer, inner = realm.bound(hero_id="dio", a=1), realm.bound(campaign_id="c", b=2)
    outer.__enter__()
    inner.__enter__()
    outer.__exit__(None, None, None)
    between = realm.emit("note", "n")
    assert (between.hero_id, between.campaign_id, between.details) == (None, "c", {"b": 2})
    inner.__exit__(None, None, None)
    after = realm.emit("note", "n")
    assert (after.hero_id, after.campaign_id, after.details) == (None, None, {})


def test_a_block_left_twice_ends_no_other() -> None:
    block = realm.bound(hero_id="iggy")
    with realm.bound(hero_id="dio"):
        block.__enter__()
        block.__exit__(None, None, None)
        block.__exit__(None, None, None)
        assert hero() == "dio"
    assert hero() is None


def test_one_block_may_be_entered_again_and_inside_itself() -> None:
    block = realm.bound(hero_id="dio")
    with ExitStack() as stack:
        stack.enter_context(block)
        stack.enter_context(block)
        assert hero() == "dio"
    assert hero() is None
    with block:
        assert hero() == "dio"


def test_a_decorated_function_is_a_block_at_each_call() -> None:
    @realm.bound(hero_id="dio")
    def work(depth: int) -> str | None:
        return work(depth - 1) if depth else hero()

    assert work(3) == "dio"
    assert hero() is None


def test_a_lifecycle_left_twice_or_never_entered_ends_once() -> None:
    job = realm.lifecycle("job", job_id="1")
    before = realm.get_telemetry().emitted  # type: ignore[union-attr]
    job.__exit__(None, None, None)
    with job:
        pass
    job.__exit__(None, None, None)
    assert realm.get_telemetry().emitted - before == 2  # type: ignore[union-attr]
