"""Secrets in JSON values of any depth: under names, in texts, in pairs and in command lines."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from realm_telemetry.redaction.commands import is_command, program_of, without_login
from realm_telemetry.redaction.names import (
    COUNTS,
    TOKENS,
    Verdict,
    is_piece_of_text,
    judge,
    keeps_number,
    keeps_text,
    looks_like_key,
    normal_name,
)
from realm_telemetry.redaction.rules import REDACTED
from realm_telemetry.redaction.text import (
    ALL_HINTS,
    Hints,
    clean_text,
    is_plain,
    words_without_secrets,
)

MAX_DEPTH: Final = 100
"""What is deeper is not looked into, so it is taken out."""

MAX_FOUND: Final = 64
"""Paths in the mark; "..." stands for more."""

_MAX_KNOWN: Final = 10_000
_MAX_KNOWN_CHARS: Final = 128
_MIN_REPEATED: Final = 6
_MAX_REPEATED: Final = 64
_NAMED: Final = ("name", "key", "field", "header", "variable", "Name", "Key", "NAME", "KEY")
_VALUES: Final = ("value", "val", "Value", "VALUE")
_DESCRIPTIONS: Final = frozenset(
    ("user", "username", "user_name", "name", "host", "hostname", "port", "type", "kind", "method")
)
"""Parts of `{"auth": {...}}` and `{"secrets": [{...}]}` that say whose secret it is."""
_TEXTS: Final = frozenset(("text", "token", "piece", "content", "decoded", "string"))
"""Parts of `{"tokens": [{"token": "the", "logprob": -1.2}]}` that are pieces of text."""
_DESCRIBED: Final = frozenset(("auth", "credential", "credentials", "cred", "creds"))
_OFF: Final = "off"
_NUMBERS: Final = frozenset((int, float, bool, type(None)))
_NUMBERS_PASS: Final = frozenset((int(Verdict.PLAIN), *map(int, COUNTS)))
_OPTION: Final = re.compile(r"--?[A-Za-z][\w.-]{0,80}")
_HEADER: Final = re.compile(r"[A-Z][A-Za-z]{0,40}(?:-[A-Z][A-Za-z]{0,40}){0,6}")
_ODD_NAME: Final = -1
"""The verdict on a name that is itself a text with a secret."""


_BESIDE_A_NAME: Final = -2
"""The verdict on `value`, which may stand beside the name of a secret."""


_WITH_COLUMNS: Final = -3
"""The verdict on `columns`, which may name the columns of the rows beside it."""
_COLUMNS: Final = ("columns", "column_names", "fields", "header")
_ROWS: Final = ("data", "rows", "values", "table")


class Rules:
    """The built-in rules, with names and patterns of the user's own.

    own: names, and patterns as `/.../`; `off` turns redaction off.
    """

    def __init__(self, own: Sequence[str] = ()) -> None:
        self.off = _OFF in own
        self.patterns = tuple(re.compile(text[1:-1]) for text in own if is_pattern(text))
        self._names = frozenset(normal_name(text) for text in own if not is_pattern(text))
        self._known: dict[str, int] = {}

    def verdict(self, name: str) -> int:
        """What a name says of its value."""
        known = self._known.get(name)
        if known is None:
            known = int(judge(name, self._names))
            if name in _VALUES:
                known = _BESIDE_A_NAME
            elif name in _COLUMNS and known == Verdict.PLAIN:
                known = _WITH_COLUMNS
            elif known == Verdict.PLAIN and self.text(name) is not name:
                known = _ODD_NAME
            if len(name) <= _MAX_KNOWN_CHARS:
                if len(self._known) >= _MAX_KNOWN:
                    self._known.clear()
                self._known[name] = known
        return known

    def text(self, text: str, hints: Hints = ALL_HINTS) -> str:
        """Return the text without secrets; the same object if it has none."""
        if not self.patterns and is_plain(text, hints):
            return text
        return clean_text(text, self.patterns)

    def gather(self, details: Mapping[str, Any], texts: list[str], depth: int = 0) -> bool:
        """Add the texts of details to a list; False if names call for a closer look.

        The fast way to see that an event has no secret.
        """
        known = self._known
        for name, value in details.items():
            verdict = known.get(name)
            if verdict is None:
                verdict = self.verdict(name)
            kind = type(value)
            if kind in _NUMBERS:
                if verdict not in _NUMBERS_PASS and not self._is_alone(verdict, details):
                    return False
            elif verdict and not self._is_alone(verdict, details):
                return False
            elif kind is str:
                texts.append(value)
            elif kind is list and is_command(name, value):
                texts.append(" ".join(value))
                if not self._gather_deeper(value, texts, depth + 1):
                    return False
            elif not self._gather_deeper(value, texts, depth + 1):
                return False
        return True

    def _is_alone(self, verdict: int, values: Mapping[str, Any]) -> bool:
        """Return whether a name is `value` or `columns`, and names no secret with what it has."""
        if verdict == _WITH_COLUMNS:
            return not self.columns(values)
        return verdict == _BESIDE_A_NAME and not _named(values)

    def columns(self, values: Mapping[str, Any]) -> dict[int, int]:
        """The columns of `{"columns": ["user", "password"], "rows": [...]}` that are secret."""
        if not any(isinstance(values.get(name), list | tuple) for name in _ROWS):
            return {}
        names = next((found for name in _COLUMNS if (found := values.get(name))), None)
        return self.secret_names(names)

    def secret_names(self, names: Any) -> dict[int, int]:
        """The verdicts on those names of a list that name secrets, by their place."""
        if not isinstance(names, list | tuple):
            return {}
        verdicts = (self.verdict(name) if isinstance(name, str) else 0 for name in names)
        return {at: verdict for at, verdict in enumerate(verdicts) if verdict > Verdict.PLAIN}

    def _gather_deeper(self, value: Any, texts: list[str], depth: int) -> bool:
        if depth > MAX_DEPTH:
            return False
        kind = type(value)
        if kind is dict:
            return self.gather(value, texts, depth)
        if kind is not list or (_is_pair(value) and self.verdict(value[0])):
            return False
        if _is_table(value) and self.secret_names(value[0]):
            return False
        if (
            value
            and type(value[0]) is str
            and (program_of(value) or self._has_secret_header(value))
        ):
            return False
        for item in value:
            if type(item) is str:
                texts.append(item)
            elif type(item) not in _NUMBERS and not self._gather_deeper(item, texts, depth + 1):
                return False
        return True

    def _has_secret_header(self, values: Sequence[Any]) -> bool:
        return _is_header_list(values) and any(self.verdict(name) for name in values[::2])


def is_pattern(text: str) -> bool:
    """Return whether an entry of `redact` is a pattern: `/.../`."""
    return len(text) > 2 and text.startswith("/") and text.endswith("/")


class Walk:
    """One pass over the details of an event.

    found: paths of what was taken out. repeated: secrets that other texts may repeat.
    secrets: what is taken out of every text. Every method returns the same object where there is
    no secret.
    """

    def __init__(self, rules: Rules, hints: Hints = ALL_HINTS, secrets: Sequence[str] = ()) -> None:
        self._rules = rules
        self._hints = hints
        self._secrets = secrets
        self.found: list[str] = []
        self.repeated: set[str] = set()

    def text(self, text: str, hints: Hints = ALL_HINTS) -> str:
        """Return a text without secrets."""
        clean = self._rules.text(text, hints)
        for secret in self._secrets:
            if secret in clean:
                clean = clean.replace(secret, REDACTED)
        return clean

    def table(self, values: Mapping[str, Any], path: str = "", depth: int = 0) -> Any:
        """Return a mapping without secrets."""
        clean: dict[Any, Any] = {}
        changed = False
        pair = self._secret_pair(values)
        columns = self._rules.columns(values)
        names = _Names()
        for name, value in values.items():
            shown = self._name(name, names)
            here = f"{path}{shown}"
            verdict = self._rules.verdict(str(name))
            if columns and name in _ROWS and isinstance(value, list | tuple):
                clean[shown] = self._rows(columns, value, here, depth)
                changed = changed or clean[shown] is not value or shown is not name
                continue
            if pair and name in _VALUES:
                verdict = pair
            new = self._under(verdict, value, here, depth)
            changed = changed or new is not value or shown is not name
            clean[shown] = new
        return clean if changed else values

    def value(self, value: Any, path: str, depth: int) -> Any:
        """Return a value under a plain name without secrets."""
        if isinstance(value, str):
            return self._noted(value, self.text(value, self._hints), path)
        if isinstance(value, Mapping | list | tuple):
            if depth >= MAX_DEPTH:
                return REDACTED  # not listed: the log cuts details long before
            if isinstance(value, Mapping):
                return self.table(value, f"{path}.", depth + 1)
            return self._list(value, path, depth + 1)
        if isinstance(value, bytes | bytearray | memoryview):
            text = bytes(value).decode("latin-1")
            return self._noted(value, value if self._rules.text(text) is text else REDACTED, path)
        return value

    def _rows(
        self, columns: Mapping[int, int], rows: Any, path: str, depth: int, head: Any = None
    ) -> Any:
        """Rows of a table without what stands in its secret columns; head: the row of names."""
        clean = [
            row if row is head else self._table_row(columns, row, path, depth + 1) for row in rows
        ]
        return rows if all(map(_is, clean, rows)) else clean

    def _table_row(self, columns: Mapping[int, int], row: Any, path: str, depth: int) -> Any:
        if not isinstance(row, list | tuple) or depth > MAX_DEPTH:
            return self.value(row, path, depth)
        clean = [
            self._secret_item(Verdict(columns[at]), item, path, depth + 1)
            if at in columns and not _is_word(Verdict(columns[at]), item)
            else self.value(item, path, depth + 1)
            for at, item in enumerate(row)
        ]
        return row if all(map(_is, clean, row)) else clean

    def _secret_pair(self, values: Mapping[Any, Any]) -> int:
        """The verdict that a name in a table passes on to the value beside it."""
        verdicts = (self._rules.verdict(name) for name in _named(values))
        return next((verdict for verdict in verdicts if verdict), 0)

    def _name(self, name: Any, names: "_Names") -> Any:
        """A name without secrets, which no other one has."""
        if not isinstance(name, str):
            return name
        clean = self.text(name)
        shown = names.free(name if clean == name else clean)
        return name if shown == name else self._noted(name, shown, shown)

    def _under(self, verdict: int, value: Any, path: str, depth: int) -> Any:
        """A value under a name of some verdict."""
        if verdict <= Verdict.PLAIN:
            return self.value(value, path, depth)
        judged = Verdict(verdict)
        if type(value) in _NUMBERS:
            return value if keeps_number(judged, value) else self._hidden(value, path)
        if isinstance(value, str):
            if keeps_text(judged, value):
                return self.value(value, path, depth)
            return self._hidden(value, path)
        if isinstance(value, Mapping):
            described = _last_word(path) in _DESCRIBED
            return self._secret_table(judged, value, path, depth + 1, described)
        if isinstance(value, list | tuple):
            return self._secret_list(judged, value, path, depth + 1)
        return self._hidden(value, path)

    def _secret_table(
        self, verdict: Verdict, values: Mapping[Any, Any], path: str, depth: int, described: bool
    ) -> Any:
        """A table under a secret name; it keeps its names, and what describes the secret."""
        if depth > MAX_DEPTH:
            return self._noted(values, REDACTED, path)
        clean: dict[Any, Any] = {}
        names = _Names()
        for name, value in values.items():
            shown = self._name(name, names)
            described_here = described and name in _DESCRIPTIONS
            piece = verdict in TOKENS and name in _TEXTS and isinstance(value, str)
            if (isinstance(value, str) and described_here) or (piece and is_piece_of_text(value)):
                clean[shown] = self.value(value, f"{path}.{shown}", depth)
            else:
                stricter = self._stricter(_inner(verdict), name)
                clean[shown] = self._under(stricter, value, path, depth)
        same = all(map(_is, clean.values(), values.values())) and all(map(_is, clean, values))
        return values if same else clean

    def _secret_list(self, verdict: Verdict, values: Any, path: str, depth: int) -> Any:
        """A list under a secret name."""
        if depth > MAX_DEPTH:
            return self._noted(values, REDACTED, path)
        clean = [self._secret_item(verdict, item, path, depth) for item in values]
        return values if all(map(_is, clean, values)) else clean

    def _secret_item(self, verdict: Verdict, item: Any, path: str, depth: int) -> Any:
        if isinstance(item, Mapping):
            return self._secret_table(_inner(verdict), item, path, depth + 1, described=True)
        if verdict in TOKENS and isinstance(item, str) and is_piece_of_text(item):
            return self.value(item, path, depth)
        return self._under(_inner(verdict), item, path, depth)

    def _stricter(self, verdict: Verdict, name: Any) -> int:
        own = self._rules.verdict(name) if isinstance(name, str) else 0
        return own if own == Verdict.SECRET else verdict

    def _list(self, values: Sequence[Any], path: str, depth: int) -> Any:
        columns = self._rules.secret_names(values[0]) if _is_table(values) else {}
        if columns:
            return self._rows(columns, values, path, depth, head=values[0])
        if _is_header_list(values):
            return self._headers(values, path, depth)
        pairs = all(_is_pair(item) for item in values)
        clean: list[Any] = []
        after = 0  # the verdict of an option, on the next item
        in_key = False
        for item in values:
            if pairs:
                new = self._pair(item, path, depth)
            elif in_key and isinstance(item, str) and "-----END" not in item:
                new = self._noted(item, REDACTED if item.strip() else item, path)
            elif after and not (isinstance(item, str) and item.startswith("-")):
                new = self._under(after, item, path, depth)
            else:
                new = self.value(item, path, depth)
            after = self._option(item)
            in_key = _key_goes_on(item, in_key)
            clean.append(new)
        clean = self._command(program_of(values), clean, path)
        if is_command(path, clean):
            words = words_without_secrets(clean, self._rules.patterns)
            # The same objects, where nothing was found.
            clean = [
                before if before == word else self._noted(before, word, path)
                for before, word in zip(clean, words, strict=True)
            ]
        return values if all(map(_is, clean, values)) else clean

    def _command(self, program: str, items: list[Any], path: str) -> list[Any]:
        """Return the words of a command without the logins that it is known to take."""
        if not program or (program in ("docker", "podman") and "login" not in items):
            return items
        return [
            self._noted(item, without_login(program, before, item), path)
            for before, item in zip(["", *items], items, strict=False)
        ]

    def _headers(self, values: Sequence[str], path: str, depth: int) -> Any:
        """Return `["X-Api-Key", "x", "Accept", "*"]` without secrets."""
        clean: list[Any] = []
        for at, item in enumerate(values):
            verdict = self._rules.verdict(values[at - 1]) if at % 2 else 0
            clean.append(self._under(verdict, item, path, depth))
        return values if all(map(_is, clean, values)) else clean

    def _pair(self, pair: Sequence[Any], path: str, depth: int) -> Any:
        name, value = pair
        shown = self.value(name, path, depth)
        new = self._under(self._rules.verdict(name), value, path, depth + 1)
        return pair if shown is name and new is value else [shown, new]

    def _option(self, item: Any) -> int:
        if isinstance(item, str) and _OPTION.fullmatch(item):
            return max(self._rules.verdict(item), 0)
        return 0

    def _hidden(self, value: Any, path: str) -> Any:
        text = str(value)
        long = len(text) >= _MIN_REPEATED and not text.isalpha() and text not in REDACTED
        if long and len(self.repeated) < _MAX_REPEATED:
            self.repeated.add(text)
        return self._noted(value, REDACTED, path)

    def _noted(self, value: Any, clean: Any, path: str) -> Any:
        if clean is value:
            return value
        if len(self.found) <= MAX_FOUND and path not in self.found:
            self.found.append(path if len(self.found) < MAX_FOUND else "...")
        return clean


class _Names:
    """The names of one table: a number follows what another one has."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._next: dict[str, int] = {}

    def free(self, name: str) -> str:
        """Return the name, with a number if it is taken."""
        shown, count = name, self._next.get(name, 2)
        while shown in self._taken:
            shown, count = f"{name} {count}", count + 1
        if shown is not name:
            self._next[name] = count
        self._taken.add(shown)
        return shown


def _named(values: Mapping[Any, Any]) -> list[str]:
    """The names beside a value in `{"name": "PASSWORD", "value": "x"}`."""
    for value in _VALUES:
        if value in values:
            return [name for key in _NAMED if isinstance(name := values.get(key), str)]
    return []


def _inner(verdict: Verdict) -> Verdict:
    """`passwords: 3` is a count, and each of a list of them is secret."""
    if verdict is Verdict.PIECE:
        return Verdict.TOKEN
    return Verdict.SECRET if verdict is Verdict.PLURAL else verdict


def _last_word(path: str) -> str:
    return normal_name(path.rpartition(".")[2]).rpartition("_")[2]


def _is_header_list(values: Sequence[Any]) -> bool:
    """Return whether names of headers and their values take turns in a list."""
    if len(values) % 2 or len(values) < 2 or not all(isinstance(item, str) for item in values):
        return False
    if not all(_HEADER.fullmatch(name) for name in values[::2]):
        return False
    if not any("-" in name or name in ("Authorization", "Cookie") for name in values[::2]):
        return False
    return not all(_HEADER.fullmatch(value) for value in values[1::2])


def _is_word(verdict: Verdict, item: Any) -> bool:
    """Return whether an item of a column of tokens is one of a vocabulary."""
    return verdict in TOKENS and isinstance(item, str) and not looks_like_key(item)


def _is_table(values: Sequence[Any]) -> bool:
    """Return whether a list has a row of names and rows of as many values."""
    head = values[0] if len(values) > 1 else None
    if not isinstance(head, list | tuple) or not all(isinstance(name, str) for name in head):
        return False
    if not all(isinstance(row, list | tuple) and len(row) == len(head) for row in values):
        return False
    return len(head) > 2 or (len(head) == 2 and judge(head[0]) == judge("user"))


def _is_pair(item: Any) -> bool:
    return isinstance(item, list | tuple) and len(item) == 2 and isinstance(item[0], str)


def _key_goes_on(item: Any, before: bool) -> bool:
    """Whether the next line in a list of lines belongs to a private key."""
    if not isinstance(item, str):
        return False
    if "-----BEGIN" in item and "PRIVATE KEY" in item:
        return "-----END" not in item
    return before and "-----END" not in item


def _is(one: object, other: object) -> bool:
    return one is other
