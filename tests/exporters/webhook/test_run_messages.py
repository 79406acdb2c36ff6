"""A message about a run says what a person needs, in the form of each service."""

import time
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from realm_exporter_webhook.rules import BUILT_IN
from realm_exporter_webhook.templates import _detail

from realm_telemetry.event import Event
from realm_telemetry.log import LogWriter, ProducerInfo

from .conftest import Maker, Receiver, event, options

RUN = "exp/7 ü"
LINK = "http://lab.example:8866/runs/exp%2F7%20%C3%BC"


def run_of(*parts: tuple[str, dict[str, Any]]) -> list[Event]:
    return [
        event(
            number,
            kind,
            details=details,
            severity="error" if kind == "run_ended" else None,
            run_id=RUN,
        )
        for number, (kind, details) in enumerate(parts, 1)
    ]


KILLED = run_of(
    ("run_started", {"command": ["train.py"]}),
    ("training_step", {"step": 20, "loss": 0.5, "total_steps": 40}),
    ("checkpoint_saved", {"step": 20, "path": "/ckpt/20", "loss": 0.5}),
    ("training_step", {"step": 25, "loss": 0.25}),
    (
        "run_ended",
        {
            "status": "killed",
            "reason": "SIGKILL, sender unknown",
            "evidence": {"signal": "SIGKILL"},
            "output_tail": ["epoch 1", "", "loading shard 7"],
        },
    ),
)


def happening_now(events: list[Event]) -> list[Event]:
    """The same a moment ago: a while after this module was imported they would be late."""
    later_ns = time.time_ns() - events[-1].time_unix_nano
    return [
        replace(
            each,
            time_unix_nano=each.time_unix_nano + later_ns,
            observed_unix_nano=(each.observed_unix_nano or 0) + later_ns,
        )
        for each in events
    ]


def sent(
    home: Path, make: Maker, url: str, events: list[Event], *, template: str, log: bool = True
) -> None:
    """Let an exporter of a home see the last of some events, all of which are in its log."""
    events = happening_now(events)
    if log:
        with LogWriter(home / "vault" / "jobs.db") as writer:
            writer.register_producer(ProducerInfo(events[0].producer))
            writer.append(events)
    about: dict[str, Any] = {"kind": events[-1].kind}
    about = {"status": ["killed", "failed"]} if "status" in events[-1].details else about
    given = options(url, {"name": "ends"} | about, alerts={"to": []})
    given["targets"]["lab"]["template"] = template
    exporter = make(given, service_url="http://lab.example:8866")
    exporter.export_events([events[-1]])
    exporter.shutdown()  # what it gathers of a run's end goes then


def test_json_has_the_run_as_fields(tmp_path: Path, make: Maker, receiver: Receiver) -> None:
    sent(tmp_path, make, receiver.url(), KILLED, template="json")
    message = receiver.received[0].json
    run = message["run"]
    checkpoint = run.pop("checkpoint")
    assert run == {
        "run_id": RUN,
        "status": "killed",
        "reason": "SIGKILL, sender unknown",
        "rank": None,
        "step": 25,
        "total_steps": 40,
        "loss": 0.25,
        "lines": ["epoch 1", "loading shard 7"],
        "link": LINK,
        "resume": "train.py",
        "best_loss": 0.25,
    }
    assert (checkpoint["step"], checkpoint["path"]) == (20, "/ckpt/20")
    assert message["title"] == f"❌ ends: killed · {RUN}"


def test_ntfy_has_title_priority_tags_and_click(
    tmp_path: Path, make: Maker, receiver: Receiver
) -> None:
    """Posted to the root with the topic inside; what the address asks for stays in its query."""
    sent(tmp_path, make, receiver.url("/lab-topic?auth=x"), KILLED, template="ntfy")
    (got,) = receiver.received
    assert got.path == "/?auth=x"
    assert got.json["topic"] == "lab-topic"
    assert got.json["title"] == f"ends: killed · {RUN}"
    assert (got.json["priority"], got.json["tags"]) == (5, ["rotating_light", "ends"])
    assert got.json["click"] == LINK
    assert "why: killed: SIGKILL, sender unknown" in got.json["message"]
    assert (
        "step: 25 of 40\nlast loss: 0.25\nlast good checkpoint: step 20, /ckpt/20, saved 2"
        in (got.json["message"])
    )
    assert got.json["message"].endswith("Last lines:\nepoch 1\nloading shard 7")


RULES = {
    "run_ended_badly": (KILLED, "Run killed: SIGKILL, sender unknown · "),
    "not_finite": (
        run_of(
            ("training_step", {"step": 24, "loss": 0.5}),
            ("loss_not_finite", {"field": "loss", "value": "NaN", "step": 25}),
        ),
        "loss is NaN (step 25) · ",
    ),
}


@pytest.mark.parametrize("rule", RULES)
def test_the_first_line_of_a_built_in_alert_says_what_happened_in_words(
    tmp_path: Path, make: Maker, receiver: Receiver, rule: str
) -> None:
    """A locked phone shows no more."""
    events, title = RULES[rule]
    events = happening_now(events)
    with LogWriter(tmp_path / "vault" / "jobs.db") as writer:
        writer.append(events)
    given = options(receiver.url("/lab"), alerts={})
    given["targets"]["lab"]["template"] = "ntfy"
    exporter = make(given)
    exporter.export_events([events[-1]])
    exporter.shutdown()
    (message,) = [each.json for each in receiver.received if rule in each.json["tags"]]
    assert message["title"] == title + RUN
    checkpoint = "step 20, /ckpt/20" if rule == "run_ended_badly" else "none known"
    assert f"last good checkpoint: {checkpoint}" in message["message"]


LOST = run_of(
    *[(each.kind, each.details) for each in KILLED[:-1]],
    (
        "process_lost",
        {
            "service": "trainer",
            "pid": 7,
            "status": "failed",
            "reason": "exit code 3",
            "evidence": {"exit_code": 3},
        },
    ),
)
STALLED = run_of(
    *[(each.kind, each.details) for each in KILLED[:-1]],
    (
        "run_stalled",
        {"silent_s": 300.0, "threshold_s": 120.0, "median_step_s": 0.5, "step": 25, "phase": None},
    ),
)


def alerts(home: Path, make: Maker, receiver: Receiver, *, seen: int = 1) -> list[dict[str, Any]]:
    """What ntfy gets from built-in rules that see so many of the last events of a home's log."""
    from realm_telemetry.log.engine import open_log

    given = options(receiver.url("/lab"), alerts={})
    given["targets"]["lab"]["template"] = "ntfy"
    exporter = make(given)
    with open_log(home / "vault" / "jobs.db").reader() as reader:
        rows = reader.now.after(0, 100)
    exporter.export_events([row.event for row in rows[-seen:]])
    exporter.shutdown()
    return [each.json for each in receiver.received if each.json["tags"][1] in BUILT_IN]


def logged(home: Path, events: list[Event]) -> list[Event]:
    """Write events into the log as if they had been made now, or they would be late."""
    events = run_of(*[(each.kind, each.details) for each in events])
    with LogWriter(home / "vault" / "jobs.db") as writer:
        writer.append(events)
    return events


def test_a_process_that_was_lost_is_told_as_the_end_of_its_run(
    tmp_path: Path, make: Maker, receiver: Receiver
) -> None:
    """Not as "trainer was lost (pid 7, last kind training_step)"."""
    logged(tmp_path, LOST)
    (message,) = alerts(tmp_path, make, receiver)
    assert message["title"] == f"Run failed: exit code 3 · {RUN}"
    assert message["message"].startswith("Run failed (exit code 3, step 25)\nrun: ")
    assert "pid" not in message["message"]
    assert "\ngo on: train.py" in message["message"]


def test_a_stall_that_ended_meanwhile_is_still_told_as_a_stall(
    tmp_path: Path, make: Maker, receiver: Receiver
) -> None:
    """Messages about a status gather for a moment, in which somebody may kill the run."""
    stalled = logged(tmp_path, STALLED)[-1]
    given = options(receiver.url("/lab"), alerts={"off": ["run_ended_badly"]})
    given["targets"]["lab"]["template"] = "ntfy"
    exporter = make(given)
    exporter.export_events([stalled])
    logged(tmp_path, [*STALLED, KILLED[-1]])
    exporter.export_events([])
    exporter.shutdown()
    (message,) = [each.json for each in receiver.received if "stalled" in each.json["tags"]]
    assert message["title"] == f"Run stalled, now killed: SIGKILL, sender unknown · {RUN}"


def test_a_stall_says_how_to_see_more_and_not_to_start_it_twice(
    tmp_path: Path, make: Maker, receiver: Receiver
) -> None:
    logged(tmp_path, STALLED)
    (message,) = alerts(tmp_path, make, receiver)
    assert message["title"].startswith("Run stalled: no step for 5 min")
    assert "go on: realm show 'exp/7 ü'" in message["message"]
    assert "silent" not in message["message"].partition("\n")[2]


def test_a_loss_that_is_not_finite_has_the_best_one_beside_it(
    tmp_path: Path, make: Maker, receiver: Receiver
) -> None:
    logged(
        tmp_path,
        run_of(
            ("training_started", {}),
            ("training_step", {"step": 24, "loss": 0.5}),
            ("training_step", {"step": 25, "loss": "NaN"}),
            ("loss_not_finite", {"field": "loss", "value": "NaN", "step": 25}),
        ),
    )
    (message,) = alerts(tmp_path, make, receiver)
    assert "last loss: NaN (the best was 0.5)" in message["message"]
    assert "status: running" in message["message"]
    assert "why" not in message["message"]


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("free_bytes", 1_234_567_890, ("free", "1.23 GB")),
        ("free_bytes", 0, ("free", "0 B")),
        ("free_bytes", 999, ("free", "999 B")),
        ("free_bytes", 1000, ("free", "1 kB")),
        ("free_bytes", 999_999, ("free", "1 MB")),
        ("free_bytes", "many", ("free_bytes", "many")),
        ("free_bytes", True, ("free_bytes", "true")),
        ("runs", ["r7", "r8"], ("runs", "r7, r8")),
        ("runs", [], ("runs", "[]")),
        ("runs", ["r7", 8], ("runs", '["r7",8]')),
    ],
)
def test_details_are_for_people(name: str, value: Any, shown: tuple[str, str]) -> None:
    assert _detail(name, value) == shown


def test_a_lost_host_is_told_with_its_runs_and_where_to_look(
    make: Maker, receiver: Receiver
) -> None:
    details = {"host": "gpu7", "silent_s": 31.2, "runs": ["r7", "r8"], "processes": ["aa" * 8] * 9}
    given = options(receiver.url("/lab"), alerts={})
    given["targets"]["lab"]["template"] = "ntfy"
    exporter = make(given)
    exporter.export_events([event(1, "host_lost", details=details)])
    exporter.shutdown()
    (message,) = [each.json for each in receiver.received if "host_lost" in each.json["tags"]]
    assert message["title"] == "Host gpu7 is silent (for 31 s)"
    assert message["message"].splitlines()[1:] == [
        *("host: gpu7", "runs: r7, r8", "go on: realm hosts")
    ]


@pytest.mark.parametrize(
    ("seconds", "text"), [(1.3, "1.3 s"), (119.9, "120 s"), (120, "2 min"), (11_100, "3 h 5 min")]
)
def test_a_duration_is_for_people(seconds: float, text: str) -> None:
    assert _detail("duration_s", seconds) == ("duration", text)


@pytest.mark.parametrize(("length", "shown"), [(256, True), (257, False)])
def test_a_command_that_does_not_fit_is_left_out_whole(
    tmp_path: Path, make: Maker, receiver: Receiver, length: int, shown: bool
) -> None:
    """One that was cut would do something else."""
    events = run_of(("run_started", {"command": ["x" * length]}), *LAST)
    sent(tmp_path, make, receiver.url("/lab"), events, template="ntfy")
    text = receiver.received[0].json["message"]
    assert ("x" * 200 in text, "go on: realm show" in text) == (shown, not shown)


LAST = [("run_ended", {"status": "killed", "reason": "SIGKILL, sender unknown"})]


def test_discord_has_fields_last_lines_and_a_link(
    tmp_path: Path, make: Maker, receiver: Receiver
) -> None:
    sent(tmp_path, make, receiver.url(), KILLED, template="discord")
    (embed,) = receiver.received[0].json["embeds"]
    assert embed["url"] == LINK
    assert embed["description"].endswith("epoch 1\nloading shard 7")
    fields = {field["name"]: field["value"] for field in embed["fields"]}
    assert fields["why"] == "killed: SIGKILL, sender unknown"
    assert fields["step"] == "25 of 40"


def test_slack_has_facts_last_lines_and_a_link(
    tmp_path: Path, make: Maker, receiver: Receiver
) -> None:
    sent(tmp_path, make, receiver.url(), KILLED, template="slack")
    texts = [
        (block.get("text") or block["elements"][0])["text"]
        for block in receiver.received[0].json["blocks"]
    ]
    assert f"<{LINK}|Open the run>" in texts
    assert any("why: killed: SIGKILL, sender unknown" in text for text in texts)
    assert texts[1].endswith("epoch 1\nloading shard 7")


def test_a_failed_run_ends_with_its_traceback(
    tmp_path: Path, make: Maker, receiver: Receiver
) -> None:
    trace = "Traceback (most recent call last):\n  File x\nKeyError: 'labels'"
    error = {"error": "'labels'", "error_type": "KeyError", "traceback": trace}
    events = run_of(
        ("run_started", {}),
        ("uncaught_exception", error | {"thread": "MainThread"}),
        ("run_ended", {"status": "failed", "reason": "KeyError: 'labels'"}),
    )
    sent(tmp_path, make, receiver.url(), events, template="json")
    assert receiver.received[0].json["run"]["lines"] == trace.splitlines()


def test_the_checkpoint_is_the_one_before_the_loss_was_not_finite(
    tmp_path: Path, make: Maker, receiver: Receiver
) -> None:
    saved = [("checkpoint_saved", {"step": step, "path": f"/c/{step}"}) for step in (10, 30)]
    finding = ("loss_not_finite", {"field": "loss", "value": "NaN", "step": 25})
    events = run_of(("run_started", {}), saved[0], finding, saved[1], finding)
    sent(tmp_path, make, receiver.url(), events, template="json")
    run = receiver.received[0].json["run"]
    assert (run["checkpoint"]["step"], run["status"]) == (10, "running")


def test_without_a_log_a_message_says_what_its_event_says(
    tmp_path: Path, make: Maker, receiver: Receiver
) -> None:
    sent(tmp_path, make, receiver.url(), KILLED, template="json", log=False)
    run = receiver.received[0].json["run"]
    assert (run["status"], run["step"]) == ("killed", None)
    assert run["lines"] == ["epoch 1", "loading shard 7"]


@pytest.mark.parametrize("wrong", ["ftp://lab", "lab:8866", "http://lab|x", 'http://"', ""])
def test_a_public_address_that_is_none_names_the_setting(wrong: str) -> None:
    from realm_telemetry.config import Settings
    from realm_telemetry.errors import ConfigError
    from realm_telemetry.service import ServiceSettings

    settings = Settings(home=Path("/x"), service={"public_url": wrong})
    with pytest.raises(ConfigError, match="public_url"):
        ServiceSettings.of(settings)


def test_the_address_of_a_service_is_one_that_people_can_go_to() -> None:
    from realm_telemetry.service import ServiceSettings

    def address(**given: Any) -> str:
        return ServiceSettings.for_home(Path("/x"), **given).address

    assert address() == "http://127.0.0.1:8866"
    assert address(host="::1", port=9) == "http://[::1]:9"
    assert "0.0.0.0" not in address(host="0.0.0.0")
    assert address(public_url="https://lab.example/realm/") == "https://lab.example/realm"
