"""The one-line commit: nothing runs inside it, and everything hostile round it loses nothing."""

import ast
import dis
import gc
import inspect
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from realm_telemetry.producer import appenders
from realm_telemetry.spool import writer as writer_module
from realm_telemetry.spool.reader import SpoolReader
from realm_telemetry.spool.segment import SEGMENT_BYTES
from realm_telemetry.spool.writer import MemoryWriter, SpoolWriter

PRODUCER = "00112233445566aa"
COMMITS: list[Callable[..., object]] = [
    SpoolWriter.append,
    SpoolWriter.append_control,
    SpoolWriter._swap,
    MemoryWriter.append,
    appenders.hand_over,
]


@pytest.fixture
def fast_switching() -> Iterator[None]:
    """Threads change places as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def commit_line(code: CodeType) -> list[dis.Instruction]:
    """The instructions of the line that compares and commits: the one with several stores."""
    lines: dict[int, list[dis.Instruction]] = {}
    line = 0
    for instruction in dis.get_instructions(code):
        positions = instruction.positions
        line = positions.lineno if positions and positions.lineno else line
        lines.setdefault(line, []).append(instruction)
    source, first = inspect.getsourcelines(code)
    numbers = [
        n for n in lines if 0 <= n - first < len(source) and source[n - first].count(";") > 0
    ]
    assert len(numbers) == 1, "one commit line a function"
    return lines[numbers[0]]


@pytest.mark.parametrize("function", COMMITS, ids=lambda f: f.__qualname__)
def test_the_commit_line_has_no_call_and_no_backward_jump(function: Callable[..., object]) -> None:
    """CPython runs other code at calls and backward jumps: there must be none within the line."""
    instructions = commit_line(function.__code__)
    stores = [i for i, x in enumerate(instructions) if x.opname.startswith("STORE")]
    inside = [x.opname for x in instructions[: stores[-1]]]
    forbidden = ("CALL", "JUMP_BACKWARD", "BUILD_", "IMPORT", "SEND", "YIELD", "FOR_ITER")
    assert not [name for name in inside if name.startswith(forbidden)]


def test_the_source_keeps_each_commit_on_one_line() -> None:
    """A formatter that split it would let a tracer in; the count guards against that."""
    tree = ast.parse(inspect.getsource(writer_module))
    compact = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and node.body[0].lineno == node.lineno
    ]
    assert len(compact) == 4


def collect(writer: SpoolWriter, stop: threading.Event, found: list[tuple[int, bytes]]) -> None:
    reader = SpoolReader(writer.directory)
    while True:
        stopping = stop.is_set()
        frames = reader.read(500)
        found += [(frame.number, frame.payload) for frame in frames if frame.format == 1]
        if frames:
            reader.acknowledge(frames[-1].position)
        elif stopping:
            break
    reader.close()


def run_hostile(
    writer: SpoolWriter, emitters: list[Callable[[], None]], acknowledged: dict[int, bytes]
) -> list[tuple[int, bytes]]:
    """Run emitters with a live reader beside them; what the reader found."""
    found: list[tuple[int, bytes]] = []
    stop = threading.Event()
    reading = threading.Thread(target=collect, args=(writer, stop, found))
    reading.start()
    threads = [threading.Thread(target=emitter) for emitter in emitters[1:]]
    for thread in threads:
        thread.start()
    emitters[0]()
    for thread in threads:
        thread.join()
    stop.set()
    reading.join()
    return found


def make_emitter(
    writer: SpoolWriter, name: str, count: int, acknowledged: dict[int, bytes]
) -> Callable[[], None]:
    def emitter() -> None:
        for index in range(count):
            payload = f"{name}:{index}".encode() + b"x" * (index % 90)
            acknowledged[writer.append(payload)] = payload

    return emitter


def check_complete(found: list[tuple[int, bytes]], acknowledged: dict[int, bytes]) -> None:
    assert [number for number, _ in found] == list(range(1, len(found) + 1))
    assert dict(found) == acknowledged


@pytest.mark.usefixtures("fast_switching")
def test_four_threads_and_a_live_reader_lose_nothing(tmp_path: Path) -> None:
    """Every number is given once, in order, across many segments."""
    writer = SpoolWriter(tmp_path / "pipe", PRODUCER)
    acknowledged: dict[int, bytes] = {}
    emitters = [make_emitter(writer, f"t{i}", 8_000, acknowledged) for i in range(4)]
    found = run_hostile(writer, emitters, acknowledged)
    assert len(acknowledged) == 32_000
    check_complete(found, acknowledged)
    writer.close()


@pytest.mark.usefixtures("fast_switching")
def test_signal_handlers_that_emit_lose_nothing(tmp_path: Path) -> None:
    """A handler runs between any two lines of an append, and appends itself."""
    writer = SpoolWriter(tmp_path / "pipe", PRODUCER)
    acknowledged: dict[int, bytes] = {}
    fired: list[Any] = []

    def handler(signum: int, frame: object) -> None:
        payload = f"signal:{len(fired)}".encode()
        fired.append(1)
        acknowledged[writer.append(payload)] = payload

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
    try:
        emitters = [make_emitter(writer, f"t{i}", 15_000, acknowledged) for i in range(2)]
        found = run_hostile(writer, emitters, acknowledged)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(fired) > 20
    check_complete(found, {n: p for n, p in acknowledged.items() if n <= len(found)})
    writer.close()


def test_finalizers_that_emit_lose_nothing(tmp_path: Path) -> None:
    """The collector runs at allocations: each collects a cycle whose `__del__` appends."""
    writer = SpoolWriter(tmp_path / "pipe", PRODUCER)
    acknowledged: dict[int, bytes] = {}

    class Loud:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            payload = f"del:{len(acknowledged)}".encode()
            acknowledged[writer.append(payload)] = payload

    def emitter() -> None:
        for index in range(5_000):
            Loud()
            payload = f"main:{index}".encode()
            acknowledged[writer.append(payload)] = payload
        gc.collect()

    thresholds = gc.get_threshold()
    gc.set_threshold(7, 2, 2)
    try:
        found = run_hostile(writer, [emitter], acknowledged)
    finally:
        gc.set_threshold(*thresholds)
    assert len(acknowledged) > 6_000
    check_complete(found, acknowledged)
    writer.close()


def test_a_tracer_that_emits_at_every_line_loses_nothing(tmp_path: Path) -> None:
    """`sys.settrace` calls between lines: the commit line finds its position taken."""
    writer = SpoolWriter(tmp_path / "pipe", PRODUCER)
    acknowledged: dict[int, bytes] = {}
    inside = False

    def tracer(frame: object, event: str, argument: object) -> object:
        nonlocal inside
        code = frame.f_code  # type: ignore[attr-defined]
        if event == "line" and not inside and code is SpoolWriter.append.__code__:
            inside = True
            if len(acknowledged) % 3:  # not always, or the outer append would never get its turn
                payload = f"trace:{len(acknowledged)}".encode()
                acknowledged[writer.append(payload)] = payload
            else:
                acknowledged[writer.append(b"third")] = b"third"
                sys.settrace(None)
            inside = False
        return tracer

    for index in range(300):
        payload = f"main:{index}".encode()
        sys.settrace(tracer)  # type: ignore[arg-type]
        number = writer.append(payload)
        sys.settrace(None)
        acknowledged[number] = payload
    found: list[tuple[int, bytes]] = []
    stop = threading.Event()
    stop.set()
    collect(writer, stop, found)
    check_complete(found, acknowledged)
    writer.close()


@pytest.mark.processes
def test_interrupts_anywhere_lose_nothing_acknowledged(tmp_path: Path) -> None:
    """KeyboardInterrupt, swallowed, may cost the event it hit, and never another."""
    script = Path(__file__).parent / "interrupted_emitter.py"
    command = [sys.executable, str(script), str(tmp_path), PRODUCER]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    attempts, interrupts, *acknowledged = map(int, answer)
    reader = SpoolReader(tmp_path / PRODUCER)
    reader.finish()
    numbers = [frame.number for frame in reader.read(100_000)]
    assert interrupts > 5
    assert numbers == list(range(1, len(numbers) + 1))
    assert set(acknowledged) <= set(numbers)
    assert len(numbers) <= attempts


@pytest.mark.usefixtures("fast_switching")
def test_the_owner_checked_lock_loses_nothing_either(tmp_path: Path) -> None:
    """What free-threaded builds use, run here under the global lock."""
    writer = SpoolWriter(tmp_path / "pipe", PRODUCER)
    writer.append_one_at_a_time()
    acknowledged: dict[int, bytes] = {}
    emitters = [make_emitter(writer, f"t{i}", 3_000, acknowledged) for i in range(4)]
    found = run_hostile(writer, emitters, acknowledged)
    check_complete(found, acknowledged)
    writer.close()


def test_a_prepared_spare_takes_over_without_a_gap(tmp_path: Path) -> None:
    """The keeper makes the next segment once the first is half full."""
    writer = SpoolWriter(tmp_path / "pipe", PRODUCER)
    writer.prepare_spare()
    assert writer.spare is None, "not before it is half full"
    acknowledged = {writer.append(b"x" * 1000): b"x" * 1000 for _ in range(200)}
    writer.prepare_spare()
    assert writer.spare is not None
    assert writer.spare.hard_end == SEGMENT_BYTES
    acknowledged |= {writer.append(b"y" * 1000): b"y" * 1000 for _ in range(200)}
    assert writer.spare is None
    found: list[tuple[int, bytes]] = []
    stop = threading.Event()
    stop.set()
    collect(writer, stop, found)
    check_complete(found, acknowledged)
    writer.close()
