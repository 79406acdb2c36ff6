"""Messages keep the limits of their services, and no text of an event is markup in them."""

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from realm_exporter_webhook import templates
from realm_exporter_webhook.engine import Firing
from realm_exporter_webhook.run_facts import Checkpoint, RunFacts
from realm_exporter_webhook.templates import cut, discord_text, render, slack_text

from realm_telemetry.kinds.catalog import event_to_dict
from realm_telemetry.kinds.line import printable

from .conftest import event


def units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


TEXT = st.one_of(
    st.text(max_size=200),
    st.builds(lambda part: part * 3000, st.text(min_size=1, max_size=3)),
)
DETAILS = st.dictionaries(TEXT, st.one_of(TEXT, st.integers()), max_size=8)
RUNS = st.builds(
    lambda text, path, lines: RunFacts(
        text or "x", text, path, 3, 1e300, 10**30, 0.1, Checkpoint(1, path, text), tuple(lines)
    ),
    TEXT,
    TEXT,
    st.lists(TEXT, max_size=15),
)
FIRINGS = st.builds(
    lambda messages, details, group, held, late, more, run: Firing(
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
        run=run,
    ),
    st.lists(TEXT, min_size=1, max_size=10),
    DETAILS,
    TEXT,
    st.integers(0, 10**9),
    st.booleans(),
    st.integers(0, 10**6),
    st.one_of(st.none(), RUNS),
)


@settings(max_examples=settings().max_examples, deadline=None)
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


@settings(max_examples=settings().max_examples, deadline=None)
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


@settings(max_examples=settings().max_examples, deadline=None)
@given(FIRINGS)
def test_an_ntfy_message_is_within_all_limits(firing: Firing) -> None:
    message = json.loads(render("ntfy", firing, "msg_1", "lab"))
    assert message["topic"] == "lab"
    assert 0 < units(message["title"]) <= 250
    assert 0 < len(message["message"].encode()) <= 4096
    assert message["priority"] in range(1, 6)


def test_plain_json_holds_the_events_as_readers_see_them() -> None:
    events = [event(n, details={"loss": 0.5, "path": ["a", None]}) for n in (1, 2)]
    firing = Firing("rule", "", ("lab",), events, 2)
    message = json.loads(render("json", firing, "msg_1"))
    assert message["events"] == [json.loads(json.dumps(event_to_dict(each))) for each in events]
    assert (message["id"], message["count"], message["rule"]) == ("msg_1", firing.count, "rule")


# What people and attackers write: each of it is markup somewhere.
MARKUP = [
    "**bold** *it* __under__ _it_ ~~gone~~ ||hidden|| `code` ```py\ncode\n```",
    "[click](http://evil.example) <http://evil.example> ![x](http://evil.example/x.png)",
    "[a]: http://evil.example\n[a]",
    "<@123> <@!123> <@&1> <#1> @everyone @here <!channel> <!here> <!subteam^S1> <@U1>",
    "<:name:1> <a:name:1> :smile: :+1: </command:1> <t:1700000000:R> <id:browse>",
    "# one\n## two\n### three\n-# sub",
    "> quote\n>>> all",
    "- a\n* b\n+ c\n1. d\n2) e\n  - f",
    "title\n===\ntitle\n---\n***\n- - -\n___\n--",
    "a | b\n--|--\nc | d",
    "<b>x</b> <script>alert(1)</script> &amp; &lt; &#42;",
    "C:\\dir\\__init__.py \\* \\\\*",
    "see https://wandb.ai/a_b/c*d* and http://x/y#z",
    "<https://evil.example|bank.example>",
    "a  \nb\\\nc",
    "\u202eevil\u202c \u200b \u2066x\u2069 \x1b[31m \x00 \U000e0041 \u2028# x",
]
ANY_TEXT = st.one_of(
    st.sampled_from(MARKUP), st.text(st.sampled_from("*_~`|>#[]()<@!:-+=1. \\\n&/ahtps"))
)

# Of CommonMark what Discord has not: indented code, entities. What it has beside: `||`, `~~`.
DISCORD = MarkdownIt("commonmark").enable(["table", "strikethrough"]).disable(["code", "entity"])
PLAIN = {"paragraph_open", "paragraph_close", "inline", "text", "softbreak", "hardbreak"}


def shown(markdown: str) -> tuple[set[str], str]:
    """Which markup a text has, and what a reader sees of it."""
    tokens = DISCORD.parse(markdown)
    tokens += [child for token in tokens for child in token.children or ()]
    text = " ".join(token.content for token in DISCORD.parse(markdown) if token.type == "inline")
    return {token.type for token in tokens} - PLAIN, re.sub(r"\\([^\sA-Za-z0-9])", r"\1", text)


@settings(max_examples=settings().max_examples * 3, deadline=None)
@given(ANY_TEXT)
def test_discord_shows_text_as_it_is(text: str) -> None:
    text = printable(text, lines=True)
    markup, seen = shown(discord_text(text))
    assert markup == set()
    assert seen.split() == text.split()


@pytest.mark.parametrize("piece", ["http://", "https://a", "1.", "- ", "::a", "\\", "|"])
def test_a_hostile_text_is_escaped_within_a_moment(piece: str) -> None:
    began = time.process_time()
    discord_text(piece * 20_000)
    assert time.process_time() - began < 1


def test_the_parser_would_find_the_markup() -> None:
    found = set().union(*(shown(text)[0] for text in MARKUP))
    assert {
        "strong_open",
        "em_open",
        "link_open",
        "image",
        "fence",
        "heading_open",
        "s_open",
    } <= found
    assert {"bullet_list_open", "ordered_list_open", "hr", "table_open", "html_inline"} <= found


@pytest.mark.parametrize("special", ["||", "<", "@", "#", ">", "[", "]", "`", "~", "*", "_", "\\"])
def test_every_character_that_discord_reads_is_escaped(special: str) -> None:
    escaped = "".join(f"\\{character}" for character in special)
    assert discord_text(f"a{special}b") == f"a{escaped}b"


def every_text(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from every_text(each)


def full_of(text: str) -> list[Firing]:
    """A message about one event, one about several, and a digest, with the text everywhere."""
    one = event(
        1,
        kind=text or "x",
        channel=text or "x",
        severity="error",
        message=text,
        details={text: text, "list": [text]},
        hero_id=text,
        campaign_id=text,
        run_id=text,
    )
    group = f"hero={text}"
    run = RunFacts(text or "x", text, text, 0, 1, 2, 0.5, Checkpoint(1, text, text), (text, text))
    return [
        Firing("rule", "", (), [one], 1, run=run),
        Firing("rule", "", (), [one], 1, about=text or "x", run=run),
        Firing("rule", group, (), [one], 1),
        Firing("rule", group, (), [one, one], 5, 2),
        Firing("request", "", (), [one], 1, late=True),
    ]


@settings(max_examples=settings().max_examples, deadline=None)
@given(ANY_TEXT)
@example("\u202e\u2066\u200b\x1b\x9b")
def test_no_place_of_a_discord_message_has_markup_of_an_event(text: str) -> None:
    for firing in full_of(text):
        (embed,) = json.loads(render("discord", firing, "m"))["embeds"]
        assert "url" not in embed
        fields = [field[part] for field in embed["fields"] for part in ("name", "value")]
        for rendered in (embed["title"], embed["description"], *fields):
            assert shown(rendered)[0] == set()
            assert printable(rendered, lines=True) == rendered
            assert rendered.strip()


@settings(max_examples=settings().max_examples, deadline=None)
@given(ANY_TEXT)
def test_no_place_of_a_slack_message_has_markup(text: str) -> None:
    for firing in full_of(text):
        message = json.loads(render("slack", firing, "m"))
        places = [block.get("text") or block["elements"][0] for block in message["blocks"]]
        assert {(each["type"], each["emoji"]) for each in places} == {("plain_text", False)}
        for each in places:
            assert printable(each["text"], lines=True) == each["text"]
        assert message["mrkdwn"] is False
        bare = re.sub("\u200b[*_~`:]\u200b|&(?:amp|lt|gt);", "", message["text"])
        assert not set(bare) & set("*_~`<>&:\n")


def test_slack_has_no_way_to_escape_but_to_part() -> None:
    assert slack_text("*a* <!here> & :b:") == (
        "\u200b*\u200ba\u200b*\u200b &lt;!here&gt; &amp; \u200b:\u200bb\u200b:\u200b"
    )


def test_plain_json_is_raw() -> None:
    for text in MARKUP:
        message = json.loads(render("json", full_of(text)[0], "m"))
        assert message["events"][0]["message"] == text


def test_an_event_cannot_make_up_a_line_of_another() -> None:
    made_up = event(1, message="fine\n12:00:00 job_failed: all lost", details={"a\nb": "c\nrun: x"})
    several = json.loads(render("slack", Firing("rule", "", (), [made_up, made_up], 2), "m"))
    assert len(several["blocks"][1]["text"]["text"].split("\n")) == 2
    single = json.loads(render("slack", Firing("rule", "", (), [made_up], 1), "m"))
    assert single["blocks"][2]["text"]["text"] == "a b: c run: x"


def test_ends_of_lines_of_a_single_message_stay() -> None:
    text = "Traceback:\r\n\tFile\n    x"
    message = json.loads(render("discord", Firing("rule", "", (), [event(1, message=text)], 1), ""))
    assert message["embeds"][0]["description"] == "Traceback:\n    File\n    x"


@pytest.mark.parametrize(
    ("text", "most", "expected"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("😀😀", 3, "😀…"),
        ("ab&amp;cd", 5, "ab…"),
        ("ab\\*cd", 4, "ab…"),
        ("ab\\*cd", 5, "ab\\*…"),
        ("ab\\\\cd", 4, "ab…"),
        ("ab\\\\cd", 5, "ab\\\\…"),
        ("ab\\u202ecdef", 8, "ab…"),
        ("ab\\u202ecdef", 9, "ab\\u202e…"),
        ("ab\\\\u202ecdef", 9, "ab…"),
        ("ab\u200b*\u200bcd", 5, "ab…"),
        ("ab&lt;cd&", 6, "ab…"),
        ("ab&lt;cd&", 7, "ab&lt;…"),
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


def test_an_end_that_came_late_still_says_which_and_how() -> None:
    run = RunFacts("r7", "killed")
    firing = Firing("bad", "", (), [event(1, "run_ended")], 1, late=True, of_status=True, run=run)
    assert json.loads(render("ntfy", firing, "", "t"))["title"] == "bad: killed · r7, late"
