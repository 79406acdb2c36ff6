"""Answers of JSON: whole, and encoded where they hold up nobody."""

import threading
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm_telemetry.service.api import answers

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), VALUES))
def test_pieces_make_the_same_json(content: dict[str, Any]) -> None:
    assert answers.encode_by_pieces(content) == msgspec.json.encode(content)


def test_the_state_is_encoded_beside_the_event_loop(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 50 events it may have megabytes, for which every other client would wait."""
    client.post("/api/event", json={"kind": "note", "message": "shown"})
    seen: set[str] = set()

    def watched(value: Any) -> bytes:
        seen.add(threading.current_thread().name)
        return msgspec.json.encode(value)

    monkeypatch.setattr(answers, "encode", watched)
    answer = client.get("/api/state")
    assert set(answer.json()) == {"state", "events", "timestamp", "schema_version", "cursor"}
    assert seen
    assert all(name.startswith(("asyncio_", "uvloop_")) for name in seen), seen
