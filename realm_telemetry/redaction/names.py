"""Whether a name means a secret: `hf_token`, `apiKey`, `X-Api-Key`, `DB_PASSWORD`.

A name is judged by its last words, after endings that do not count.
"""

import re
from enum import IntEnum
from typing import Any, Final

from realm_telemetry.redaction.rules import (
    COUNT,
    ENDINGS,
    FOREIGN,
    KEYS_OF,
    MAX_COUNT,
    NO_PASSES,
    NUMBER,
    OWNERS,
    PASS_WORDS,
    PASSES,
    PASSWORDS,
    PHRASES,
    PLACEHOLDER,
    SAY_NOTHING,
    VOCABULARY,
    WEAK_KEYS_OF,
    WORDS,
)

MAX_PASS_COUNT: Final = 99_999
"""`pass: 12` counts tests that passed; a greater whole number is a password."""

_MAX_NAME: Final = 256
_SPLIT: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_GLUED: Final = tuple(word for word in PASSWORDS | {"secret"} if len(word) > 4)
_GLUED_KEY: Final = re.compile(
    r"(?:api|access|private|priv|secret|signing|encryption|auth|master|account|ssh)keys?"
)
_TEXT_PIECE: Final = re.compile(r"[\sĠ▁#'’<>/|\[\]]*[^\W\d_]{0,24}[\s>|\]]*|\W{0,8}")
_MARKED_PIECE: Final = re.compile(r"(?:[\sĠ▁]|##)\w{1,15}")
_PIECE_WITH_MARKS: Final = re.compile(r"[^\d\s=-]{1,24}[=-]{0,3}")
_SHORT_PIECE: Final = re.compile(
    r"(?=.{1,24}\Z)[\sĠ▁#'’<>/|]{0,4}"
    r"(?:[^\W\d_]{1,15}(?:['’_][^\W\d_]{1,12}){1,2}|[^\W\d_]{2,15}|[^\x00-\x7f])[\s>|.,;:!?]{0,4}"
    r"|[^\w\s]{1,8}"
)
_NAME_OF_DATA: Final = re.compile(
    r"(?:[A-Za-z]{2,24}|[A-Za-z](?=[/._]))(?:[_./ ](?:[A-Za-z]{1,24}|\d{1,4})){0,8}"
)
_SPLIT_PASSWORD: Final = re.compile(r"(?<![a-z])pass_(words?|phrases?|codes?|wd|key|keys)(?![a-z])")
_DIRECTORY: Final = re.compile(r"[/~.]|[A-Za-z]:[\\/]")


_KEY: Final = re.compile(r"(?=[^\d]{0,255}\d)(?=[^A-Za-z]{0,255}[A-Za-z])[\x21-\x7e]{8,}")
_PART_OF_A_NAME: Final = re.compile(r"[A-Za-z]{1,24}\d{0,4}|\d{1,6}[A-Za-z]{0,2}")
_PATH: Final = re.compile(r"[/~]|\.{1,2}/|[\w.-]{1,64}(?:/[\w.-]{1,64})+|.{0,200}\.[A-Za-z]\w{0,4}")


class Verdict(IntEnum):
    """What a name says of its value.

    PLAIN: nothing. SECRET: it is secret, a number too. COUNT: a number is a count.
    TOKEN: so it is, and words in a list are pieces of text. PLURAL: a number that stands alone is
    a count. PASS: a small number is a count. WORKING_DIRECTORY: a path is none. WEAK: numbers and
    names of data are none. PIECE: as TOKEN, and so is a short text that stands alone.
    """

    PLAIN = 0
    COUNT = 1
    TOKEN = 2
    PLURAL = 3
    SECRET = 4
    PASS = 5
    WORKING_DIRECTORY = 6
    WEAK = 7
    PIECE = 8


COUNTS: Final = frozenset(
    (Verdict.COUNT, Verdict.TOKEN, Verdict.PLURAL, Verdict.WEAK, Verdict.PIECE)
)
TOKENS: Final = (Verdict.TOKEN, Verdict.PIECE)


def normal_name(name: str) -> str:
    """Return a name as lower-case words: `X-Api-Key`, `apiKey` and `api_key` are one."""
    normal = "_".join(_SPLIT.findall(name[-_MAX_NAME:])).lower()
    return _SPLIT_PASSWORD.sub(r"pass\1", normal) if "pass_" in normal else normal


def judge(name: str, further: frozenset[str] = frozenset()) -> Verdict:
    """Judge a name; further: names of the user's own, normal. Raises TypeError for no text."""
    words = normal_name(name).split("_")
    if not name.isascii() and any(word in name.casefold() for word in FOREIGN):
        return Verdict.SECRET
    if further and _ends_with(words, further):
        return Verdict.SECRET
    if _ends_with(words, PHRASES):
        return Verdict.COUNT
    if words == ["token"]:
        return Verdict.PIECE
    while len(words) > 1 and (words[-1].isdigit() or words[-1] in ENDINGS):
        if words[-2] == "pass" or (words[-2:] == ["token", "text"]):
            return Verdict.PLAIN  # pass@1
        words.pop()
    if len(words) > 1 and words[-1] in OWNERS and _is_secret_word(words[-2]):
        words.pop()
    return _judge_words(words)


def _is_secret_word(word: str) -> bool:
    return word in PASSWORDS or word in ("token", "key", "secret", "apikey")


def _judge_words(words: list[str]) -> Verdict:
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if last == "pass" or words in (["pw"], ["secret"]):
        return Verdict.PLAIN if before in PASSES else Verdict.PASS
    if last in ("pwd", "oldpwd") and len(words) == 1:
        return Verdict.WORKING_DIRECTORY
    singular = last.removesuffix("s")
    if singular.endswith("token"):
        prefix = singular.removesuffix("token") or before
        return Verdict.PLAIN if prefix in VOCABULARY else Verdict.TOKEN
    if singular == "key":
        return _judge_key(last, before, weak=len(words) == 2)
    if singular in ("webhook", "cred", "credential"):
        return Verdict.WEAK if singular == "webhook" else Verdict.COUNT
    if last in PASSWORDS or singular in PASSWORDS | WORDS or singular.endswith(_GLUED):
        return _plural(last)
    if _GLUED_KEY.search(last) or _is_glued_pass(last):
        return _plural(last)
    return Verdict.COUNT if _ends_with(words, PHRASES) else Verdict.PLAIN


def _judge_key(last: str, before: str, *, weak: bool) -> Verdict:
    if weak and before in WEAK_KEYS_OF:
        return Verdict.WEAK
    return _plural(last) if before in KEYS_OF else Verdict.PLAIN


def _is_glued_pass(word: str) -> bool:
    """Return whether a word ends in a password: `mysqlpass`, `bindpw`; `compass` does not."""
    if word == "pw" or (word.endswith("pw") and len(word) > 4):
        return True
    owner = word.removesuffix("pass")
    return owner not in (word, "") and owner not in PASSES | NO_PASSES


def _plural(word: str) -> Verdict:
    """`passwords: 3` is a count, and `auth: 1` is a flag."""
    if word == "auth":
        return Verdict.COUNT
    return Verdict.PLURAL if word.endswith("s") and not word.endswith("ss") else Verdict.SECRET


def _ends_with(words: list[str], names: frozenset[str]) -> bool:
    return any("_".join(words[-count:]) in names for count in range(1, min(len(words), 4) + 1))


def keeps_text(verdict: Verdict, text: str) -> bool:
    """Return whether a text under a name is no secret."""
    if text.strip().lower() in SAY_NOTHING or PLACEHOLDER.fullmatch(text):
        return True
    if verdict is Verdict.WORKING_DIRECTORY:
        return _DIRECTORY.match(text) is not None
    if len(text) <= MAX_COUNT and verdict > Verdict.PLAIN and _keeps_short(verdict, text):
        return True
    if not NUMBER.fullmatch(text):
        return False
    small = not text.isdigit() or int(text) <= MAX_PASS_COUNT
    return verdict in COUNTS or (verdict is Verdict.PASS and small)


def _keeps_short(verdict: Verdict, text: str) -> bool:
    if verdict in COUNTS and COUNT.fullmatch(text):
        return True
    if verdict is Verdict.PASS:
        return text.strip().lower() in PASS_WORDS
    if verdict is Verdict.WEAK:
        return _NAME_OF_DATA.fullmatch(text) is not None
    return verdict is Verdict.PIECE and is_short_piece(text)


def keeps_number(verdict: Verdict, value: Any) -> bool:
    """Return whether a number, a truth value or None under a name is no secret."""
    if value is None or type(value) is bool or verdict in COUNTS:
        return True
    return verdict is Verdict.PASS and (type(value) is float or abs(value) <= MAX_PASS_COUNT)


def is_piece_of_text(text: str) -> bool:
    """Return whether a text in a list of tokens is a word, or a part of one."""
    return any(piece.fullmatch(text) for piece in (_TEXT_PIECE, _MARKED_PIECE, _PIECE_WITH_MARKS))


def is_short_piece(text: str) -> bool:
    """Return whether a text under the name `token` is a word or marks, and looks like no key."""
    return any(piece.fullmatch(text) for piece in (_SHORT_PIECE, _MARKED_PIECE))


def looks_like_key(text: str) -> bool:
    """Return whether a word is rather a key than a word of a vocabulary, a name or a path."""
    if not _KEY.fullmatch(text) or is_path(text) or NUMBER.fullmatch(text):
        return False
    return not all(map(_PART_OF_A_NAME.fullmatch, re.split(r"[._:-]+", text.strip("._:-"))))


def is_path(text: str) -> bool:
    """Return whether a text is a path, or the name of a file."""
    return _PATH.match(text) is not None and ("/" in text[:200] or "." in text[-6:])
