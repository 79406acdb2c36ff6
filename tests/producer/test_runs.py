"""When a run begins in a process, what it is called, and who shares it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import realm_telemetry as realm
from realm_telemetry.config import MAX_RUN_ID_CHARS, load_settings
from realm_telemetry.errors import ConfigError
from realm_telemetry.producer import appenders, emission, runs

from .programs import HEAD, program, script
from .test_emit import spooled

MADE = re.compile(r"train-\d{4}-\d{4}-[2-9a-z]{7}")


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[realm.Telemetry]:
    """A configured process that nobody has named a run for."""
    for name in ("REALM_RUN_ID", "TORCHELASTIC_RUN_ID", "SLURM_JOB_ID", "REALM_PIPELINE"):
        monkeypatch.delenv(name, raising=False)
    realm.shutdown(0)
    appenders.set_current(appenders.Early(lambda: None))
    started = realm.configure(service_name="test", home=tmp_path, shipper="none")
    assert started is not None
    yield started
    realm.shutdown(0)
    appenders.set_current(appenders.Early(lambda: None))


def kinds(telemetry: realm.Telemetry) -> list[str]:
    return [event.kind for event in spooled(telemetry)]


def test_a_process_that_never_trains_has_no_run(fresh: realm.Telemetry) -> None:
    assert realm.note("n").run_id is None
    assert realm.emit("note", "n", channel="training").run_id is None
    assert realm.checkpoint_saved(step=1, loss=2).run_id is None
    assert kinds(fresh) == ["note", "note", "checkpoint_saved"]


def test_the_first_training_event_begins_a_run_that_has_a_readable_name(
    fresh: realm.Telemetry,
) -> None:
    step = realm.training_step(step=7, loss=0.5)
    after = realm.note("n")
    assert step.run_id is not None
    assert MADE.fullmatch(step.run_id)
    assert after.run_id == step.run_id
    started, first, _ = spooled(fresh)
    assert (started.kind, started.run_id) == ("run_started", step.run_id)
    assert first == step
    assert started.time_unix_nano == step.time_unix_nano


def test_the_start_of_a_run_says_what_is_trained_where_its_first_event_does(
    fresh: realm.Telemetry,
) -> None:
    realm.training_started(model="tiny", parameters=7, device="cpu", world_size=2, notes="x")
    started = next(event for event in spooled(fresh) if event.kind == "run_started")
    found = {"model": "tiny", "parameters": 7, "device": "cpu", "world_size": 2}
    assert started.details.items() >= found.items()
    assert "notes" not in started.details


@pytest.mark.parametrize("kind", ["training_started", "lr_changed", "run_config", "epoch_ended"])
def test_any_event_of_the_channel_begins_a_run(fresh: realm.Telemetry, kind: str) -> None:
    event = realm.emit(kind, channel="training", learning_rate=0.1)
    assert event.run_id is not None
    assert kinds(fresh) == ["run_started", kind]


def test_twenty_trainings_of_which_three_fail_are_twenty_runs(fresh: realm.Telemetry) -> None:
    for number in range(20):
        try:
            with realm.lifecycle("training"):
                realm.training_step(step=number, loss=1.0)
                if number in (3, 9, 19):
                    raise ValueError(f"training {number}")
        except ValueError:
            pass
    events = spooled(fresh)
    started = [event.run_id for event in events if event.kind == "run_started"]
    ended = [event for event in events if event.kind == "run_ended"]
    assert len(set(started)) == 20
    assert [event.run_id for event in ended] == started
    failed = [event.details["reason"] for event in ended if event.details["status"] == "failed"]
    assert failed == [f"ValueError: training {number}" for number in (3, 9, 19)]


def test_a_training_that_raised_and_was_never_ended_is_over_when_the_next_begins(
    fresh: realm.Telemetry,
) -> None:
    names = set()
    for number in range(3):
        realm.training_started(model="m")
        names.add(realm.training_step(step=number, loss=1.0).run_id)
    ended = [event for event in spooled(fresh) if event.kind == "run_ended"]
    assert len(names) == 3
    assert [event.details["status"] for event in ended] == ["lost", "lost"]


def test_a_training_that_is_announced_twice_before_its_first_step_is_one(
    fresh: realm.Telemetry,
) -> None:
    names = {realm.training_started(model="m").run_id for _ in range(2)}
    assert len(names) == 1


def test_what_comes_after_the_end_belongs_to_the_run_that_ended(fresh: realm.Telemetry) -> None:
    run = realm.training_step(step=1, loss=1.0).run_id
    realm.training_completed(step=1)
    assert realm.checkpoint_saved(step=1, loss=1.0).run_id == run
    assert realm.lr_changed(0.1).run_id == run
    assert realm.training_step(step=1, loss=1.0).run_id != run
    assert kinds(fresh).count("run_started") == 2


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (lambda: realm.training_completed(step=9), ("completed", None, "success", 9)),
        (lambda: realm.training_failed("OOM"), ("failed", "OOM", "error", 3)),
        (lambda: realm.training_cancelled(reason="me"), ("cancelled", "me", "warning", 3)),
    ],
)
def test_the_end_of_a_training_is_the_end_of_its_run(
    fresh: realm.Telemetry, event, expected
) -> None:
    realm.training_step(step=3, loss=1.0)
    closing = event()
    ended = spooled(fresh)[-1]
    details = ended.details
    assert (ended.kind, ended.run_id) == ("run_ended", closing.run_id)
    assert ended.number == closing.number + 1
    found = (details["status"], details.get("reason"), ended.severity, details["last_step"])
    assert found == expected
    assert details["evidence"]["event"] == closing.kind
    assert 0 <= details["duration_s"] < 60


@pytest.mark.parametrize(
    ("text", "error_type", "reason"),
    [
        (
            "OutOfMemoryError: CUDA out of memory. Tried to allocate 20 MiB",
            "torch.cuda.OutOfMemoryError",
            "CUDA out of memory: Tried to allocate 20 MiB",
        ),
        ("RuntimeError: CUDA out of memory", "RuntimeError", "CUDA out of memory"),
        ("full", "torch.OutOfMemoryError", "CUDA out of memory: full"),
        (
            "AcceleratorError: CUDA error: out of memory\nMore may follow",
            "torch.AcceleratorError",
            "CUDA out of memory: More may follow",
        ),
        (
            "OutOfMemoryError: HIP out of memory. Tried 2 GiB",
            "torch.OutOfMemoryError",
            "HIP out of memory: Tried 2 GiB",
        ),
        ("MemoryError", "MemoryError", "MemoryError"),
        ("e" * 2000, "E", "e" * 999 + "…"),
    ],
)
def test_a_full_gpu_has_a_reason_of_its_own(text: str, error_type: str, reason: str) -> None:
    assert runs.reason_of(text, error_type) == reason


def test_a_user_who_says_how_a_run_ended_is_not_contradicted(fresh: realm.Telemetry) -> None:
    realm.run_started(command="mine", world_size=2)
    realm.run_ended("preempted", reason="by me")
    assert kinds(fresh) == ["run_started", "run_ended"]
    assert realm.run_ended("preempted").number == 3


def test_a_given_name_stays_for_the_whole_process(producer: realm.Telemetry) -> None:
    for _ in range(2):
        realm.training_started(model="m")
        realm.training_step(step=1, loss=1.0)
        assert realm.training_completed().run_id == "r0"
    assert {event.run_id for event in spooled(producer)} == {"r0"}
    assert kinds(producer).count("run_started") == 2


def test_a_block_that_names_a_run_has_one_of_its_own(fresh: realm.Telemetry) -> None:
    outside = realm.training_step(step=1, loss=1.0).run_id
    with realm.bound(run_id="sweep/1 🚀"):
        for step in range(3):
            assert realm.training_step(step=step, loss=1.0).run_id == "sweep/1 🚀"
        realm.training_completed()
    assert realm.training_step(step=2, loss=1.0).run_id == outside
    ended = [event for event in spooled(fresh) if event.kind == "run_ended"]
    assert [(event.run_id, event.details["last_step"]) for event in ended] == [("sweep/1 🚀", 2)]


def test_a_block_that_is_entered_before_the_run_begins_has_its_name(fresh: realm.Telemetry) -> None:
    with realm.bound(hero_id="dio"):
        run = realm.training_step(step=1, loss=1.0).run_id
        assert run is not None
        assert realm.note("n").run_id == run
    assert [event.hero_id for event in spooled(fresh)] == ["dio"] * 3


def test_a_block_cuts_a_name_that_is_too_long(fresh: realm.Telemetry) -> None:
    for chars, kept in ((256, 256), (257, 256)):
        with realm.bound(run_id="r" * chars):
            assert realm.note("n").run_id == "r" * kept


def test_runs_beyond_the_limit_keep_their_events_and_are_not_begun(fresh: realm.Telemetry) -> None:
    for number in range(runs.MAX_OPEN_RUNS + 1):
        with realm.bound(run_id=f"r{number}"):
            assert realm.training_step(step=1, loss=1.0).run_id == f"r{number}"
    assert kinds(fresh).count("run_started") == runs.MAX_OPEN_RUNS


def test_only_steps_of_the_run_under_way_take_the_short_way(
    fresh: realm.Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    realm.training_step(step=1, loss=1.0)

    def refuse(event: realm.Event, run_id: str | None) -> realm.Event:
        raise AssertionError(event)

    monkeypatch.setattr(emission, "take_part", refuse)
    realm.training_step(step=2, loss=1.0)
    with pytest.raises(AssertionError):
        realm.lr_changed(0.1)


def test_shutdown_ends_an_open_run_and_forgets_its_name(fresh: realm.Telemetry) -> None:
    realm.training_step(step=5, loss=1.0)
    reader = fresh.pipeline_dir
    assert reader is not None
    realm.shutdown(0)
    ended = spooled(fresh)[-1]
    assert ended.kind == "run_ended"
    assert ended.details["status"] == "completed"
    assert ended.details["evidence"] == {"call": "shutdown"}
    assert realm.training_step(step=6, loss=1.0).run_id is None


def test_shutdown_while_an_exception_passes_says_that_the_run_failed(
    fresh: realm.Telemetry,
) -> None:
    realm.training_step(step=5, loss=1.0)
    try:
        raise ValueError("bad")
    except ValueError:
        realm.shutdown(0)
    ended = spooled(fresh)[-1]
    assert (ended.details["status"], ended.details["reason"]) == ("failed", "ValueError: bad")


@pytest.mark.parametrize("code", [None, 0, 3, "text"])
def test_shutdown_on_the_way_out_knows_the_exit_code(fresh: realm.Telemetry, code) -> None:
    realm.training_step(step=5, loss=1.0)
    try:
        raise SystemExit(code)
    except SystemExit:
        realm.shutdown(0)
    details = spooled(fresh)[-1].details
    number = {None: 0, 0: 0, 3: 3, "text": 1}[code]
    assert details["exit_code"] == number
    assert details["status"] == ("failed" if number else "completed")


def test_nothing_is_made_up_before_configure(monkeypatch: pytest.MonkeyPatch) -> None:
    realm.shutdown(0)
    appenders.set_current(appenders.Early(lambda: None))
    assert realm.training_step(step=1, loss=1.0).run_id is None
    assert realm.training_completed().run_id is None
    appenders.set_current(appenders.Early(lambda: None))


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"TORCHELASTIC_RUN_ID": "job7", "SLURM_JOB_ID": "5"}, "job7"),
        ({"TORCHELASTIC_RUN_ID": "none", "SLURM_JOB_ID": "5"}, "slurm-5"),
        ({"SLURM_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "2"}, "slurm-5_2"),
        ({"TORCHELASTIC_RUN_ID": "none"}, None),
        ({"REALM_RUN_ID": "mine", "TORCHELASTIC_RUN_ID": "job7"}, "mine"),
        ({"TORCHELASTIC_RUN_ID": "x" * 300}, "x" * 256),
    ],
)
def test_launchers_and_schedulers_name_a_run(tmp_path: Path, environ, expected) -> None:
    settings = load_settings({"home": tmp_path}, environ=environ)
    assert settings.run_id == expected
    named = load_settings({"home": tmp_path, "run_id": "arg"}, environ=environ)
    assert (named.run_id, named.run_origin) == ("arg", "given")


def test_a_name_has_256_characters_at_most(tmp_path: Path) -> None:
    longest = "🚀" * MAX_RUN_ID_CHARS
    assert load_settings({"home": tmp_path, "run_id": longest}, environ={}).run_id == longest
    with pytest.raises(ConfigError, match=r"the argument run_id.* at most 256 characters"):
        load_settings({"home": tmp_path, "run_id": longest + "x"}, environ={})
    with pytest.raises(ConfigError, match=r"REALM_RUN_ID.* has 257; shorten it"):
        load_settings({"home": tmp_path}, environ={"REALM_RUN_ID": "x" * 257})


def test_what_the_parents_code_named_wins_over_a_launcher_and_its_run_does_not(
    tmp_path: Path,
) -> None:
    launched = {"TORCHELASTIC_RUN_ID": "job7"}
    for origin, expected in (("given", "p"), ("derived", "job7"), ("ended", "job7")):
        inherited = {"run_id": "p", "run_origin": origin, "environ": {}}
        found = load_settings({"home": tmp_path}, environ=launched, inherited=inherited)
        assert found.run_id == expected


def test_a_launcher_that_the_parent_had_too_does_not_rename_its_run(tmp_path: Path) -> None:
    from realm_telemetry.config import variable_marks

    slurm = {"SLURM_JOB_ID": "5"}
    inherited = {"run_id": "slurm-5-2", "run_origin": "derived", "environ": variable_marks(slurm)}
    found = load_settings({"home": tmp_path}, environ=slurm, inherited=inherited)
    assert (found.run_id, found.run_origin) == ("slurm-5-2", "derived")


def test_further_trainings_of_a_derived_run_are_numbered(
    fresh: realm.Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = []
    for base in ("slurm-5", "x" * 256):
        runs.set_up(base, "derived")
        for _ in range(3):
            names.append(realm.training_step(step=1, loss=1.0).run_id)
            realm.training_completed()
    assert names[:3] == ["slurm-5", "slurm-5-2", "slurm-5-3"]
    assert names[3:] == ["x" * 256, "x" * 254 + "-2", "x" * 254 + "-3"]


def test_set_up_anew_the_numbers_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "8")
    names = []
    for _ in range(2):
        appenders.set_current(appenders.Early(lambda: None))
        realm.configure(home=tmp_path, shipper="none")
        names.append(realm.training_step(step=1, loss=1.0).run_id)
        realm.shutdown(0)
    assert names == ["slurm-8", "slurm-8-2"]
    monkeypatch.delenv("SLURM_JOB_ID")
    for name, value in (("TORCHELASTIC_RUN_ID", "none"), ("WORLD_SIZE", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    for _ in range(2):
        appenders.set_current(appenders.Early(lambda: None))
        realm.configure(home=tmp_path, shipper="none")
        names.append(realm.training_step(step=1, loss=1.0).run_id)
        realm.shutdown(0)
    assert names[3] == f"{names[2]}-2"
    appenders.set_current(appenders.Early(lambda: None))


TRAIN = "realm.training_step(step=1, loss=1.0)\n"
CHILDREN = {
    "fork": "mp.get_context('fork').Process(target=child)",
    "spawn": "mp.get_context('spawn').Process(target=child)",
    "subprocess": "Other()",
}
PARENT = """
import multiprocessing as mp
def child(): realm.note('child')
class Other:
    def start(self):
        code = "import realm_telemetry as r; r.note('child')"
        self.process = subprocess.Popen([sys.executable, '-c', code])
    def join(self): self.process.wait()
if __name__ == '__main__':
    realm.configure(home=HOME, shipper='none')
    realm.training_step(step=1, loss=1.0)
"""


@pytest.mark.processes
@pytest.mark.parametrize("way", CHILDREN)
def test_a_child_has_its_parents_run_and_does_not_end_it(tmp_path: Path, way: str) -> None:
    """By whichever way it was started; it began nothing by joining."""
    code = PARENT + f"    other = {CHILDREN[way]}; other.start(); other.join()\n"
    ended = script(tmp_path / "script.py", code, tmp_path / "home")
    child = ended.one("note")
    assert child.run_id == ended.one("run_started").run_id
    assert child.producer != ended.one("run_started").producer
    assert ended.one("run_ended").producer != child.producer


@pytest.mark.processes
def test_a_child_that_trains_takes_part_and_its_next_training_is_numbered(tmp_path: Path) -> None:
    ended = program(
        tmp_path,
        TRAIN + "if os.fork() == 0:\n"
        "    for _ in range(2):\n"
        "        realm.training_step(step=2, loss=1.0); realm.training_completed()\n"
        "    sys.exit(0)\n"
        "os.wait()\n",
    )
    run = next(event.run_id for event in ended.of("training_step") if event.details["step"] == 1)
    theirs = [event.run_id for event in ended.of("training_step") if event.details["step"] == 2]
    assert theirs == [run, f"{run}-2"]
    assert sorted(event.run_id or "" for event in ended.of("run_ended")) == [run, run, f"{run}-2"]


@pytest.mark.processes
def test_a_child_of_a_process_whose_run_is_over_begins_one_with_a_name_of_its_own(
    tmp_path: Path,
) -> None:
    child = (
        "import realm_telemetry as r; a = r.note('child'); b = r.training_step(step=2, loss=1.0)"
    )
    ended = program(
        tmp_path,
        TRAIN + "realm.training_completed()\n"
        f"subprocess.run([sys.executable, '-c', {child!r}])\n"
        "if os.fork() == 0: realm.training_step(step=2, loss=1.0); sys.exit(0)\n"
        "os.wait()\n",
        SLURM_JOB_ID="5",
    )
    assert ended.one("note").run_id == "slurm-5"
    names = [event.run_id or "" for event in ended.of("training_step")]
    assert names.count("slurm-5") == 1
    assert len(set(names)) == 3
    assert sum(bool(MADE.fullmatch(name)) for name in names) == 2


@pytest.mark.processes
def test_the_ranks_of_a_torchrun_without_an_id_share_one(tmp_path: Path) -> None:
    """They know nothing in common but the agent that started them."""
    rank = (
        f"import realm_telemetry as r; r.configure(home={str(tmp_path)!r}, shipper='none');"
        "[(r.training_step(step=1, loss=1.0), r.training_completed()) for _ in range(2)]"
    )
    launched = "dict(os.environ, TORCHELASTIC_RUN_ID='none', WORLD_SIZE='2', LOCAL_WORLD_SIZE='2')"
    ended = program(
        tmp_path,
        f"ranks = [subprocess.Popen([sys.executable, '-c', {rank!r}], env={launched})"
        " for _ in range(2)]\n[rank.wait() for rank in ranks]\n",
        setup=HEAD,
    )
    names = sorted(event.run_id or "" for event in ended.of("training_step"))
    assert MADE.fullmatch(names[0])
    assert names == [names[0], names[0], f"{names[0]}-2", f"{names[0]}-2"]


@pytest.mark.processes
def test_threads_that_begin_a_run_at_the_same_time_begin_one(tmp_path: Path) -> None:
    ended = program(
        tmp_path,
        "sys.setswitchinterval(1e-6)\nbegin = threading.Barrier(16)\n"
        "def train():\n    begin.wait(); realm.training_step(step=1, loss=1.0)\n"
        "threads = [threading.Thread(target=train) for _ in range(16)]\n"
        "[thread.start() for thread in threads]; [thread.join() for thread in threads]\n",
    )
    run = ended.one("run_started").run_id
    assert [event.run_id for event in ended.of("training_step")] == [run] * 16


@pytest.mark.processes
def test_configure_called_again_during_a_run_is_harmless(tmp_path: Path) -> None:
    """Also where the first call was made by `realm.log`."""
    again = "realm.log({'a': 1}); realm.configure(home=HOME, shipper='none')\n"
    ended = program(tmp_path / "a", again)
    assert ended.errors == ""
    first_use = HEAD + "os.environ.update(REALM_HOME=HOME, REALM_SHIPPER='none')\n"
    for code in (again, again.replace("home=HOME", "home=HOME, service_name='other'")):
        ended = program(tmp_path / "b", code + "realm.log({'a': 1})\n", setup=first_use)
        assert ended.errors == ""
    assert len(ended.of("run_started")) == len(ended.of("run_ended")) == 2
    assert [event.details["step"] for event in ended.of("training_step")] == [1, 2, 1, 2]


@pytest.mark.processes
def test_the_sdks_off_switch_begins_no_run(tmp_path: Path) -> None:
    ended = program(
        tmp_path / "home",
        TRAIN + "print(realm.training_completed().run_id, 'REALM_PIPELINE' in os.environ)",
        OTEL_SDK_DISABLED="true",
    )
    assert ended.output == "None False\n"
    assert ended.events == []


@pytest.mark.processes
def test_trainings_in_several_tasks_do_not_end_one_another(tmp_path: Path) -> None:
    code = """
import asyncio
async def train(number):
    realm.training_started(model="m")
    for _ in range(5):
        realm.log({"a": 1})
        await asyncio.sleep(0.01)
    realm.training_completed(step=5, loss=0.1)
async def main():
    await asyncio.gather(*map(train, range(3)))
asyncio.run(main())
"""
    ended = program(tmp_path, code)
    assert {event.details["status"] for event in ended.of("run_ended")} == {"completed"}


@pytest.mark.processes
def test_an_exception_that_was_handled_before_the_training_is_none_of_its(tmp_path: Path) -> None:
    code = """
try:
    import no_such_module
except ImportError:
    realm.training_started(model="m")
    realm.log({"a": 1})
    realm.shutdown()
"""
    (ended,) = program(tmp_path, code).of("run_ended")
    assert ended.details["status"] == "completed"


AT_ONCE = """
def train(number):
    realm.training_started(model=number)
    for step in range(3):
        realm.log({"n": number}, step=step); time.sleep(0.01)
    if number in (3, 5): raise ValueError(f"training {number}")
    realm.checkpoint_saved(step=3, loss=number)
    realm.training_completed(step=3, loss=0.1)
    realm.note("after", n=number)
"""
THREADS = """
sys.setswitchinterval(1e-5)
threads = [threading.Thread(target=train, args=(number,)) for number in range(8)]
[thread.start() for thread in threads]; [thread.join() for thread in threads]
"""
TASKS = """
import asyncio
async def task(number):
    realm.training_started(model=number)
    for step in range(3):
        realm.log({"n": number}, step=step); await asyncio.sleep(0.01)
    if number in (3, 5): raise ValueError(f"training {number}")
    realm.checkpoint_saved(step=3, loss=number)
    realm.training_completed(step=3, loss=0.1)
    realm.note("after", n=number)
async def main():
    await asyncio.gather(*map(task, range(8)), return_exceptions=True)
asyncio.run(main())
"""


@pytest.mark.processes
@pytest.mark.parametrize("at_once", [THREADS, TASKS], ids=["threads", "tasks"])
def test_trainings_at_the_same_time_are_runs_of_their_own(tmp_path: Path, at_once: str) -> None:
    """Each is a run with its own events, and ends as its own thread or task did."""
    setup = HEAD + "realm.configure(home=HOME, shipper='none')\n"
    ended = program(tmp_path, AT_ONCE + at_once, setup=setup, SLURM_JOB_ID="7")
    of_number: dict[int, set[str | None]] = {}
    for event in ended.of("training_step", "note"):
        of_number.setdefault(event.details["n"], set()).add(event.run_id)
    for event in ended.of("checkpoint_saved"):
        of_number[event.details["loss"]].add(event.run_id)
    named = {number: next(iter(ids)) for number, ids in of_number.items() if len(ids) == 1}
    assert len(named) == len(set(named.values())) == 8, of_number
    assert "slurm-7" in named.values()
    ends = {event.run_id: event.details for event in ended.of("run_ended")}
    assert len(ended.of("run_ended")) == 8
    failed = {each["reason"] for each in ends.values() if each["status"] == "failed"}
    assert failed == {"ValueError: training 3", "ValueError: training 5"}


@pytest.mark.processes
def test_a_training_after_that_of_a_thread_that_has_gone_is_another(tmp_path: Path) -> None:
    code = """
def train():
    realm.training_started(model="m"); realm.training_step(step=1, loss=1.0)
for _ in range(3):
    thread = threading.Thread(target=train); thread.start(); thread.join()
"""
    ended = program(tmp_path, code)
    assert len({event.run_id for event in ended.of("training_step")}) == 3
    reasons = [event.details.get("reason") for event in ended.of("run_ended")]
    assert reasons[:2] == ["another training began after its thread had ended"] * 2


@pytest.mark.processes
def test_steps_of_another_thread_belong_to_the_training_that_was_announced(tmp_path: Path) -> None:
    code = """
realm.training_started(model="m")
def step(number): realm.training_step(step=number, loss=1.0)
for number in (1, 2):
    thread = threading.Thread(target=step, args=(number,)); thread.start(); thread.join()
realm.training_completed(step=2, loss=0.1)
"""
    ended = program(tmp_path, code)
    assert {e.run_id for e in ended.of("training_step")} == {ended.one("run_ended").run_id}
