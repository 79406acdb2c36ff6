"""How the numbers of producers are kept."""

from realm_telemetry.log import LogReader, LogWriter, ProducerInfo

from .conftest import PRODUCER, make_event, receipt


def test_taking_out_every_other_event_does_not_fray_the_numbers(
    writer: LogWriter, reader: LogReader
) -> None:
    writer.register_producer(ProducerInfo(PRODUCER))
    for start in (1, 101):
        events = [make_event(n) for n in range(start, start + 100, 2)]
        writer.append(events, skipped={PRODUCER: [(e.number + 1, e.number + 1) for e in events]})
    with writer.transaction() as connection:
        done = connection.execute("SELECT done FROM realm_producers").fetchone()[0]
    writer.record_receipt(PRODUCER, emitted=200)
    assert done == "[[1,200]]"
    assert (receipt(reader).stored, receipt(reader).complete) == (100, True)
