"""What passes a relay stays in the shared memory, and a slow target loses nothing."""

import os
import random
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from realm_telemetry.cli.relay import (
    CHUNK_BYTES,
    ENDED,
    NOBODY_READS,
    PASSED_BYTES,
    SIZE_BYTES,
    Passed,
    copy,
)


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def memory(closing: ExitStack) -> int:
    descriptor = os.memfd_create("test")
    closing.callback(os.close, descriptor)
    os.ftruncate(descriptor, SIZE_BYTES)
    return descriptor


def test_what_passed_is_read_from_the_other_side(memory: int) -> None:
    writer, reader = Passed(memory), Passed(memory)
    chance = random.Random(7)
    everything, seen = bytearray(), 0
    for _ in range(400):
        data = chance.randbytes(chance.randrange(1, CHUNK_BYTES))
        writer.put(data)
        everything += data
        if chance.random() < 0.3:
            read, lost = reader.read(seen, chance.randrange(1, 300_000))
            seen += lost
            assert read == everything[seen : seen + len(read)]
            seen += len(read)
    while (found := reader.read(seen, 100_000))[0]:
        assert found[1] == 0
        assert found[0] == everything[seen : seen + len(found[0])]
        seen += len(found[0])
    assert seen == len(everything) == reader.taken


def test_a_reader_that_is_late_is_told_how_much_is_lost(memory: int) -> None:
    passed = Passed(memory)
    for number in range(100):
        passed.put(bytes([number]) * CHUNK_BYTES)
    data, lost = passed.read(0, PASSED_BYTES)
    assert lost == 100 * CHUNK_BYTES - (PASSED_BYTES - CHUNK_BYTES)
    assert len(data) == PASSED_BYTES - CHUNK_BYTES
    assert (data[0], data[-1]) == (100 - len(data) // CHUNK_BYTES, 99)


class Copying:
    """A copy in a thread, from one pipe to another."""

    def __init__(self, memory: int, closing: ExitStack) -> None:
        self.source, self.input = os.pipe()
        self.output, self.target = os.pipe()
        bell = os.eventfd(0)
        for descriptor in (self.source, self.target, bell):
            closing.callback(os.close, descriptor)
        self.passed = Passed(memory)
        self.code: int | None = None
        arguments = (self.source, self.target, self.passed, bell)
        self._thread = threading.Thread(target=self._copy, args=arguments)

    def _copy(self, source: int, target: int, passed: Passed, bell: int) -> None:
        self.code = copy(source, target, passed, bell)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> int | None:
        self._thread.join(60)
        return self.code


def test_a_target_that_does_not_block_loses_nothing(memory: int, closing: ExitStack) -> None:
    """Whoever has the other end of a description can make it so."""
    copying = Copying(memory, closing)
    os.set_blocking(copying.target, False)
    copying.start()
    data = os.urandom(1_000_000)

    def write() -> None:
        os.write(copying.input, data)
        os.close(copying.input)

    writing = threading.Thread(target=write)
    writing.start()
    read = b""
    while len(read) < len(data):
        read += os.read(copying.output, 10_000)
    assert read == data
    writing.join(60)
    assert copying.end() == ENDED
    assert copying.passed.given == copying.passed.taken == len(data)
    os.close(copying.output)


def test_a_target_that_nobody_reads_ends_it_before_a_write(memory: int, closing: ExitStack) -> None:
    copying = Copying(memory, closing)
    os.close(copying.output)
    copying.start()
    assert copying.end() == NOBODY_READS
    os.close(copying.input)
