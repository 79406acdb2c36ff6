"""A damaged file: all before the damage is imported, and the rest of a whole copy adds the rest."""

import gzip
import json
import os
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realm_telemetry.transfer.inputs import UnknownFormatError
from realm_telemetry.transfer.lines import LineFile

from .conftest import Home
from .older_files import older_log, take, write_lines

LINES = [
    json.dumps({"ts": f"2025-11-29T10:00:00.{n:06d}", "kind": "note", "i": n, "pad": f"{n * n:x}"})
    for n in range(2_500)
]
TEXT = "".join(f"{line}\n" for line in LINES).encode()
WHOLE = gzip.compress(TEXT, mtime=0)


def damaged(place: int) -> bytes:
    """The file with one byte that was changed."""
    data = bytearray(WHOLE)
    data[place] ^= 255
    return bytes(data)


DAMAGES = {
    "cut": (WHOLE[:-200], "ends too early"),
    "cut in its trailer": (WHOLE[:-3], "ends too early"),
    "wrong checksum": (damaged(-6), "incorrect data check"),
    "wrong length": (damaged(-2), "incorrect length check"),
    "garbage behind": (WHOLE + b"garbage", "follow the end"),
    "a second file cut short": (WHOLE + WHOLE[:50], "ends too early"),
    "a second file's header cut short": (WHOLE + WHOLE[:5], "ends too early"),
    "cut in its header": (WHOLE[:5], "ends too early"),
    "empty": (b"", "empty"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_all_before_the_damage_is_imported_and_a_whole_copy_adds_the_rest(
    home: Home, tmp_path: Path, damage: str
) -> None:
    data, reason = DAMAGES[damage]
    path = tmp_path / "events.jsonl.gz"
    path.write_bytes(data)
    report = take(path)
    assert reason in report.damage
    assert report.damage.startswith(f"{path}: line ")
    assert report.damage == take(path, dry_run=True).damage
    if data[:-8].startswith(WHOLE[:-8]):
        assert report.taken == len(LINES)
    elif damage == "cut":
        assert 2_000 < report.taken < len(LINES)
    path.write_bytes(WHOLE)
    report = take(path)
    assert (report.damage, report.broken) == ("", 0)
    assert [event.details["i"] for event in home.events()] == list(range(len(LINES)))


@settings(max_examples=settings().max_examples * 3 // 5, deadline=None)
@given(st.integers(10, len(WHOLE) - 1))
def test_no_line_before_a_damaged_byte_is_lost(
    tmp_path_factory: pytest.TempPathFactory, place: int
) -> None:
    """What zlib gives of the bytes before the damaged one is read."""
    path = tmp_path_factory.mktemp("damaged") / "events.jsonl.gz"
    path.write_bytes(damaged(place))
    surely = zlib.decompressobj(wbits=31).decompress(WHOLE[:place])
    with LineFile(path) as file:
        content = file.read()
        assert content.startswith(surely)
        assert file.damage


@pytest.mark.parametrize("more", [WHOLE, WHOLE + b"\0" * 512 + WHOLE, b""])
def test_several_members_are_one_file_and_padding_is_no_damage(tmp_path: Path, more: bytes) -> None:
    path = tmp_path / "events.jsonl.gz"
    path.write_bytes(WHOLE + more + b"\0" * 1024)
    with LineFile(path) as file:
        assert file.read() == TEXT * (1 + more.count(WHOLE))
        assert file.damage == ""


def test_a_megabyte_of_output_at_once_is_all_read(tmp_path: Path) -> None:
    path = tmp_path / "zeros.gz"
    path.write_bytes(gzip.compress(b"0" * 20_000_000))
    with LineFile(path) as file:
        assert len(file.read()) == 20_000_000
    path.write_bytes(path.read_bytes()[:-9])
    with LineFile(path) as file:
        assert len(file.read()) > 19_000_000
        assert "too early" in file.damage


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_byte_order_mark_names_the_encoding_of_a_file(
    home: Home, tmp_path: Path, encoding: str, compressed: bool
) -> None:
    text = '{"ts": "2025-11-29T10:00:00Z", "kind": "note", "who": "Jörg \U0001f600"}\r\n' * 3
    path = tmp_path / "events.jsonl"
    data = text.encode(encoding)
    path.write_bytes(gzip.compress(data) if compressed else data)
    assert take(path).taken == 3
    assert {event.details["who"] for event in home.events()} == {"Jörg \U0001f600"}


def test_a_file_with_nothing_but_a_mark_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"\xef\xbb\xbf\r\n")
    report = take(path)
    assert (report.broken, report.blank) == (0, 1)


@pytest.mark.parametrize("compressed", [False, True])
def test_what_a_power_cut_leaves_is_reported_by_its_line(
    home: Home, tmp_path: Path, compressed: bool
) -> None:
    good = f"{LINES[0]}\n".encode()
    data = good + bytes(4096) + b"\n" + good + LINES[1].encode()[:30]
    path = tmp_path / "events.jsonl"
    path.write_bytes(gzip.compress(data) if compressed else data)
    report = take(path)
    assert (report.taken, report.broken, report.damage) == (2, 2, "")
    assert [each.number for each in report.examples] == [2, 4]
    assert len(home.events()) == 2


@pytest.mark.parametrize(
    "packed", [b"PK\x03\x04", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b"BZh91AY", b"\x04\x22\x4d\x18"]
)
def test_a_file_that_has_to_be_unpacked_first_is_named(tmp_path: Path, packed: bytes) -> None:
    path = tmp_path / "events.jsonl.gz"
    path.write_bytes(packed + bytes(100))
    with pytest.raises(UnknownFormatError, match=r"events\.jsonl\.gz: is packed with"):
        take(path)


def test_a_compressed_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db.gz"
    path.write_bytes(gzip.compress(older_log(tmp_path / "jobs.db", 1).read_bytes()))
    with pytest.raises(UnknownFormatError, match="is packed with gzip"):
        take(path)


def test_plain_lines_in_a_file_named_gz_are_taken(home: Home, tmp_path: Path) -> None:
    assert take(write_lines(tmp_path / "events.jsonl.gz", *LINES[:3])).taken == 3


@pytest.mark.processes
def test_the_command_names_file_and_line_and_ends_with_1(home: Home, tmp_path: Path) -> None:
    path, good = tmp_path / "cut.jsonl.gz", write_lines(tmp_path / "good.jsonl", LINES[-1])
    path.write_bytes(WHOLE[:-200])
    done = home.run("import", str(path), str(good))
    assert done.returncode == 1
    assert f"realm: {path}: line " in done.stderr
    assert f"{good}: JSON lines, 1 line" in done.stdout
    done = home.run("import", str(path), str(good), "--json")
    assert done.returncode == 1
    assert json.loads(done.stderr)["error"] == "damaged_file"
    assert [bool(report["damage"]) for report in json.loads(done.stdout)] == [True, False]


@pytest.mark.processes
@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_a_pipe_or_a_directory_is_refused_by_name(
    home: Home, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    for name in ("pipe", "directory", "missing"):
        done = home.run("import", str(tmp_path / name), *arguments)
        assert done.returncode == 2
        assert name in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.processes
def test_a_file_whose_name_is_not_utf_8_is_imported(home: Home, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"J\xf6rg.jsonl")
    write_lines(path, *LINES[:2], "{broken")
    for arguments in ((), ("--json",)):
        done = home.run("import", str(path), *arguments)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert "J\ufffdrg.jsonl" in done.stdout
    assert len(home.events()) == 2
