"""Rotation, the cap, damage, and where a spool can be."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm_telemetry.spool import place
from realm_telemetry.spool.control import Control
from realm_telemetry.spool.frames import (
    FORMAT_CONTROL,
    FORMAT_EVENT,
    HEADER_BYTES,
    MAX_PAYLOAD_BYTES,
    decode_control,
    encode_frame,
    parse_frame,
)
from realm_telemetry.spool.liveness import is_alive
from realm_telemetry.spool.reader import SpoolReader, spool_directories
from realm_telemetry.spool.segment import spool_bytes
from realm_telemetry.spool.writer import DROPPED, MemoryWriter, SpoolClosedError, SpoolWriter

PRODUCER = "00112233445566aa"


def read_all(directory: Path, **options: object) -> list[tuple[int, int, bytes]]:
    reader = SpoolReader(directory, **options)  # type: ignore[arg-type]
    reader.finish()
    found = []
    while frames := reader.read(1000):
        found += [(frame.format, frame.number, frame.payload) for frame in frames]
    assert reader.exhausted
    reader.close()
    return found


@given(
    st.sampled_from([1, 2, 3]),
    st.integers(0, 2**64 - 1),
    st.binary(min_size=1, max_size=300),
    st.binary(max_size=20),
)
def test_a_frame_reads_back_as_written(
    format_: int, number: int, payload: bytes, behind: bytes
) -> None:
    """Whatever follows it."""
    buffer = encode_frame(format_, number, payload) + behind
    assert parse_frame(buffer, 0, len(buffer)) == (format_, number, payload)


@given(st.binary(min_size=1, max_size=60), st.data())
def test_a_frame_with_any_bit_changed_does_not_read(payload: bytes, data: st.DataObject) -> None:
    """Length, crc, format, number and payload are all under the checksum."""
    frame = bytearray(encode_frame(1, 77, payload))
    bit = data.draw(st.integers(0, len(frame) * 8 - 1))
    frame[bit // 8] ^= 1 << bit % 8
    found = parse_frame(bytes(frame), 0, len(frame))
    assert found != (1, 77, payload)
    assert found is None


@given(st.binary(max_size=200))
def test_any_bytes_parse_to_a_frame_or_to_nothing(junk: bytes) -> None:
    """The parser meets whatever a crash or a bad disk left."""
    found = parse_frame(junk, 0, len(junk))
    assert found is None or len(found[2]) <= len(junk)


def test_a_frame_longer_than_the_limit_is_corruption() -> None:
    """At the limit it reads, above it does not."""
    longest = encode_frame(1, 1, b"x" * MAX_PAYLOAD_BYTES)
    longer = encode_frame(1, 1, b"x" * (MAX_PAYLOAD_BYTES + 1))
    assert parse_frame(longest, 0, len(longest)) is not None
    assert parse_frame(longer, 0, len(longer)) is None


def test_control_frames_take_no_number(tmp_path: Path) -> None:
    """Events stay 1, 2, 3 whatever is recorded between them."""
    writer = SpoolWriter(tmp_path, PRODUCER)
    writer.append(b"one")
    assert writer.append_control({"type": "kind", "kind": "x"})
    writer.append(b"two")
    writer.close()
    found = read_all(writer.directory)
    assert [(f, n) for f, n, _ in found] == [
        (FORMAT_EVENT, 1),
        (FORMAT_CONTROL, 1),
        (FORMAT_EVENT, 2),
    ]
    assert decode_control(found[1][2]) == {"type": "kind", "kind": "x"}


def test_acknowledged_segments_are_freed_and_the_rest_is_read_again(tmp_path: Path) -> None:
    """A shipper that died goes on from the oldest segment that was not freed."""
    writer = SpoolWriter(tmp_path, PRODUCER)
    for _ in range(3000):
        writer.append(b"z" * 400)
    reader = SpoolReader(writer.directory)
    first = reader.read(700)
    reader.acknowledge(first[-1].position)
    reader.close()
    writer.close()
    again = [number for _, number, _ in read_all(writer.directory)]
    assert again[-1] == 3000
    assert again == list(range(again[0], 3001))
    assert 1 < again[0] <= first[-1].number + 1


def test_a_live_producers_torn_tail_is_not_yet(tmp_path: Path) -> None:
    """Bytes that do not check may be a frame half copied: the reader waits for it."""
    writer = SpoolWriter(tmp_path, PRODUCER)
    writer.append(b"whole")
    frame = encode_frame(1, 2, b"slowly written")
    at = writer.cursor.pos
    writer.cursor.mm[at : at + 25] = frame[:25]
    reader = SpoolReader(writer.directory)
    assert [f.number for f in reader.read(10)] == [1]
    assert reader.read(10) == []
    writer.cursor.mm[at : at + len(frame)] = frame
    assert [f.payload for f in reader.read(10)] == [b"slowly written"]
    writer.close()


def test_frames_behind_a_damaged_place_are_found(tmp_path: Path) -> None:
    """A bad disk block costs the frames in it, and is reported with its bytes."""
    writer = SpoolWriter(tmp_path, PRODUCER)
    for index in range(100):
        writer.append(b"event %03d" % index)
    writer.close()
    size = HEADER_BYTES + len(b"event 000")
    at = 64 + 40 * size + 5
    writer.cursor.mm[at : at + 2 * size] = b"\xff" * (2 * size)
    damage: list[tuple[int, int]] = []
    found = read_all(
        writer.directory, on_damage=lambda path, offset, data: damage.append((offset, len(data)))
    )
    numbers = [number for _, number, _ in found]
    assert numbers == [*range(1, 41), *range(44, 101)]
    assert damage == [(64 + 40 * size, 3 * size)]


@pytest.mark.parametrize("junk", [b"", b"garbage", b"RLMSEG1\n" + b"\xff" * 200, bytes(64)])
def test_a_file_that_is_no_segment_is_passed_over(tmp_path: Path, junk: bytes) -> None:
    """Whatever its bytes, the segments beside it are read."""
    writer = SpoolWriter(tmp_path, PRODUCER)
    writer.append(b"kept")
    writer.close()
    (writer.directory / "seg-0-bad").write_bytes(junk)
    assert [payload for _, _, payload in read_all(writer.directory)] == [b"kept"]


def fill(writer: SpoolWriter, urgent: bool) -> int:
    """Append until something is refused; how many were kept."""
    kept = 0
    while writer.append(b"f" * 1000, urgent) != DROPPED:
        kept += 1
        assert kept < 10_000
    return kept


def test_above_nine_tenths_only_urgent_events_are_kept(tmp_path: Path) -> None:
    """Refusals are counted; warnings and errors have the rest; the cap itself holds."""
    cap = 1 << 20
    writer = SpoolWriter(tmp_path / "pipe", PRODUCER, max_bytes=cap)
    ordinary = fill(writer, urgent=False)
    used = spool_bytes(tmp_path)
    assert used <= 0.9 * cap
    assert used > 0.7 * cap
    assert writer.control.dropped == 1
    urgent = fill(writer, urgent=True)
    assert urgent > 50
    assert spool_bytes(tmp_path) <= cap
    assert writer.control.dropped == 2
    assert writer.append(b"f" * 1000) == DROPPED
    numbers = [number for _, number, _ in read_all(writer.directory)]
    assert numbers == list(range(1, ordinary + urgent + 1))
    writer.close()


def test_the_restriction_is_lifted_when_the_shipper_has_made_room(tmp_path: Path) -> None:
    """Information flows again, with the numbers going on."""
    writer = SpoolWriter(tmp_path / "pipe", PRODUCER, max_bytes=1 << 20)
    kept = fill(writer, urgent=False) + fill(writer, urgent=True)
    assert writer.restricted
    reader = SpoolReader(writer.directory)
    frames = reader.read(100_000)
    reader.acknowledge(frames[-1].position)
    writer.reconsider()
    assert not writer.restricted
    writer._recheck_at = 0.0
    assert writer.append(b"f" * 1000) == kept + 1
    assert [frame.number for frame in reader.read(10)] == [kept + 1]
    writer.close()


def test_the_cap_counts_the_spools_of_all_producers(tmp_path: Path) -> None:
    """It is one bound for the host."""
    first = SpoolWriter(tmp_path / "pipe", PRODUCER, max_bytes=1 << 20)
    fill(first, urgent=False)
    second = SpoolWriter(tmp_path / "other", "ff112233445566aa", max_bytes=1 << 20)
    assert fill(second, urgent=False) < 200
    first.close()
    second.close()


@pytest.mark.processes
def test_a_producer_that_died_is_seen_as_dead_and_not_before(tmp_path: Path) -> None:
    """The lock goes with the process, however it ends, and a child does not keep it."""
    code = (
        "import sys, subprocess; from pathlib import Path\n"
        "from realm_telemetry.spool.writer import SpoolWriter\n"
        f"w = SpoolWriter(Path({str(tmp_path)!r}), {PRODUCER!r}); w.append(b'x')\n"
        "child = subprocess.Popen(['sleep', '20'], stdout=subprocess.DEVNULL)\n"
        "print(child.pid, flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdin
    child = int(process.stdout.readline())
    directory = tmp_path / PRODUCER
    assert is_alive(directory)
    assert is_alive(directory), "asking must not release it"
    process.kill()
    process.wait()
    assert not is_alive(directory)
    assert [payload for _, _, payload in read_all(directory)] == [b"x"]
    os.kill(child, 9)
    process.stdout.close()
    process.stdin.close()


def test_a_spool_of_this_process_is_alive_until_closed(tmp_path: Path) -> None:
    """Its lock file is not opened a second time, which would release the lock."""
    writer = SpoolWriter(tmp_path, PRODUCER)
    assert is_alive(writer.directory)
    assert spool_directories(tmp_path) == [writer.directory]
    writer.close()
    assert not is_alive(writer.directory)


def test_control_words_are_seen_by_the_other_side(tmp_path: Path) -> None:
    """Up to the largest value a word holds."""
    mine, theirs = Control(tmp_path / "control"), Control(tmp_path / "control")
    for name in ("dropped", "last_number", "stored_number", "exported_number", "undelivered"):
        setattr(mine, name, 2**64 - 1)
        assert getattr(theirs, name) == 2**64 - 1
    mine.close()
    theirs.close()


def test_the_buffer_before_configure_is_bounded() -> None:
    """At the bound an event is kept, above it dropped and counted; closed, it says so."""
    buffer = MemoryWriter(PRODUCER, max_events=3)
    assert [buffer.append(b"x") for _ in range(5)] == [1, 2, 3, DROPPED, DROPPED]
    assert buffer.dropped == 2
    buffer.close()
    with pytest.raises(SpoolClosedError):
        buffer.append(b"late")


@pytest.mark.processes
def test_power_durability_syncs_each_event(tmp_path: Path) -> None:
    """Each append returns after an msync of its segment."""
    script = (
        "import sys; from pathlib import Path\n"
        "from realm_telemetry.spool.writer import SpoolWriter\n"
        f"w = SpoolWriter(Path({str(tmp_path)!r}), {PRODUCER!r}, sync=sys.argv[1] == 'power')\n"
        "flushed = []\n"
        "class Spy:\n"
        "    def __init__(self, mm): self.mm = mm\n"
        "    def __setitem__(self, key, value): self.mm[key] = value\n"
        "    def flush(self): flushed.append(1); self.mm.flush()\n"
        "w.cursor.mm = Spy(w.cursor.mm)\n"
        "[w.append(b'x') for _ in range(5)]\n"
        "print(len(flushed))"
    )

    def flushes(mode: str) -> str:
        command = [sys.executable, "-c", script.replace(PRODUCER, PRODUCER[:-1] + mode[0]), mode]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    assert (flushes("power"), flushes("crash")) == ("5", "0")


@pytest.fixture
def network_type(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Declare that a directory is on NFS."""

    def declare(directory: Path) -> None:
        monkeypatch.setattr(
            place,
            "is_local_filesystem",
            lambda path: (directory not in [path, *path.parents], "nfs4"),
        )

    return declare


def test_the_spool_root_is_the_first_local_writable_place(
    tmp_path: Path, network_type: Callable[[Path], None]
) -> None:
    """A home on a network file system is passed over, with the reason."""
    home, runtime = tmp_path / "home", tmp_path / "run"
    network_type(home)
    roots = place.spool_roots(home, None, {"XDG_RUNTIME_DIR": str(runtime)})
    root, problems = place.find_spool_root(roots)
    assert root == runtime / "realm" / "spool"
    assert problems == [f"{home}/spool is on a network file system (nfs4)"]
    assert root.stat().st_mode & 0o777 == 0o700


def test_the_chosen_spool_comes_before_all_others(tmp_path: Path) -> None:
    """REALM_SPOOL, then the home, then the runtime directory, then /var/tmp."""
    roots = place.spool_roots(tmp_path, tmp_path / "mine", {"XDG_RUNTIME_DIR": "/run/user/7"})
    assert roots[:3] == [tmp_path / "mine", tmp_path / "spool", Path("/run/user/7/realm/spool")]
    assert roots[3] == Path("/var/tmp") / f"realm-{os.getuid()}" / "spool"


def test_a_segment_that_was_passed_over_empty_does_not_stop_a_live_reader(tmp_path: Path) -> None:
    """With a small cap an event may be larger than the spare that took over."""
    writer = SpoolWriter(tmp_path / "pipe", PRODUCER, max_bytes=400_000)
    reader = SpoolReader(writer.directory, clock=lambda: 1e9)
    while writer.cursor.pos * 2 <= writer.cursor.hard_end:
        writer.append(b"x" * 1000)
    writer.prepare_spare()
    last = writer.append(b"y" * 60_000)
    assert writer.cursor.index == 3
    numbers: list[int] = []
    for _ in range(4):
        numbers += [frame.number for frame in reader.read(1000)]
        reader._rescan_at = 0.0
    assert numbers == list(range(1, last + 1))
    reader.close()
    writer.close()
