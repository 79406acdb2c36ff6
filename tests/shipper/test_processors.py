"""Processors between spool and log: kind metadata, resource, redaction, the user's own."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm_telemetry.event import Event
from realm_telemetry.processors import (
    FAILED_KEY,
    KindMetadataProcessor,
    ProcessorChain,
    ResourceProcessor,
)
from realm_telemetry.processors.redaction import REDACTED, REDACTED_KEY, RedactionProcessor


def event(message="hello", kind="checkpoint_saved", channel="debug", severity="info", **details):
    return Event(kind, channel, severity, message, details, 1, "0123456789abcdef", 1)


def redacted(message="hello", **details):
    return RedactionProcessor()(event(message, **details))


def test_a_foreign_record_gets_the_kinds_channel_severity_and_message():
    foreign = event(message="", channel="", severity="", step=5, loss=0.5)
    filled = KindMetadataProcessor()(foreign)
    assert (filled.channel, filled.severity) == ("checkpoint", "success")
    assert filled.message == "Checkpoint 5 saved (loss: 0.5000)"


def test_fields_that_an_event_has_are_kept():
    own = event()
    assert KindMetadataProcessor()(own) is own


def test_run_and_source_come_from_the_resource_where_the_event_has_none():
    processor = ResourceProcessor()
    processor.learn("0123456789abcdef", {"service.name": "trainer", "realm.run.id": "r7"})
    filled = processor(msgspec.structs.replace(event(), source="eval"))
    assert (filled.run_id, filled.source) == ("r7", "eval")
    processor.forget("0123456789abcdef")
    assert processor(event()).run_id is None


@pytest.mark.parametrize(
    ("given", "rank"),
    [(0, 0), (7, 7), ("3", 3), (2**32 - 1, 2**32 - 1), (2**32, None), (-1, None), ("a", None),
     (True, None), (1.0, None), ("9" * 400, None), ("\u0663", None), (None, None)],
)  # fmt: skip
def test_an_event_has_the_rank_of_its_producer(given, rank):
    processor = ResourceProcessor()
    processor.learn("0123456789abcdef", {"realm.rank": given})
    assert processor(event()).rank == rank
    assert processor(msgspec.structs.replace(event(), rank=5)).rank == 5


@pytest.mark.parametrize(
    "key",
    [
        "token", "hf_token", "accessToken", "API_KEY", "api-key", "apiKey", "Authorization",
        "db_password", "client_secret", "AWS_SECRET_ACCESS_KEY", "webhook_url", "set-cookie",
    ],
)  # fmt: skip
def test_secret_keys_are_redacted(key):
    after = redacted(**{key: "very-private"})
    assert after.details == {key: REDACTED, REDACTED_KEY: [key]}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("eos_token", "</s>"), ("pad_token", "<pad>"), ("tokens_per_second", 51234.5),
        ("token_count", 7), ("tokenizer", "bpe"), ("max_tokens", 8192), ("loss_per_token", 0.3),
        ("token", 5), ("secretary", "Ada"), ("password", ""), ("monkey", "banana"),
    ],
)  # fmt: skip
def test_what_a_lab_talks_about_is_not_redacted(key, value):
    before = event(**{key: value})
    assert RedactionProcessor()(before) is before


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Authorization: Bearer abc123DEF456.x", "Authorization: Bearer"),
        ("sent to https://hooks.slack.com/services/T0/B0/xyz", "sent to"),
        ("https://discord.com/api/webhooks/1/abc failed", "failed"),
        ("postgres://user:pw@db/lab", "@db/lab"),
        ("login with password=hunter2 worked", "password="),
        ("key sk-abcdefghijklmnop1234 used", "used"),
        ("hf_abcdefghijklmnopqrstuv", ""),
        ("AKIAABCDEFGHIJKLMNOP", ""),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0.abc", ""),
    ],
)
def test_texts_that_hold_secrets_lose_them_wherever_they_stand(text, kept):
    after = redacted(text, note=text, deep={"list": [text]})
    for clean in (after.message, after.details["note"], after.details["deep"]["list"][0]):
        assert REDACTED in clean
        assert kept in clean
    assert after.details[REDACTED_KEY] == ["note", "deep.list", "message"]


@pytest.mark.parametrize(
    "text",
    ["a bearer authentication scheme", "see https://example.org/path", "mask-token", "user@host"],
)
def test_ordinary_texts_pass_unchanged(text):
    before = event(text)
    assert RedactionProcessor()(before) is before


def test_further_keys_can_be_named():
    after = RedactionProcessor(["cluster_pin"])(event(clusterPin="1-2-3"))
    assert after.details["clusterPin"] == REDACTED


@given(st.dictionaries(st.text(), st.recursive(
    st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(
        st.text(), inner), max_leaves=5), max_size=4), st.text())  # fmt: skip
def test_redaction_takes_any_event_and_a_second_time_changes_nothing(details, message):
    processor = RedactionProcessor()
    once = processor(event(message))
    once = processor(msgspec.structs.replace(once, details=details))
    assert processor(once) is once


def test_an_event_whose_processor_raises_passes_marked_and_is_reported_once():
    reported = []

    def broken(event):
        raise KeyError("oops")

    chain = ProcessorChain([], [("broken", broken)], lambda name, error: reported.append(name))
    after = chain([event(), event()])
    assert [each.details[FAILED_KEY] for each in after] == [["broken"], ["broken"]]
    assert reported == ["broken"]
    assert chain.failures == {"broken": 2}


def test_a_processor_may_drop_and_change_but_not_rename_events():
    def change(event):
        if event.message == "drop":
            return None
        return msgspec.structs.replace(event, message="changed", number=99)

    after = ProcessorChain([], [("change", change)])([event("drop"), event()])
    assert [(each.message, each.number) for each in after] == [("changed", 1)]


def test_a_processor_that_answers_nonsense_counts_as_one_that_raises():
    after = ProcessorChain([], [("nonsense", lambda event: "yes")])([event()])
    assert after[0].details[FAILED_KEY] == ["nonsense"]


def test_an_opentelemetry_processor_works_in_the_shipper(make_lab):
    from realm_telemetry.otel import LogRecordProcessor

    class Stamps(LogRecordProcessor):
        def on_emit(self, log_record):
            service = log_record.resource.attributes["service.name"]
            log_record.log_record.attributes["realm.details.stamped"] = service

        def shutdown(self):
            pass

        def force_flush(self, timeout_millis=30_000):
            return True

    lab = make_lab(processors=["stamps"])
    producer = lab.producer()
    producer.emit(step=1)
    lab.ship(processors={"stamps": Stamps()})
    assert lab.rows()[0].event.details == {"step": 1, "stamped": "trainer"}
    producer.end()


def test_a_processor_that_cannot_be_loaded_is_reported_and_events_are_marked(make_lab):
    lab = make_lab(processors=["no_such_module:process"])
    producer = lab.producer()
    producer.emit()
    lab.ship()
    assert lab.rows()[0].event.details[FAILED_KEY] == ["no_such_module:process"]
    assert "processor no_such_module:process fails" in lab.log_text()
    producer.end()
