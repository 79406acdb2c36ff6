"""The control page of a durable spool: it alone says what was exported, so it is checked."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from realm_telemetry.spool.control import BELIEVABLE, Control
from realm_telemetry.spool.segment import CONTROL_BYTES, producer_word

PRODUCER = "00112233445566aa"


def page_of(path: Path, stored: int) -> Control:
    page = Control(path)
    page.begin(producer_word(PRODUCER))
    page.note_checked(stored)
    return page


@pytest.mark.parametrize("number", [0, 1, 2**63, 2**64 - 1])
def test_what_was_noted_is_read_again(tmp_path: Path, number: int) -> None:
    page = page_of(tmp_path / "control", number)
    assert (page.checked_number, page.producer, page.is_whole) == (number, PRODUCER, True)
    page.close()


def random_page(path: Path) -> None:
    path.write_bytes(os.urandom(CONTROL_BYTES))


def zeroed(path: Path) -> None:
    path.write_bytes(bytes(CONTROL_BYTES))


def one_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[2049] ^= 1
    path.write_bytes(data)


def half_noted(path: Path) -> None:
    """As if the process was killed between the two stores."""
    page = Control(path)
    page.stored_number = 12
    page.close()


@pytest.mark.parametrize("damage", [random_page, zeroed, one_bit, half_noted])
def test_a_damaged_page_exports_again_and_loses_nothing(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    page_of(tmp_path / "control", 11).close()
    damage(tmp_path / "control")
    page = Control(tmp_path / "control")
    assert page.checked_number == 0
    page.close()


@pytest.mark.parametrize(
    ("stored", "read"), [(7, 7), (BELIEVABLE - 1, BELIEVABLE - 1), (BELIEVABLE, 0)]
)
def test_a_page_of_0_1_0_is_believed_within_reason(tmp_path: Path, stored: int, read: int) -> None:
    page = Control(tmp_path / "control")
    page.stored_number = page.dropped = stored
    assert (page.is_whole, page.checked_number, page.believable_dropped) == (True, read, read)
    page.close()
