"""Redaction: secrets are taken out of events before they are stored anywhere.

A key is judged by its words (`hf_token`, `apiKey`), a text by what secrets look like. Numbers
are never secrets: a lab counts tokens all day.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import replace

from realm_telemetry.event import Event

REDACTED: Final = "[redacted]"
REDACTED_KEY: Final = "realm.redacted"
"""The detail that lists what was taken out, as paths: `headers.authorization`."""

# fmt: off
SECRET_KEYS: Final = frozenset((
    "token", "password", "passwd", "pwd", "passphrase", "secret", "secrets", "authorization",
    "apikey", "api_key", "access_key", "private_key", "secret_key", "signing_key", "auth_key",
    "credential", "credentials", "cookie", "set_cookie", "webhook", "webhooks", "webhook_url",
    "bearer",
))
# fmt: on
"""A key is secret that is one of these, or ends with one as a word of its own."""

# fmt: off
_VOCABULARY: Final = frozenset((
    "eos", "bos", "pad", "unk", "cls", "sep", "mask", "next", "last", "first", "special", "stop",
    "start", "end", "per", "image", "audio", "best", "worst", "top",
))
# fmt: on
"""Words before `token` that speak of text."""

_MAX_KNOWN_KEYS: Final = 10_000
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SECRET_TEXT = re.compile(
    r"(?P<bearer>(?i:\bbearer\s+))(?=[\w.~+/=-]*\d)[\w.~+/=-]{8,}"
    r"|(?P<header>(?i:\bauthorization[:=]\s*\w+\s+))\S+"
    r"|https://hooks\.slack\.com/\S+"
    r"|https://(?:\w+\.)?discord(?:app)?\.com/api/webhooks/\S+"
    r"|https://[\w.-]+\.webhook\.office\.com/\S+"
    r"|https://api\.telegram\.org/bot\S+"
    r"|(?P<scheme>\b\w+://)[^\s/:@]+:[^\s/@]+(?=@)"
    r"|(?P<assigned>(?i:\b(?:password|passwd|secret|api[_-]?key)=))\S+"
    r"|\bsk-[\w-]{16,}|\bhf_\w{20,}|\bgh[pousr]_\w{20,}|\bgithub_pat_\w{20,}"
    r"|\bxox[abprs]-[\w-]{10,}|\bAKIA[0-9A-Z]{16}\b"
    r"|\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*"
)
# One of these stands in every text that the expression above finds; looking for them is fast.
_HINTS: Final = (
    "://", "earer ", "BEARER ", "uthorization", "AUTHORIZATION", "assw", "PASSW", "ecret=",
    "SECRET=", "key=", "KEY=", "Key=", "sk-", "hf_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_",
    "_pat_", "xox", "AKIA", "eyJ",
)  # fmt: skip


class RedactionProcessor:
    """Takes secrets out of details and message, and marks which.

    keys: further keys whose values are secret, as they are or as last words.
    """

    def __init__(self, keys: Sequence[str] = ()) -> None:
        self._secret = SECRET_KEYS | {_normal(key) for key in keys}
        self._known: dict[str, bool] = {}

    def __call__(self, event: Event) -> Event:
        """Return the event without secrets; the same object if it holds none."""
        found: list[str] = []
        details = self._clean_map(event.details, "", found)
        message = _clean_text(event.message)
        if message is not event.message:
            found.append("message")
        if not found:
            return event
        return replace(event, message=message, details=details | {REDACTED_KEY: found})

    def _clean_map(self, details: dict[str, Any], path: str, found: list[str]) -> dict[str, Any]:
        known = self._known
        changed: dict[str, Any] = {}
        for key, value in details.items():
            kind = type(value)
            if kind is float or kind is int or kind is bool or value is None:
                continue
            secret = known.get(key)
            if secret is None:
                secret = self._judge(key)
            if kind is str and not secret and len(value) < 12:
                continue
            if secret and value and value != REDACTED:
                clean: Any = REDACTED
            else:
                clean = self._clean(value, f"{path}{key}", found)
            if clean is not value:
                changed[key] = clean
                if secret or kind is str:
                    found.append(f"{path}{key}")
        return details | changed if changed else details

    def _clean(self, value: Any, path: str, found: list[str]) -> Any:
        if isinstance(value, str):
            return _clean_text(value)
        if isinstance(value, dict):
            return self._clean_map(value, f"{path}.", found)
        if isinstance(value, list):
            return self._clean_list(value, path, found)
        return value

    def _clean_list(self, values: list[Any], path: str, found: list[str]) -> list[Any]:
        clean = [self._clean(value, path, found) for value in values]
        if all(map(_is, clean, values)):
            return values
        if path not in found:
            found.append(path)
        return clean

    def _judge(self, key: str) -> bool:
        normal = _normal(key)
        words = normal.split("_")
        endings = {normal, words[-1], "_".join(words[-2:]), "_".join(words[-3:])}
        secret = not self._secret.isdisjoint(endings)
        if words[-1] == "token" and len(words) > 1 and words[-2] in _VOCABULARY:
            secret = normal in self._secret
        if len(self._known) < _MAX_KNOWN_KEYS:
            self._known[key] = secret
        return secret


def _normal(key: str) -> str:
    """A key as lower-case words: `X-Api-Key`, `apiKey` and `api_key` are one."""
    return "_".join(_WORDS.findall(key)).lower()


def _is(one: object, other: object) -> bool:
    return one is other


def _clean_text(text: str) -> str:
    """The text without what looks like a secret; the same object if nothing does."""
    for hint in _HINTS:
        if hint in text:
            break
    else:
        return text
    clean = _SECRET_TEXT.sub(_replacement, text)
    return text if clean == text else clean


def _replacement(match: re.Match[str]) -> str:
    kept = match["bearer"] or match["header"] or match["scheme"] or match["assigned"] or ""
    return kept + REDACTED
