"""Messages keep the limits of Discord and Slack, whatever the events hold."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from realm_exporter_webhook import templates
from realm_exporter_webhook.engine import Firing
from realm_exporter_webhook.templates import cut, render

from realm_telemetry.kinds.catalog import event_to_dict

from .conftest import event


def units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


TEXT = st.one_of(
    st.text(max_size=200),
    st.builds(lambda part: part * 3000, st.text(min_size=1, max_size=3)),
)
DETAILS = st.dictionaries(TEXT, st.one_of(TEXT, st.integers()), max_size=8)
FIRINGS = st.builds(
    lambda messages, details, group, held, late, more: Firing(
        "rule",
        group,
        ("lab",),
        [
            event(number, message=message or "x", details=details, hero_id=message)
            for number, message in enumerate(messages, 1)
        ],
        len(messages) + more,
        held,
        late,
    ),
    st.lists(TEXT, min_size=1, max_size=10),
    DETAILS,
    TEXT,
    st.integers(0, 10**9),
    st.booleans(),
    st.integers(0, 10**6),
)


@settings(max_examples=40, deadline=None)
@given(FIRINGS)
def test_a_discord_message_is_within_all_limits(firing: Firing) -> None:
    message = json.loads(render("discord", firing, "msg_1"))
    assert message["allowed_mentions"] == {"parse": []}
    (embed,) = message["embeds"]
    assert 0 < units(embed["title"]) <= 256
    assert units(embed["description"]) <= 4096
    assert len(embed["fields"]) <= 25
    for field in embed["fields"]:
        assert 0 < units(field["name"]) <= 256
        assert 0 < units(field["value"]) <= 1024
    assert units(embed["footer"]["text"]) <= 2048
    assert total(embed) <= 6000


def total(embed: dict[str, Any]) -> int:
    texts = [embed["title"], embed["description"], embed["footer"]["text"]]
    texts += [field[name] for field in embed["fields"] for name in ("name", "value")]
    return sum(map(units, texts))


@settings(max_examples=40, deadline=None)
@given(FIRINGS)
def test_a_slack_message_is_within_all_limits(firing: Firing) -> None:
    message = json.loads(render("slack", firing, "msg_1"))
    assert len(message["blocks"]) <= 50
    assert 0 < units(message["text"]) <= 4000
    everything = 0
    for block in message["blocks"]:
        text = block["text"]["text"] if "text" in block else block["elements"][0]["text"]
        assert 0 < units(text) <= (150 if block["type"] == "header" else 3000)
        everything += units(text)
    assert everything <= templates.SLACK_ALL_BLOCKS


def test_plain_json_holds_the_events_as_readers_see_them() -> None:
    events = [event(n, details={"loss": 0.5, "path": ["a", None]}) for n in (1, 2)]
    firing = Firing("rule", "", ("lab",), events, 2)
    message = json.loads(render("json", firing, "msg_1"))
    assert message["events"] == [json.loads(json.dumps(event_to_dict(each))) for each in events]
    assert (message["id"], message["count"], message["rule"]) == ("msg_1", firing.count, "rule")


def single(text: str) -> Firing:
    return Firing("rule", "", ("lab",), [event(1, message=text)], 1)


def test_text_of_an_event_is_no_markup() -> None:
    slack = json.loads(render("slack", single("<!channel> & <https://evil|here>"), ""))
    assert slack["blocks"][1]["text"]["text"] == (
        "&lt;!channel&gt; &amp; &lt;https://evil|here&gt;"
    )
    discord = json.loads(render("discord", single("**a** [b](c)"), ""))
    assert discord["embeds"][0]["description"] == "\\*\\*a\\*\\* \\[b\\](c)"


@pytest.mark.parametrize(
    ("text", "most", "expected"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("😀😀", 3, "😀…"),
        ("ab&amp;cd", 5, "ab…"),
        ("ab\\*cd", 4, "ab…"),
        ("a", 0, ""),
    ],
)
def test_a_cut_breaks_no_character_and_no_escape(text: str, most: int, expected: str) -> None:
    assert cut(text, most) == expected


def test_a_digest_shows_that_it_is_late_and_how_many_are_not_shown() -> None:
    events = [event(number) for number in range(1, 3)]
    message = json.loads(render("slack", Firing("jobs", "", (), events, 40, 0, True), ""))
    assert "40 events that came late" in message["text"]
    assert "38 events before these" in message["blocks"][1]["text"]["text"]
