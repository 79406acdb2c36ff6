"""Processors between spool and log: kind metadata, resource, the user's own."""

import msgspec

from realm_telemetry.event import Event
from realm_telemetry.processors import (
    FAILED_KEY,
    KindMetadataProcessor,
    ProcessorChain,
    ResourceProcessor,
)


def event(message="hello", kind="checkpoint_saved", channel="debug", severity="info", **details):
    return Event(kind, channel, severity, message, details, 1, "0123456789abcdef", 1)


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
