"""The redactor: events without secrets, on their way into the log."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final, TypeVar

import msgspec

from realm_telemetry.redaction.text import ALL_HINTS, Hints, is_plain
from realm_telemetry.redaction.values import MAX_FOUND, Rules, Walk

REDACTED_KEY: Final = "realm.redacted"
"""The detail that lists what was taken out, as paths: `headers.authorization`."""

_CONTEXT: Final = ("kind", "hero_id", "campaign_id", "run_id", "source")
_MAX_CONTEXTS: Final = 10_000
_TOGETHER: Final = 128

Item = TypeVar("Item", bound=msgspec.Struct)


class Redacted(list[Item]):
    """Events that a redactor returned: the log does not look at them again."""


class Redactor:
    """Takes secrets out of events and resources; see docs/redaction.md.

    own: further names, patterns as `/.../`, or `off`; the setting `redact`.
    """

    def __init__(self, own: Sequence[str] = ()) -> None:
        self._rules = Rules(own)
        self._contexts: set[tuple[Any, ...]] = set()

    def __call__(self, event: Item) -> Item:
        """Return an event without secrets; the same object if it has none."""
        return self.batch([event])[0]

    def batch(self, events: Sequence[Item]) -> Redacted[Item]:
        """Return events without secrets, in order; those that were redacted before as they are.

        Raises TypeError for an event whose message is no text.
        """
        if type(events) is Redacted:
            return events
        if self._rules.off:
            return Redacted(events)
        clean: Redacted[Item] = Redacted()
        for start in range(0, len(events), _TOGETHER):
            clean += self._some(events[start : start + _TOGETHER])
        return clean

    def resource(self, resource: Mapping[str, Any]) -> dict[str, Any]:
        """Return a producer's resource without secrets."""
        clean = resource if self._rules.off else Walk(self._rules).table(resource)
        return dict(clean)

    def text(self, text: str) -> str:
        """Return a text without secrets."""
        return text if self._rules.off else self._rules.text(text)

    def _some(self, events: Sequence[Item]) -> list[Item]:
        """Look through all texts together: most hints stand in none of them."""
        texts = [self._texts(event) for event in events]
        hints = ALL_HINTS.among("\n".join(filter(None, texts)))
        if not any(hints) and None not in texts:
            return list(events)
        return [
            self._walked(event, ALL_HINTS)
            if text is None
            else event
            if is_plain(text, hints)
            else self._walked(event, hints)
            for event, text in zip(events, texts, strict=True)
        ]

    def _texts(self, event: Any) -> str | None:
        """All texts of an event in one; None if names call for a closer look."""
        texts = [event.message]
        if self._rules.patterns or not self._rules.gather(event.details, texts):
            return None
        context = (event.kind, event.hero_id, event.campaign_id, event.run_id, event.source)
        if context not in self._contexts:
            if not all(text is None or is_plain(text, ALL_HINTS) for text in context):
                return None
            if len(self._contexts) >= _MAX_CONTEXTS:
                self._contexts.clear()
            self._contexts.add(context)
        return "\n".join(texts)

    def _walked(self, event: Item, hints: Hints) -> Item:
        happened: Any = event
        walk = Walk(self._rules, hints)
        details, found = walk.table(happened.details), walk.found
        if walk.repeated:
            walk = Walk(self._rules, hints, sorted(walk.repeated, key=len, reverse=True))
            details = walk.table(details)
            found += [path for path in walk.found if path not in found]
        changes = self._fields(happened, walk)
        found += changes
        if not found and details is happened.details:
            return event
        marks = {REDACTED_KEY: _marks(details, found)} if found else {}
        changes["details"] = dict(details) | marks
        return msgspec.structs.replace(event, **changes)

    def _fields(self, event: Any, walk: Walk) -> dict[str, Any]:
        """What changes in the fields beside the details."""
        changes: dict[str, Any] = {}
        for name in ("message", *_CONTEXT):
            text = getattr(event, name)
            clean = text and walk.text(text)
            if clean != text:
                changes[name] = clean
        return changes


def _marks(details: Mapping[str, Any], found: list[str]) -> list[str]:
    """The paths of what was taken out, now and before."""
    before = details.get(REDACTED_KEY)
    known = [path for path in before if isinstance(path, str)] if isinstance(before, list) else []
    return [*known, *(path for path in found if path not in known)][: MAX_FOUND + 1]


@cache
def redactor(own: tuple[str, ...] = ()) -> Redactor:
    """Return the redactor for a setting; it learns names, so there is one for each."""
    return Redactor(own)
