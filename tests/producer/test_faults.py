"""Stacks of processes that a signal ends: the signal does what it would have done without."""

import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from realm_telemetry.producer import faults
from realm_telemetry.spool.liveness import FAULTS_NAME

from .programs import HEAD, SETUP, environment, program

REGISTERED = [getattr(signal, name) for name in faults.SIGNALS]
KILL_ME = "def here():\n    os.kill(os.getpid(), signal.{name}); time.sleep(9)\nhere()\n"


def stacks(home: Path) -> list[str]:
    """What stands in the files of all spools, those without anything left out."""
    found = [path.read_text() for path in sorted(home.glob(f"spool/*/*/{FAULTS_NAME}"))]
    return [text for text in found if text]


@pytest.mark.processes
@pytest.mark.parametrize("name", [*faults.SIGNALS, "SIGSEGV", "SIGABRT", "SIGFPE"])
def test_the_process_dies_of_the_signal_and_leaves_its_stack(tmp_path: Path, name: str) -> None:
    ended = program(tmp_path, KILL_ME.format(name=name))
    bare = program(tmp_path / "bare", KILL_ME.format(name=name), setup=HEAD)
    assert ended.code == bare.code == -getattr(signal, name)
    (text,) = stacks(tmp_path)
    assert "in here" in text
    assert (ended.output, ended.errors) == (bare.output, bare.errors) == ("", "")


@pytest.mark.processes
def test_it_dies_at_once_with_the_interpreter_lock_held(tmp_path: Path) -> None:
    code = (
        "import ctypes\n"
        "def held(): ctypes.PyDLL(None).sleep(60)\n"
        "print('ready', flush=True); held()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", SETUP + code, str(tmp_path)],
        stdout=subprocess.PIPE,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == -signal.SIGTERM
    assert "in held" in stacks(tmp_path)[0]


@pytest.mark.processes
def test_nothing_can_be_seen_of_it_in_the_program(tmp_path: Path) -> None:
    """Dispositions, mask and the file's mode."""
    show = (
        "print([signal.getsignal(s) == signal.SIG_DFL for s in (15, 1, 24, 10, 12, 3)],"
        " signal.pthread_sigmask(signal.SIG_BLOCK, []))\n"
    )
    assert program(tmp_path, show).output == program(tmp_path / "bare", show, setup=HEAD).output
    (path,) = tmp_path.glob("spool/*/*/faults")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.processes
@pytest.mark.parametrize(
    "own",
    [
        "signal.signal(signal.SIGUSR1, lambda *given: print('mine'))",
        "signal.signal(signal.SIGUSR1, signal.SIG_IGN)",
        "import ctypes; ctypes.CDLL(None).signal(signal.SIGUSR1, ctypes.c_void_p(1))  # SIG_IGN",
        "faulthandler.register(signal.SIGUSR1)",
    ],
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_what_the_program_does_with_a_signal_stays(tmp_path: Path, own: str, when: str) -> None:
    """In Python and in C, set up before us or after."""
    configure = "realm.configure(home=HOME, shipper='none')\n"
    setup = HEAD + (f"{own}\n{configure}" if when == "before" else f"{configure}{own}\n")
    kill = "os.kill(os.getpid(), signal.SIGUSR1); print('alive')\n"
    forked = f"if os.fork() == 0:\n    {kill}    sys.exit(0)\nos.wait()\n"
    again = f"realm.shutdown()\n{configure}"
    for code in (kill, "sys.stdout.flush()\n" + forked, again + kill):
        ended = program(tmp_path / "home", code, setup=setup)
        bare = program(tmp_path / "bare", code, setup=HEAD + own + "\n")
        assert ended.code == bare.code == 0
        assert ended.output.count("alive") == 1
        assert ended.output == bare.output
        assert ("most recent call first" in ended.errors) == ("faulthandler" in own)
    assert stacks(tmp_path / "home") == []


@pytest.mark.processes
def test_a_faulthandler_that_is_enabled_keeps_its_file(tmp_path: Path) -> None:
    ended = program(
        tmp_path,
        "realm.configure(home=HOME, shipper='none')\n" + KILL_ME.format(name="SIGSEGV"),
        setup=HEAD + "faulthandler.enable()\n",
    )
    assert ended.code == -signal.SIGSEGV
    assert "Fatal Python error: Segmentation fault" in ended.errors
    assert stacks(tmp_path) == []


@pytest.mark.processes
@pytest.mark.parametrize("emits", [True, False])
def test_a_child_writes_into_no_file_but_its_own(tmp_path: Path, emits: bool) -> None:
    first = "realm.note('child')\n" if emits else "pass\n"
    ended = program(
        tmp_path,
        "def in_child(): os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)\n"
        f"if os.fork() == 0:\n    {first}    in_child()\n"
        "print(os.WTERMSIG(os.wait()[1]))\n",
    )
    assert ended.output == "15\n"
    assert ["in in_child" in text for text in stacks(tmp_path)] == [True] * emits


@pytest.mark.processes
def test_a_file_of_the_program_is_never_written_to(tmp_path: Path) -> None:
    """One that closes descriptors it does not know, and opens files of its own."""
    own = tmp_path / "own"
    code = (
        "os.closerange(3, 65536)\n"
        f"files = [open({str(own)!r}, 'w') for _ in range(20)]\n" + KILL_ME.format(name="SIGTERM")
    )
    ended = program(tmp_path / "home", code)
    assert ended.code == -signal.SIGTERM
    assert own.read_text() == ""


@pytest.mark.processes
@pytest.mark.parametrize("taken", [True, False])
def test_the_keeper_opens_a_closed_file_again_beside_what_is_there(
    tmp_path: Path, taken: bool
) -> None:
    own = tmp_path / "own"
    code = (
        "from realm_telemetry.producer import faults\n"
        "number = faults._hold.number\n"
        "os.close(number)\n"
        f"opened = os.open({str(own)!r}, os.O_CREAT | os.O_RDWR)\n"
        f"if {taken}: os.dup2(opened, number)\n"
        "realm.get_telemetry()._look_after_spool()\n"
        f"assert (faults._hold.number == number) != {taken}\n" + KILL_ME.format(name="SIGTERM")
    )
    ended = program(tmp_path / "home", code)
    assert ended.code == -signal.SIGTERM
    assert own.read_text() == ""
    assert "in here" in stacks(tmp_path / "home")[0]


@pytest.mark.processes
def test_a_keeper_that_looks_during_a_shutdown_takes_no_signal_from_the_program(
    tmp_path: Path,
) -> None:
    code = """
import faulthandler
from pathlib import Path
from realm_telemetry.producer import faults
from realm_telemetry.spool.liveness import FAULTS_NAME

sys.setswitchinterval(1e-6)
directory = Path(HOME)
faults.attach(directory)
faulthandler.register(signal.SIGUSR1)
over = threading.Event()

def look():
    while not over.is_set():
        faults.renew(directory)

keeper = threading.Thread(target=look)
keeper.start()
for _ in range(3000):
    faults.detach()
    faults.attach(directory)
over.set()
keeper.join()
os.kill(os.getpid(), signal.SIGUSR1)
print("alive")
"""
    ended = program(tmp_path, code, setup=HEAD)
    assert (ended.code, ended.output) == (0, "alive\n")


@pytest.mark.processes
def test_a_second_configure_writes_into_its_own_spool(tmp_path: Path) -> None:
    ended = program(
        tmp_path,
        "realm.note('first'); realm.shutdown()\n"
        "number = len(os.listdir('/proc/self/fd'))\n"
        "realm.configure(home=HOME, shipper='none'); second = realm.note('second')\n"
        + KILL_ME.format(name="SIGTERM"),
    )
    assert ended.code == -signal.SIGTERM
    second = next(event for event in ended.events if event.message == "second")
    (path,) = tmp_path.glob(f"spool/*/{second.producer}/faults")
    assert stacks(tmp_path) == [path.read_text()]


def test_a_link_in_the_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("")
    (tmp_path / FAULTS_NAME).symlink_to(victim)
    before = faults._hold.file
    faults.attach(tmp_path)
    assert faults._hold.file == before
    faults.attach(tmp_path / "missing")
    assert faults._hold.file == before
    assert victim.read_text() == ""


@pytest.mark.processes
@pytest.mark.parametrize("how", ["fork", "shutdown"])
def test_files_that_are_opened_afterwards_get_no_stack(tmp_path: Path, how: str) -> None:
    """In a forked child, and after `shutdown`, with all numbers of descriptors in use."""
    own = tmp_path / "own"
    own.mkdir()
    begin = "realm.shutdown()\n" if how == "shutdown" else "if os.fork(): os.wait(); os._exit(0)\n"
    code = (
        "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))\n"
        "realm.configure(home=HOME, shipper='none')\n" + begin + "files = []\n"
        f"while len(files) < 110: files.append(open(f'{own}/{{len(files)}}', 'w'))\n"
        + KILL_ME.format(name="SIGTERM")
    )
    program(tmp_path / "home", code, setup=HEAD)
    assert len(list(own.iterdir())) > 90
    assert [path.name for path in own.iterdir() if path.read_text()] == []
