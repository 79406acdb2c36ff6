"""`realm runs`, `realm show` and `realm report`, from the log and from a service."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from click.testing import Result

from realm_telemetry.cli import terminal
from realm_telemetry.cli.metrics_table import sparkline
from realm_telemetry.cli.runs import duration
from realm_telemetry.event import FIRST_CONTENT_NUMBER

from .conftest import Running, make_event, serve, store

Invoke = Callable[..., Result]
ODD = "lab a/b 🐉"


@pytest.fixture
def trained(home: Path) -> Path:
    """A home with a run that goes on, one that failed, and one of a process without a run id."""
    error = {"error": "no data", "error_type": "ValueError", "traceback": "Traceback\n\tx \x1b[31m"}
    told = [
        ("run_started", {"command": "python train.py", "world_size": 1}),
        ("training_step", {"step": 5, "total_steps": 10, "loss": 0.25}),
        ("uncaught_exception", error),
    ]
    failed = [
        make_event(number, kind, 90 - number, details=details, run_id=ODD, producer="a" * 16)
        for number, (kind, details) in enumerate(told, 1)
    ]
    end = {"status": "failed", "reason": "ValueError: no data", "evidence": {"exit_code": 1}}
    failed.append(
        make_event(
            FIRST_CONTENT_NUMBER + 1,
            "run_ended",
            50,
            details=end,
            run_id=ODD,
            producer="a" * 16,
        )
    )
    going = [
        make_event(number, "training_step", 40, details={"step": number}, run_id="night-1")
        for number in (1, 2)
    ]
    alone = make_event(1, "training_step", 20, details={"step": 1}, producer="b" * 16)
    store(home, [*failed, *going, alone])
    return home


@pytest.fixture(params=["the log", "a service"])
def source(
    request: pytest.FixtureRequest,
    trained: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """Where the commands read; the same is expected of both."""
    if request.param == "a service":
        start = request.getfixturevalue("start")
        monkeypatch.setenv("REALM_SERVICE_URL", serving_runs(start))
    return str(request.param)


def serving_runs(start: Callable[..., Running]) -> str:
    """The address of a service that has folded the runs."""
    url, _ = serve(start)
    deadline_s = time.monotonic() + 60
    while httpx.get(f"{url}/api/runs").status_code != 200:
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    return url


def test_runs_are_a_table_with_reasons(source: str, invoke: Invoke) -> None:
    lines = invoke("runs").stdout.splitlines()
    assert lines[0].split()[:4] == ["run", "status", "step", "loss"]
    assert [line.split()[0] for line in lines[1:]] == ["b" * 16, "night-1", "lab"]
    assert "failed" in lines[3]
    assert "5/10" in lines[3]
    assert lines[3].endswith("ValueError: no data")
    assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize(
    ("columns", "left_out"), [(200, set()), (80, {"ranks", "duration"}), (50, {"ranks", "step"})]
)
def test_a_narrow_terminal_spares_columns_before_it_cuts_the_reason(
    columns: int,
    left_out: set[str],
    trained: Path,
    monkeypatch: pytest.MonkeyPatch,
    invoke: Invoke,
) -> None:
    monkeypatch.setattr(terminal, "width", lambda: columns)
    heading, *lines = invoke("runs").stdout.splitlines()
    assert "reason" in heading.split()
    assert not left_out & set(heading.split())
    assert any(line.endswith("ValueError: no data") for line in lines)
    assert max(map(len, lines)) <= columns


def test_the_status_is_coloured_where_that_is_wanted(trained: Path, invoke: Invoke) -> None:
    assert "\x1b[31mfailed" in invoke("runs", env={"FORCE_COLOR": "1"}).stdout
    env = {"FORCE_COLOR": "1", "NO_COLOR": "1"}
    assert "\x1b" not in invoke("runs", env=env).stdout


def test_runs_are_chosen(source: str, invoke: Invoke) -> None:
    def ids(*options: str) -> list[str]:
        return [run["run_id"] for run in json.loads(invoke("runs", "--json", *options).stdout)]

    assert ids() == ["b" * 16, "night-1", ODD]
    assert ids("--status", "failed,killed") == [ODD]
    assert ids("--since", "30s") == ["b" * 16]
    assert ids("--q", "TRAIN.py") == [ODD]
    assert ids("--limit", "1") == ["b" * 16]


def test_a_status_that_there_is_not_is_wrong_usage(trained: Path, invoke: Invoke) -> None:
    result = invoke("runs", "--status", "dead")
    assert result.exit_code == 2
    assert "running" in result.stderr


def test_all_of_a_run_is_shown_with_its_traceback(source: str, invoke: Invoke) -> None:
    text = invoke("show", ODD).stdout
    assert "status: failed" in text
    assert "reason: ValueError: no data" in text
    assert "exit_code: 1" in text
    assert "command: python train.py" in text
    assert "seen: once in the last 7 days, in 1 run" in text
    assert (
        "seen_in: realm query --kind uncaught_exception,training_failed,exception --since 7d"
        in text
    )
    assert text.endswith("Traceback\n    x \\x1b[31m\n")
    run = json.loads(invoke("show", ODD, "--json").stdout)
    assert run["exception"]["traceback"] == "Traceback\n\tx \x1b[31m"
    assert run["exception"]["seen"]["times"] == 1


@pytest.fixture
def changed(home: Path) -> None:
    """A run that was well, and a later one of the same program with other settings."""
    events = []
    for place, run_id in enumerate(("alpha", "beta")):
        config = {"lr": 0.1 + place, "wd": None} if place else {"lr": 0.1}
        told = [
            ("run_started", {"command": f"python train.py {place}", "git_commit": "abc" * place}),
            ("run_config", config),
            ("training_step", {"step": 1}),
            ("run_ended", {"status": "completed"}),
        ]
        events += [
            make_event(
                number,
                kind,
                90 - place * 40 - number,
                details=details,
                run_id=run_id,
                producer=f"{place + 1:x}" * 16,
            )
            for number, (kind, details) in enumerate(told, 1)
        ]
    store(home, events)


@pytest.mark.parametrize("place", ["the log", "a service"])
def test_a_run_says_what_was_changed_since_the_last_that_was_well(
    changed: None,
    invoke: Invoke,
    start: Callable[..., Running],
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    if place == "a service":
        monkeypatch.setenv("REALM_SERVICE_URL", serving_runs(start))
    text = invoke("show", "beta").stdout
    assert text.endswith(
        """
Changed since alpha (of the same command, the last that was well):
  lr: 0.1 -> 1.1
  wd: not set -> null
  command: python train.py 0 -> python train.py 1
  git_commit: not set -> abc
"""
    )
    assert "Changed since" not in invoke("show", "alpha").stdout


def test_an_event_is_shown_by_its_id(source: str, invoke: Invoke) -> None:
    event_id = "A" * 16 + f"{2:016x}"
    assert "kind: training_step" in invoke("show", event_id).stdout
    shape = json.loads(invoke("show", event_id, "--json").stdout)
    assert shape["details"] == {"step": 5, "total_steps": 10, "loss": 0.25}


def test_an_unknown_run_names_those_that_are_near(source: str, invoke: Invoke) -> None:
    for command in ("show", "report"):
        result = invoke(command, "nigth-1")
        assert result.exit_code == 1
        assert "There is no run 'nigth-1'. Did you mean night-1?" in result.stderr
    result = invoke("show", "f" * 32, "--json")
    assert json.loads(result.stderr.splitlines()[-1])["error"] == "run_not_found"


def test_an_empty_id_is_near_to_nothing(trained: Path, invoke: Invoke) -> None:
    assert "realm runs lists them" in invoke("show", "").stderr


def test_a_report_is_markdown_or_html(source: str, invoke: Invoke) -> None:
    page = invoke("report", ODD, "--format", "html").stdout
    assert page.startswith("<!doctype html>")
    text = invoke("report", ODD).stdout
    assert text.startswith(f"# Run {ODD}\n\n**failed** · ValueError: no data\n")
    assert "## To resume\n\nThe original command" in text
    assert "x \\x1b[31m" in text
    assert "<h2>To resume</h2>" in page
    assert "seen once in the last 7 days" in text
    assert "seen once in the last 7 days" in page
    assert "uncaught_exception" in text


def test_runs_of_the_log_need_no_service_to_have_saved_them(
    trained: Path, invoke: Invoke, start: Callable[..., Running]
) -> None:
    """A service that was there has saved a part; the rest is folded behind it."""
    _, running = serve(start)
    running.interrupt()
    more = [make_event(9, "training_step", 1, details={"step": 77}, run_id="night-1")]
    store(trained, more)
    assert json.loads(invoke("show", "night-1", "--json").stdout)["step"] == 77


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (205, "3:25"), (3723, "1:02:03"), (183_600, "2 d 3 h")],
)
def test_a_duration_is_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_numbers_of_a_run_are_a_table(source: str, invoke: Invoke) -> None:
    lines = invoke("show", ODD, "--metrics").stdout.splitlines()
    assert lines[0].split() == ["name", "last", "least", "greatest", "points", "not", "finite"]
    assert lines[1].split() == ["loss", "0.25", "0.25", "0.25", "1"]
    found = json.loads(invoke("show", ODD, "--metrics", "--json").stdout)
    assert found["groups"][0]["metrics"][0]["name"] == "loss"
    assert found["series"][0]["values"] == [0.25]
    assert "There is no run" in invoke("show", "nobody", "--metrics").stderr


@pytest.mark.parametrize(
    ("points", "text"),
    [
        ([], ""),
        ([(1.0, 5.0)], "▅"),
        ([(float(n), float(n)) for n in range(8)], "▁▂▃▄▅▆▇█"),
        ([(0.0, 1.0), (70.0, 0.0), (79.0, 0.5)], "█      ▁"),
        ([(float(n), 3.0) for n in range(8)], "▅▅▅▅▅▅▅▅"),
        ([(0.0, -1e308), (8.0, 1e308)], "▅      ▅"),
    ],
)
def test_a_curve_fits_in_a_line(points: list[tuple[float, float]], text: str) -> None:
    assert sparkline(points, 8) == text


def test_runs_that_had_a_warning_are_listed_however_they_ended(
    source: str, trained: Path, invoke: Invoke
) -> None:
    assert invoke("runs", "--warnings", "any", "--json").stdout.strip() == "[]"
    details = {"field": "loss", "value": "NaN", "step": 2}
    store(trained, [make_event(9, "loss_not_finite", 30, details=details, run_id="night-1")])

    def listed(*options: str) -> list[str]:
        found = json.loads(invoke("runs", *options, "--json").stdout)
        return [run["run_id"] for run in found]

    deadline_s = time.monotonic() + 60
    while listed("--warnings", "any") != ["night-1"]:
        assert time.monotonic() < deadline_s, source
        time.sleep(0.05)
    assert listed("--warnings", "spikes,not_finite") == ["night-1"]
    assert listed("--warnings", "spikes") == []
    assert listed("--warnings", "any", "--status", "failed") == []
    wrong = invoke("runs", "--warnings", "nan")
    assert (wrong.exit_code, "there is no warning 'nan'" in wrong.stderr) == (2, True)
    assert "not_finite" in wrong.stderr


def test_runs_with_all_of_some_tags_are_listed(source: str, trained: Path, invoke: Invoke) -> None:
    for at, (run_id, tags) in enumerate({"t1": ["a", "b, c"], "t2": ["a"]}.items()):
        details = {"command": "python x.py", "tags": tags}
        started = make_event(
            1, "run_started", 20 - at, details=details, run_id=run_id, producer=f"{at + 1}" * 16
        )
        store(trained, [started])

    def listed(*options: str) -> list[str]:
        found = json.loads(invoke("runs", *options, "--json").stdout)
        return sorted(run["run_id"] for run in found)

    deadline_s = time.monotonic() + 60
    while listed("--tag", "a") != ["t1", "t2"]:
        assert time.monotonic() < deadline_s, source
        time.sleep(0.05)
    assert listed("--tag", "a", "--tag", "b, c") == ["t1"]
    assert listed("--tag", "a", "--warnings", "any") == []
    assert listed("--tag", "none") == []


def test_the_last_values_of_numbers_are_columns(source: str, trained: Path, invoke: Invoke) -> None:
    details = {"step": 3, "loss": 0.5, "lr": 0.001}
    store(trained, [make_event(9, "training_step", 30, details=details, run_id="night-1")])

    def found() -> list[dict[str, object]]:
        text = invoke("runs", "--metric", "lr", "--metric", "none", "--json").stdout
        return [run["metrics"] for run in json.loads(text)]

    deadline_s = time.monotonic() + 60
    while found() != [{}, {"lr": 0.001}, {}]:
        assert time.monotonic() < deadline_s, (source, found())
        time.sleep(0.05)
    heading, *rows = invoke("runs", "--metric", "lr").stdout.splitlines()
    assert heading.split()[:4] == ["run", "status", "lr", "step"]
    assert next(row for row in rows if "night-1" in row).split()[2] == "0.001"
    most = [option for n in range(16) for option in ("--metric", str(n))]
    assert invoke("runs", *most).exit_code == 0
    for wrong in ([*most, "--metric", "x"], ["--metric", "*"]):
        refused = invoke("runs", *wrong)
        assert (refused.exit_code, "up to 16 names" in refused.stderr) == (2, True)
