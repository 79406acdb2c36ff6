"""Curves beside the log: layers and the mark they are true at, saved by one process at a time."""

from realm_telemetry.log.curves import CurvesLayer, CurvesMark
from realm_telemetry.log.engine import Log, Reader


def test_layers_are_stored_with_their_mark(log: Log, reader: Reader) -> None:
    store = log.curves(reader.log_id)
    assert store.mark() is None
    assert store.layers("r") == (CurvesMark(), [])

    mark = store.save("live", {"r": b"\x00a", "q": b"b"}, CurvesMark(live=5), before=CurvesMark())
    assert mark == CurvesMark(live=5)
    assert store.layers("r") == (mark, [CurvesLayer("live", 5, b"\x00a")])
    assert log.curves("another" * 4).mark() is None


def test_who_was_overtaken_saves_nothing_and_learns_the_mark(log: Log, reader: Reader) -> None:
    store = log.curves(reader.log_id)
    first = store.save("live", {"r": b"a"}, CurvesMark(live=5), before=CurvesMark())
    again = store.save("live", {"r": b"x"}, CurvesMark(live=7), before=CurvesMark())
    assert again == first
    assert [layer.content for layer in store.layers("r")[1]] == [b"a"]


def test_layers_of_a_run_are_joined(log: Log, reader: Reader) -> None:
    store = log.curves(reader.log_id)
    mark = CurvesMark()
    for cursor in (5, 6, 7):
        layers = {"r": b"%d" % cursor, "q": b"q"} if cursor == 5 else {"r": b"%d" % cursor}
        mark = store.save("live", layers, CurvesMark(live=cursor), before=mark)
    assert store.crowded(["q", "r", "none"], 2) == ["r"]

    joined = store.layers("r")[1]
    store.join("r", joined, CurvesLayer("live", 7, b"567"))
    assert store.layers("r") == (mark, [CurvesLayer("live", 7, b"567")])
    store.join("r", joined, CurvesLayer("live", 8, b"late"))
    assert store.layers("r")[1] == [CurvesLayer("live", 7, b"567")]


def test_the_oldest_runs_are_thinned_first_and_removed_where_all_are_thin(
    log: Log, reader: Reader
) -> None:
    store = log.curves(reader.log_id)
    mark = CurvesMark()
    for cursor, run in enumerate("abc", 1):
        size = 300_000 if run == "a" else 100_000
        mark = store.save("live", {run: bytes(size)}, CurvesMark(live=cursor), before=mark)

    def sizes() -> list[int]:
        return [sum(len(layer.content) for layer in store.layers(run)[1]) for run in "abc"]

    store.make_room(600_000, lambda content: content[:100])
    assert sizes() == [300_000, 100_000, 100_000]
    store.make_room(300_000, lambda content: content[:100])
    assert sizes() == [100, 100_000, 100_000]
    store.make_room(50_000, lambda content: content[:100])
    assert sizes() == [100, 100, 100]
    store.make_room(299, lambda content: content)
    assert sizes()[0] == 0
    assert store.mark() == mark
