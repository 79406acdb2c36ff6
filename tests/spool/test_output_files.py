"""Kept output is bounded in each run and in all of them."""

import os
from pathlib import Path

import pytest

from realm_telemetry.spool.output import KeptOutput, directory_name, read_end, read_from, remove_old
from realm_telemetry.spool.output.files import BEGINNING_BYTES, KEPT_PARTS, PART_BYTES

LINE = "x" * 8_000


def sizes(home: Path, run_id: str) -> list[int]:
    directory = home / "runs" / directory_name(run_id)
    return [path.stat().st_size for path in directory.glob("output*.log")]


def test_the_beginning_and_the_newest_parts_stay(tmp_path: Path) -> None:
    kept = KeptOutput(tmp_path, "r1")
    total = 0
    for number in range(500):
        kept.append([f"{number:06d}", *[LINE] * 5])
        total += 7 + 5 * 8_001
    assert sum(sizes(tmp_path, "r1")) <= BEGINNING_BYTES + KEPT_PARTS * PART_BYTES
    assert len(sizes(tmp_path, "r1")) == 1 + KEPT_PARTS
    end = read_end(tmp_path, "r1", 6)
    assert end is not None
    assert end.text.startswith(b"000499\n")
    assert end.next_offset == total
    text, offset = b"", 0
    while (piece := read_from(tmp_path, "r1", offset)) is not None and piece.text:
        text += piece.text
        offset = piece.next_offset
    assert offset == total
    assert text.startswith(b"000000\n")
    assert text.count(b" bytes are no longer kept]\n") == 1
    assert text.endswith(end.text)


def test_two_that_write_for_one_run_share_its_files(tmp_path: Path) -> None:
    one, other = KeptOutput(tmp_path, "r1"), KeptOutput(tmp_path, "r1")
    for _ in range(200):
        one.append([LINE] * 5)
        other.append([LINE] * 5)
    assert sum(sizes(tmp_path, "r1")) <= BEGINNING_BYTES + KEPT_PARTS * PART_BYTES
    piece = read_from(tmp_path, "r1", 0)
    assert piece is not None
    assert {len(line) for line in piece.text.splitlines()} == {8_000}


def test_an_attempt_goes_on_behind_the_one_before(tmp_path: Path) -> None:
    KeptOutput(tmp_path, "r1").append(["first"])
    KeptOutput(tmp_path, "r1").append(["second"])
    piece = read_end(tmp_path, "r1", 10)
    assert piece is not None
    assert piece.text == b"first\nsecond\n"


def test_what_was_half_written_when_its_writer_was_killed_stops_no_reader(tmp_path: Path) -> None:
    kept = KeptOutput(tmp_path, "r1")
    kept.append(["whole"])
    with (tmp_path / "runs" / "r1" / "output.log").open("ab") as file:
        file.write(b"half")
    (tmp_path / "runs" / "r1" / "output.000000000000010.log").write_bytes(b"next\n")
    first = read_from(tmp_path, "r1", 0)
    assert first is not None
    assert first.text == b"whole\n"
    second = read_from(tmp_path, "r1", first.next_offset)
    assert second is not None
    assert second.text.endswith(b"next\n")


@pytest.mark.parametrize(
    ("run_id", "name"),
    [("r1", "r1"), ("a/b c", "a%2Fb%20c"), ("..", "%2E%2E"), (".", "%2E"), ("+", "%2B")],
)
def test_a_directory_has_the_name_of_its_run(run_id: str, name: str) -> None:
    assert directory_name(run_id) == name


def test_long_ids_have_names_of_their_own() -> None:
    names = {directory_name("🐉" * 255 + last) for last in "abc"}
    assert len(names) == 3
    assert all(len(name) <= 255 for name in names)


def test_a_directory_that_others_can_write_is_refused(tmp_path: Path) -> None:
    KeptOutput(tmp_path, "r1")
    (tmp_path / "runs" / "r1").chmod(0o777)
    with pytest.raises(OSError, match="can be written by other users"):
        KeptOutput(tmp_path, "r1")


def test_the_oldest_runs_are_removed_and_never_ones_own(tmp_path: Path) -> None:
    for number in range(6):
        KeptOutput(tmp_path, f"r{number}").append([LINE])
        for path in (tmp_path / "runs" / f"r{number}").iterdir():
            os.utime(path, (number, number))
    assert remove_old(tmp_path, "r0", max_bytes=5 * 8_001, max_runs=100) == 0
    left = {path.name for path in (tmp_path / "runs").iterdir()}
    assert left == {"r0", "r1", "r2", "r3", "r4", "r5"}
    assert remove_old(tmp_path, "r0", max_bytes=10**9, max_runs=3) == 2
    left = {path.name for path in (tmp_path / "runs").iterdir()}
    assert left == {"r0", "r3", "r4", "r5"}
    assert remove_old(tmp_path, "r5", max_bytes=2 * 8_001) == 2
    left = {path.name for path in (tmp_path / "runs").iterdir()}
    assert left == {"r4", "r5"}
