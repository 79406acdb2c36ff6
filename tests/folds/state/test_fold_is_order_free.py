"""The state depends on the set of events alone: shuffles, splits and bounds change nothing."""

import random
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from realm_telemetry.event import PROCESS_LOST_NUMBER, Event
from realm_telemetry.folds.state import RealmState
from realm_telemetry.folds.state.lattice import Records
from realm_telemetry.kinds.catalog import KIND_METADATA, resolve

NOW_NS = 2_000_000_000_000_000_000
SECOND = 1_000_000_000
UNTIMED = settings(deadline=None)  # a busy machine is not a defect
FEW = st.sampled_from(["a", "b", "c", "d"])

DETAILS = st.fixed_dictionaries(
    {},
    optional={
        "step": st.integers(0, 5),
        "total_steps": st.integers(0, 9),
        "loss": st.one_of(st.floats(0, 3), st.just("NaN")),
        "learning_rate": st.floats(0, 1),
        "accuracy": st.floats(0, 1),
        "job_id": FEW,
        "worker_id": FEW,
        "job_type": FEW,
        "current_job": st.one_of(st.none(), FEW),
        "status": FEW,
        "gpu_memory": st.integers(0, 3),
        "skill": FEW,
        "level": st.integers(1, 2),
        "suite": FEW,
        "path": FEW,
        "title": FEW,
        "name": FEW,
        "service": FEW,
        "dataset": FEW,
        "depth": st.integers(0, 9),
        "error": FEW,
        "section": st.sampled_from(["training", "workers", "arena", "quests", "queue"]),
        "data": st.dictionaries(FEW, st.one_of(FEW, st.dictionaries(FEW, FEW)), max_size=3),
    },
)


@st.composite
def event_lists(draw: st.DrawFn) -> list[Event]:
    """Events with distinct ids of few producers, runs and times, in arrival order."""
    kinds = draw(st.lists(st.sampled_from([*KIND_METADATA, "unheard_of"]), max_size=40))
    return [make_event(kind, number, draw) for number, kind in enumerate(kinds, 1)]


def make_event(kind: str, number: int, draw: Any) -> Event:
    channel, severity = resolve(kind)
    producer = draw(FEW) * 16
    # Each producer is lost at most once: its last event.
    number = PROCESS_LOST_NUMBER - number if kind == "process_lost" else number
    time_ns = NOW_NS - draw(st.integers(0, 6)) * 30 * SECOND
    return Event(
        kind=kind,
        channel=channel,
        severity=severity,
        message=kind,
        details=draw(DETAILS),
        time_unix_nano=time_ns,
        producer=producer,
        number=number,
        run_id=draw(st.one_of(st.none(), FEW)),
        hero_id=draw(st.one_of(st.none(), FEW)),
        observed_unix_nano=draw(st.one_of(st.none(), st.integers(time_ns, NOW_NS))),
    )


def small_state(limit: int | None = None) -> RealmState:
    """A state whose bounds are low enough to be reached by a few events."""
    state = RealmState()
    if limit is not None:
        state._further.limit = limit
        for section in state._sections.values():
            for records in section.records.values():
                records.limit = limit
    return state


def folded(rows: list[tuple[int, Event]], limit: int | None = None) -> RealmState:
    state = small_state(limit)
    for cursor, event in rows:
        state.apply(event, cursor)
    return state


LIMITS = st.sampled_from([1, 2, 3, None])


@UNTIMED
@given(event_lists(), LIMITS, st.randoms(use_true_random=False))
def test_a_shuffled_log_folds_to_the_same_state(
    events: list[Event], limit: int | None, chance: random.Random
) -> None:
    rows = list(enumerate(events, 1))
    shuffled = chance.sample(rows, len(rows))
    assert folded(shuffled, limit).dump() == folded(rows, limit).dump()


@UNTIMED
@given(event_lists(), LIMITS, st.integers(1, 5), st.randoms(use_true_random=False))
def test_states_of_any_split_merge_in_any_order_to_the_state_of_all(
    events: list[Event], limit: int | None, parts: int, chance: random.Random
) -> None:
    rows = list(enumerate(events, 1))
    heaps: list[list[tuple[int, Event]]] = [[] for _ in range(parts)]
    for row in chance.sample(rows, len(rows)):
        chance.choice(heaps).append(row)
    states = [folded(heap, limit) for heap in heaps]
    while len(states) > 1:
        chance.shuffle(states)
        states.append(states.pop().merge(states.pop()))
    whole = folded(rows, limit)
    assert states[0].dump() == whole.dump()
    assert states[0].to_dict(NOW_NS) == whole.to_dict(NOW_NS)


@UNTIMED
@given(event_lists())
def test_a_loaded_dump_is_the_state_and_folds_on(events: list[Event]) -> None:
    rows = list(enumerate(events, 1))
    half = len(rows) // 2
    resumed = RealmState.load(folded(rows[:half]).dump())
    for cursor, event in rows[half:]:
        resumed.apply(event, cursor)
    assert resumed.dump() == folded(rows).dump()


@UNTIMED
@given(event_lists())
def test_reading_a_state_gives_json_and_changes_nothing(events: list[Event]) -> None:
    state = folded(list(enumerate(events, 1)), 2)
    before = state.dump()
    shape = state.to_dict(NOW_NS)
    assert msgspec.json.decode(msgspec.json.encode(shape)) == shape
    assert state.dump() == before


@UNTIMED
@given(event_lists(), st.randoms(use_true_random=False))
def test_reading_between_events_changes_nothing(events: list[Event], chance: random.Random) -> None:
    rows = list(enumerate(events, 1))
    read_often = small_state(1)
    for cursor, event in chance.sample(rows, len(rows)):
        read_often.apply(event, cursor)
        read_often.to_dict(NOW_NS)
    assert read_often.dump() == folded(rows, 1).dump()


ANY_JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=5),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = [
    "step",
    "total_steps",
    "loss",
    "learning_rate",
    "accuracy",
    "delta",
    "job_id",
    "worker_id",
    "job_type",
    "error",
    "status",
    "current_job",
    "skill",
    "level",
    "suite",
    "path",
    "title",
    "name",
    "service",
    "dataset",
    "depth",
    "hero_id",
    "campaign_id",
    "milestone",
    "mode",
    "section",
    "data",
    "removed",
    "batch_id",
    "duration_s",
    "entries",
    "freed_bytes",
    "reason",
    "evals",
]


@settings(UNTIMED, max_examples=settings().max_examples * 3)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(list(KIND_METADATA)),
            st.dictionaries(st.sampled_from(NAMES), ANY_JSON, max_size=12),
        ),
        max_size=6,
    )
)
@example([("training_step", {"loss": 2**70}), ("checkpoint_saved", {"loss": -(2**70)})])
@example([("skill_level_up", {"skill": "sums", "hero_id": {"a": 1}})])
def test_details_of_any_shape_are_folded_and_read(
    reports: list[tuple[str, dict[str, Any]]],
) -> None:
    state = RealmState()
    for number, (kind, details) in enumerate(reports, 1):
        channel, severity = resolve(kind)
        event = Event(kind, channel, severity, kind, details, number, "a" * 16, number)
        state.apply(event, number)
    shape = state.to_dict(NOW_NS)
    msgspec.json.encode(shape)
    assert RealmState.load(state.dump()).to_dict(NOW_NS) == shape


CELLS = st.lists(
    st.tuples(
        st.integers(0, 12),
        st.sampled_from("abcdef"),
        st.dictionaries(st.sampled_from("xyz"), st.none(), min_size=1),
    ),
    max_size=60,
)


def model(puts: list[tuple[int, str, dict[str, Any]]], limit: int) -> dict[str, dict[str, Any]]:
    """What `Records` keeps, written down as its definition says."""
    ranks: dict[str, int] = {}
    for stamp, key, _ in puts:
        ranks[key] = max(stamp, ranks.get(key, -1))
    ordered = sorted(((rank, key) for key, rank in ranks.items()), reverse=True)
    floor = ordered[limit] if len(ordered) > limit else (-1, "")
    kept: dict[str, dict[str, Any]] = {}
    for stamp, key, fields in sorted(puts, key=lambda one: one[:2]):
        if (stamp, key) > floor:
            for name in fields:
                kept.setdefault(key, {})[name] = ((stamp,), f"{stamp}{key}")
    return kept


@settings(UNTIMED, max_examples=settings().max_examples * 3)
@given(CELLS, st.integers(1, 4), st.randoms(use_true_random=False))
def test_bounded_records_keep_what_their_definition_says(
    puts: list[tuple[int, str, dict[str, Any]]], limit: int, chance: random.Random
) -> None:
    whole, left, right = Records(limit), Records(limit), Records(limit)
    for stamp, key, fields in chance.sample(puts, len(puts)):
        named = dict.fromkeys(fields, f"{stamp}{key}")
        whole.put(key, (stamp,), named)
        chance.choice([left, right]).put(key, (stamp,), named)
    left.merge(right)
    assert dict(whole.read()) == model(puts, limit)
    assert left.dump() == whole.dump()


@pytest.mark.long
def test_floods_of_keys_stay_within_the_documented_bounds() -> None:
    state = RealmState()
    for number in range(1, 200_001):
        event = Event(
            kind="job_started",
            channel="jobs",
            severity="info",
            message="",
            details={"job_id": f"j{number}", "worker_id": f"w{number % 5}"},
            time_unix_nano=number,
            producer="a" * 16,
            number=number,
        )
        state.apply(event, number)
    jobs = state.section("jobs", NOW_NS)
    assert len(jobs["jobs"]) == 512
    assert jobs["totals"]["job_started"] == 200_000
