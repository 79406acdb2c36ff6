"""What is shown of text that somebody else wrote."""

import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm_telemetry.kinds.line import printable, printable_json

# Seen, or needed: signs before numbers in Arabic and its neighbours, and of old scripts.
SEEN = {
    *range(0x600, 0x606), 0x6DD, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD, *range(0x13430, 0x13440),
}  # fmt: skip

ANY = st.text(st.characters(exclude_categories=()))


def test_every_control_and_format_character_is_escaped() -> None:
    for number in range(sys.maxunicode + 1):
        character = chr(number)
        if unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            continue
        if number not in SEEN:
            assert printable(f"a{character}b").isascii(), hex(number)


@pytest.mark.parametrize("number", [0x34F, 0x115F, 0x17B4, 0x3164, 0xFFA0, 0xE0100, 0xE01EF])
def test_what_is_invisible_for_other_reasons_is_escaped_too(number: int) -> None:
    assert printable(f"a{chr(number)}b").isascii()


@pytest.mark.parametrize(
    "text",
    ["日本　語 🏰 é", "⚠️ 👩‍🚀 🏳️‍🌈 ❤️‍🔥", "نمی‌خواهم", "क्‍ष", "a\xa0b", "e\u0301", "1\u0660", "\ue0b0"],
)
def test_what_people_write_stays(text: str) -> None:
    assert printable(text) == text
    assert printable_json(json.dumps(text, ensure_ascii=False)) == json.dumps(
        text, ensure_ascii=False
    )


@pytest.mark.parametrize("joiner", ["\u200c", "\u200d"])
def test_a_joiner_in_latin_text_is_escaped(joiner: str) -> None:
    assert printable(f"pass{joiner}word") == f"pass\\u{ord(joiner):04x}word"
    assert printable(f"{joiner}word") == f"\\u{ord(joiner):04x}word"


def test_ends_of_lines_stay_where_they_may() -> None:
    assert printable("a\r\nb\n\tc\rd\x0b\u2028", lines=True) == "a\nb\n    c\\rd\\x0b\\u2028"
    assert printable("a\r\nb\n\tc") == "a\\r\\nb\\n\\tc"


@given(st.recursive(ANY, lambda inner: st.lists(inner) | st.dictionaries(ANY, inner)))
def test_json_for_a_terminal_means_the_same(value: object) -> None:
    for indent in (None, 2):
        text = json.dumps(value, ensure_ascii=False, indent=indent)
        shown = printable_json(text)
        assert json.loads(shown) == value
        assert printable(shown.replace("\n", "")) == shown.replace("\n", "")
        assert shown.count("\n") == text.count("\n")
