"""Secrets in tables and lists within a text: a column or a row that is named `password`.

Tables of Markdown, of terminals, of CSV and TSV, and columns that are apart by spaces; lists and
tables of YAML below a name. Each line is read once for a name.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from realm_telemetry.redaction.names import (
    TOKENS,
    Verdict,
    is_path,
    is_piece_of_text,
    judge,
    keeps_text,
    looks_like_key,
)
from realm_telemetry.redaction.rules import REDACTED, Span

_SECRET: Final = (Verdict.SECRET, Verdict.PLURAL, Verdict.WORKING_DIRECTORY)
"""Whose values are secret, whatever they look like."""

_MAX_LINE: Final = 4096
_MAX_CELLS: Final = 64
_MAX_ROWS: Final = 10_000
_RULER: Final = re.compile(r"[\s|+:=\-_─━═┼╋╇┿│┃├┤┡┩┢┪┏┓┗┛└┘┌┐┬┴┳┻╭╮╰╯╞╡╪╔╗╚╝╠╣╦╩╬║]*")
_NAME: Final = re.compile(r"\"?[A-Za-z][\w .#/()-]{0,40}\"?")
_HEADER_WORD: Final = re.compile(r"\"?[A-Za-z_#][A-Za-z _#/()-]{0,40}\"?")
_USERS: Final = frozenset(("user", "username", "login", "email", "e-mail", "mail", "account"))
_BORDERS: Final = tuple(map(re.compile, (r"[|│┃║]", r"\t", r";", r",", r"[ \t]{2,}")))
"""What stands between the cells of a line; the first that a line has tells how it is divided."""
_BORDERED, _TABS, _APART = 0, 1, 4
_QUOTED: Final = re.compile(r"[ \t]*\"(?:[^\"\n]|\"\")*\"")
_CSV_NAME: Final = re.compile(r"\"?[A-Za-z_][\w.-]{0,40}\"?")


class _Row(NamedTuple):
    """The cells of a line, by their places in the text, and how they are told apart."""

    cells: list[Span]
    style: int


def find_tables(hint: str, text: str, low: str) -> list[Span]:
    """Find what stands in columns and rows with the name of a secret; hint: of the name."""
    spans: list[Span] = []
    position = 0
    while (found := low.find(hint, position)) >= 0:
        start, end = _line_at(text, found)
        position = end + 1
        row = _row(text, start, end)
        if row is None:
            continue
        above = _row_above(text, start)
        columns = _columns(text, row)
        if columns and not (above and above.style == row.style):
            inside, position = _column_spans(text, row, columns, end)
            spans += inside
            if inside or position > end + 1:
                continue
        spans += _pair(text, row)
    return spans


def _line_at(text: str, position: int) -> Span:
    start = text.rfind("\n", 0, position) + 1
    end = text.find("\n", position)
    return start, len(text) if end < 0 else end


def _row(text: str, start: int, end: int, style: int | None = None) -> _Row | None:
    """The cells of a line; None for one that is no row."""
    if end - start > _MAX_LINE:
        return None
    if style is None:
        style = _style(text[start:end])
    if style is None:
        return None
    if style == _APART:
        start, end = _stripped(text, start, end)
    cells = _cells(text, start, end, _BORDERS[style])
    if style == _BORDERED:
        cells = cells[_is_empty(cells[0]) : len(cells) - _is_empty(cells[-1])]
    return _Row(cells, style) if 2 <= len(cells) <= _MAX_CELLS else None


def _style(line: str) -> int | None:
    """How a line is divided; fast for a sentence, which has spaces after its commas."""
    if "|" in line or (not line.isascii() and _BORDERS[_BORDERED].search(line)):
        return _BORDERED
    if "\t" in line:
        return _TABS
    if "  " in line:
        return _APART
    if " " in line:
        return None
    return 2 if ";" in line else 3 if "," in line else None


def _cells(text: str, start: int, end: int, border: re.Pattern[str]) -> list[Span]:
    """The cells between borders, without the white space around them."""
    cells: list[Span] = []
    while len(cells) <= _MAX_CELLS:
        quoted = _QUOTED.match(text, start, end)
        found = border.search(text, quoted.end() if quoted else start, end)
        cells.append(_stripped(text, start, found.start() if found else end))
        if found is None:
            break
        start = found.end()
    return cells


def _is_empty(cell: Span) -> bool:
    return cell[0] == cell[1]


def _stripped(text: str, start: int, end: int) -> Span:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _row_above(text: str, start: int) -> _Row | None:
    if start < 2:
        return None
    before = text.rfind("\n", 0, start - 1) + 1
    if start - before > _MAX_LINE or _RULER.fullmatch(text, before, start - 1):
        return None
    return _row(text, before, start - 1)


def _columns(text: str, row: _Row) -> dict[int, Verdict]:
    """The columns of a header that name secrets; none if the line is no header."""
    names = [text[slice(*cell)] for cell in row.cells]
    pattern = _NAME if row.style in (_BORDERED, _TABS, _APART) else _CSV_NAME
    if not all(name == "" or pattern.fullmatch(name) for name in names):
        return {}
    verdicts = {at: verdict for at, name in enumerate(names) if (verdict := _verdict(name))}
    others = [name for at, name in enumerate(names) if at not in verdicts]
    if not all(name == "" or _HEADER_WORD.fullmatch(name) for name in others):
        return {}  # `password | hunter2`
    return verdicts


@lru_cache(maxsize=1024)
def _verdict(name: str) -> Verdict:
    return judge(name.strip('"').rpartition(" of ")[0] or name.strip('"'))


def _column_spans(
    text: str, header: _Row, columns: dict[int, Verdict], end: int
) -> tuple[list[Span], int]:
    """The secrets below a header, and where the table ends."""
    spans: list[Span] = []
    with_user = any(text[slice(*cell)].strip('"').lower() in _USERS for cell in header.cells)
    for start, stop in _lines_below(text, end):
        if start < stop and _RULER.fullmatch(text, start, min(stop, start + _MAX_LINE)):
            end = stop
            continue
        row = _row(text, start, stop, header.style)
        more = len(row.cells) - len(header.cells) if row else -1
        if row is None or more not in (0, 1) or (more == 1 and header.style != _APART):
            break
        end = stop
        for at, verdict in columns.items():
            cell = row.cells[at + more]
            value = text[slice(*cell)]
            prose = header.style == _APART and " " in value
            if not prose and _is_secret(value, verdict, with_user=with_user):
                spans.append(_inside_quotes(text, cell))
    return spans, end + 1


def _lines_below(text: str, end: int) -> Iterator[Span]:
    for _ in range(_MAX_ROWS):
        if end >= len(text):
            return
        start, end = _line_at(text, end + 1)
        yield start, end


def _is_secret(cell: str, verdict: Verdict, *, with_user: bool) -> bool:
    value = cell.strip("\"'`*")
    if not value or value == REDACTED or keeps_text(verdict, value):
        return False
    if verdict in _SECRET:
        return True
    if verdict is Verdict.PASS and with_user:
        return any(map(str.isdigit, value)) and any(map(str.isalpha, value))
    return looks_like_key(value)


def _inside_quotes(text: str, cell: Span) -> Span:
    start, end = cell
    while end - start > 2 and text[start] == text[end - 1] and text[start] in "\"'`":
        start, end = start + 1, end - 1
    return start, end


def _pair(text: str, row: _Row) -> list[Span]:
    """The second of two cells, of which the first is a name: `| password | hunter2 |`."""
    if len(row.cells) != 2 or row.style not in (_BORDERED, _TABS, _APART):
        return []
    name, value = (text[slice(*cell)] for cell in row.cells)
    if not _NAME.fullmatch(name) or " " in name or " " in value:
        return []
    verdict = _verdict(name)
    if not verdict or not _is_secret(value, verdict, with_user=False):
        return []
    if row.style == _APART and value.isalpha():
        return []  # `password  text`, as helps and tables of types have it
    return [_inside_quotes(text, row.cells[1])]


_ITEM: Final = re.compile(r"([ \t]*)((?:-[ \t]+)+)?([^\r\n]*)")
_INNER: Final = re.compile(r"[\"']?([\w.-]{1,64})[\"']?[ \t]{0,4}:(?:[ \t]+|$)")
_FIELD: Final = re.compile(r"[\"']?[A-Za-z][\w .-]{0,64}[\"']?[ \t]{0,4}[:=](?:[ \t]|$)")
_KEY_CHARACTERS: Final = re.compile(r"[\w.~+/=-]{3,}")
_MAX_SHORT: Final = 5
_DESCRIPTIONS: Final = frozenset(
    ("user", "username", "name", "host", "hostname", "port", "type", "kind", "method", "url")
)


class _Item(NamedTuple):
    """A value in a line of YAML; listed: whether it is one of a list by itself."""

    span: Span
    text: str
    verdict: Verdict
    listed: bool


def find_below(
    verdict: Verdict, text: str, start: int, indent: int, *, described: bool, lists: bool
) -> tuple[list[Span], int]:
    """Find the secrets in the lines of YAML below `tokens:`, and where these lines end.

    start: of the first line. indent: of the name. described: whether user and host beside a secret
    are kept. lists: whether only lists are looked at, as the name is no key of YAML.
    """
    items: list[_Item] = []
    while start < len(text):
        _, end = _line_at(text, start)
        line = _ITEM.match(text, start, min(end, start + _MAX_LINE))
        if line is None or not _is_below(line, indent, lists):
            break
        items += _item(verdict, text, line, described=described)
        start = end + 1
    words = any(item.verdict in TOKENS and is_piece_of_text(item.text) for item in items)
    return [item.span for item in items if _is_item_secret(item, words=words)], start


def _is_below(line: re.Match[str], indent: int, lists: bool) -> bool:
    own = len(line[1].expandtabs())
    if line[2]:
        return own >= indent
    return bool(line[3].strip()) and own > indent and not lists


def _item(verdict: Verdict, text: str, line: re.Match[str], *, described: bool) -> list[_Item]:
    start, end = line.span(3)
    inner = _INNER.match(text, start, end)
    if inner:
        if inner[1].lower() in _DESCRIPTIONS and (described or line[2]):
            return []
        start = inner.end()
        verdict = verdict if verdict in TOKENS else _verdict(inner[1]) or verdict
    end = _end_of_value(text, start, end)
    prose = " " in text[start:end] and not inner and not line[2]
    listed = bool(line[2]) and not inner
    return [] if prose else [_Item((start, end), text[start:end].strip("\"'"), verdict, listed)]


def _end_of_value(text: str, start: int, end: int) -> int:
    comment = text.find(" #", start, end)
    return _stripped(text, start, end if comment < 0 else comment)[1]


def _is_item_secret(item: _Item, *, words: bool) -> bool:
    """words: whether the list has a word; it is then rather a vocabulary than one of tokens."""
    text, verdict = item.text, item.verdict
    if not text or text[0] in "[{|>#&*" or REDACTED in text or keeps_text(verdict, text):
        return False
    if verdict in _SECRET:
        return True
    if verdict is Verdict.COUNT and not is_path(text):
        return len(text) > _MAX_SHORT and any(map(str.isdigit, text))
    if verdict in TOKENS and item.listed and not words:
        return _KEY_CHARACTERS.fullmatch(text) is not None and not is_path(text)
    return looks_like_key(text)


def is_field(text: str, position: int) -> bool:
    """Return whether a line begins with a name of its own: `user: x`."""
    return _FIELD.match(text, position) is not None
