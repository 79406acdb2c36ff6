"""Where a spool may be: never where another user could put something in its place."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from realm_telemetry import home
from realm_telemetry.config import load_settings
from realm_telemetry.errors import ConfigError
from realm_telemetry.log.errors import LogUnavailableError
from realm_telemetry.log.sqlite.writer import LogWriter
from realm_telemetry.producer import api, telemetry
from realm_telemetry.shipper.launch import launch
from realm_telemetry.shipper.manifest import Manifest, read_manifest, write_manifest
from realm_telemetry.shipper.orphans import adopt, orphaned_pipelines
from realm_telemetry.shipper.overview import pipeline_status
from realm_telemetry.shipper.ship_once import ship_once
from realm_telemetry.spool.place import find_spool_root
from realm_telemetry.spool.writer import MemoryWriter

OTHER = 12345
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can act as a second user")


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A directory in which everybody can make names, as in /var/tmp."""
    directory = tmp_path / "shared"
    directory.mkdir()
    directory.chmod(0o1777)
    return directory


def make_as(user: int, *directories: Path, mode: int = 0o755) -> None:
    """Make directories as another user has made them."""
    for directory in directories:
        directory.mkdir()
        directory.chmod(mode)
        os.chown(directory, user, user)


def manifest_of(at: Path, **fields: object) -> Manifest:
    return Manifest(
        version="1",
        python="",
        home=str(at),
        log_path=str(at / "vault" / "jobs.db"),
        search_path=str(at / "vault" / "search.db"),
        service_url="http://127.0.0.1:1",
        **fields,  # type: ignore[arg-type]
    )


def give_away(path: Path, user: int) -> None:
    """Let everything below a path belong to another user."""
    for each in [path, *path.rglob("*")]:
        os.chown(each, user, user, follow_symlinks=False)


def problem_of(root: Path) -> str:
    """Why a root is not used; empty if it is."""
    found, problems = find_spool_root([root])
    assert (found is None) == bool(problems)
    return "".join(problems)


def test_what_is_missing_is_made_for_this_user_alone(shared: Path) -> None:
    root = shared / "realm-0" / "spool"
    assert problem_of(root) == ""
    assert [stat.S_IMODE(each.stat().st_mode) for each in (root, root.parent)] == [0o700, 0o700]


@needs_root
@pytest.mark.parametrize("planted", ["realm", "realm/spool", "realm/deeper"])
def test_a_directory_that_another_user_made_first_is_not_used(shared: Path, planted: str) -> None:
    """Above all not its parent, whose owner could swap what we made in it."""
    first = shared / "realm"
    if planted == "realm":
        make_as(OTHER, first, mode=0o777)
        (first / "spool").mkdir(mode=0o700)
    else:
        first.mkdir(mode=0o700)
        make_as(OTHER, shared / planted)
    root = shared / planted if planted.endswith("deeper") else first / "spool"
    problem = problem_of(root)
    assert f"belongs to uid {OTHER}" in problem
    assert "REALM_SPOOL" in problem


@needs_root
def test_a_link_that_another_user_made_is_not_followed(shared: Path, tmp_path: Path) -> None:
    """Even if it leads to a directory of ours."""
    mine = tmp_path / "mine"
    mine.mkdir(mode=0o700)
    link = shared / "realm"
    link.symlink_to(mine)
    os.chown(link, OTHER, OTHER, follow_symlinks=False)
    assert "is a link in a directory that others can write" in problem_of(link / "spool")
    assert "is a link" in problem_of(link)
    assert list(mine.iterdir()) == []


def test_a_link_that_only_we_can_change_is_followed(tmp_path: Path) -> None:
    """A home may be a link to a larger disk; the spool root itself may not be one."""
    disk, link = tmp_path / "disk", tmp_path / "home"
    disk.mkdir(mode=0o700)
    link.symlink_to("disk")
    assert problem_of(link / "spool") == ""
    assert (disk / "spool").is_dir()
    assert "is a link" in problem_of(link)


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert "is a link" in problem_of(tmp_path / "a" / "spool")


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o1755])
def test_a_directory_that_others_only_read_is_used(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    assert problem_of(tmp_path / "spool") == ""


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o775, 0o777])
@pytest.mark.parametrize("which", ["parent", "root"])
def test_a_directory_that_others_write_is_not_used(tmp_path: Path, mode: int, which: str) -> None:
    """The error names it and the command that mends it."""
    parent = tmp_path / "parent"
    root = parent / "spool"
    root.mkdir(parents=True)
    loose = parent if which == "parent" else root
    loose.chmod(mode)
    if os.getuid() != 0 and not mode & 0o002:
        pytest.skip("the group of an ordinary user may be that user's alone")
    problem = problem_of(root)
    assert f"{loose} can be written by other users (mode {mode:04o})" in problem
    assert f"chmod go-w {loose}" in problem


def test_a_sticky_directory_is_no_spool_root_itself(shared: Path) -> None:
    """`REALM_SPOOL=/var/tmp` would put pipelines where all can make names."""
    assert "can be written by other users" in problem_of(shared)


@needs_root
def test_root_does_not_use_the_home_of_a_user(tmp_path: Path) -> None:
    """With `sudo -E` the home is that of the user, who could have root run a manifest."""
    make_as(OTHER, tmp_path / "user", mode=0o700)
    assert f"belongs to uid {OTHER}" in problem_of(tmp_path / "user" / ".realm" / "spool")
    assert list((tmp_path / "user").iterdir()) == []


def test_no_place_at_all_is_an_answer_and_no_error(shared: Path) -> None:
    found, problems = find_spool_root([shared, Path("/proc/nowhere")])
    assert found is None
    assert len(problems) == 2


@needs_root
@pytest.mark.parametrize("planted", ["all", "parent", "manifest", "manifest is a link"])
def test_a_manifest_that_another_user_could_have_written_is_never_run(
    shared: Path, tmp_path: Path, planted: str
) -> None:
    """Launched, adopted, shipped, joined: every way to it ends in an error with the reason."""
    given = shared / "realm"
    directory = write_manifest(given / "spool", manifest_of(given, import_path=["/evil"]))
    (directory / ("ab" * 8)).mkdir()
    if planted == "all":
        give_away(given, OTHER)
    elif planted == "parent":
        os.chown(given, OTHER, OTHER)
    elif planted == "manifest":
        os.chown(directory / "manifest.json", OTHER, OTHER)
    else:
        moved = (directory / "manifest.json").rename(tmp_path / "elsewhere.json")
        (directory / "manifest.json").symlink_to(moved)
    with pytest.raises(ConfigError, match=r"is not run|cannot be read") as error:
        read_manifest(directory)
    assert str(directory) in str(error.value)
    with pytest.raises(ConfigError):
        launch(directory)
    told: list[str] = []
    assert orphaned_pipelines(given / "spool") == [directory]
    assert adopt([directory], launch, told.append) == []
    assert "no shipper could be started" in told[0]
    (result,) = ship_once([directory], 5.0)
    assert not result.complete
    assert str(directory) in result.problem
    (status,) = pipeline_status(given, given / "spool")
    assert status.error == result.problem
    assert not (given / "vault").exists()


def test_a_pipe_in_the_place_of_a_manifest_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "manifest.json")
    with pytest.raises(ConfigError, match="is no file"):
        read_manifest(tmp_path)


def test_a_link_among_pipelines_is_not_adopted(tmp_path: Path) -> None:
    directory = write_manifest(tmp_path / "elsewhere", manifest_of(tmp_path))
    (directory / ("ab" * 8)).mkdir()
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "linked").symlink_to(directory)
    assert orphaned_pipelines(tmp_path / "spool") == []


SWAP = """
import os, sys
from pathlib import Path
from realm_telemetry.home import open_own_directory
os.setgroups([])
os.setgid(12345)
os.setuid(12345)
try:
    os.close(open_own_directory(sys.argv[1], make=True))
except OSError as error:
    print(error)
else:
    print("safe")
"""


@pytest.fixture
def as_other(tmp_path: Path) -> Iterator[Callable[[Path], str]]:
    """Ask a process of the other user whether a directory is safe for it."""
    # A child of the temporary directory of root, which others must be able to pass through.
    opened = [each for each in tmp_path.parents if stat.S_IMODE(each.stat().st_mode) & 0o077 == 0]
    for each in opened:
        each.chmod(0o711)
    tmp_path.chmod(0o711)

    def ask(directory: Path) -> str:
        done = subprocess.run(
            [sys.executable, "-c", SWAP, str(directory)], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    yield ask
    for each in opened:
        each.chmod(0o700)


@needs_root
@pytest.mark.processes
def test_a_second_user_has_a_place_of_its_own_and_none_of_ours(
    shared: Path, as_other: Callable[[Path], str]
) -> None:
    """Directories of root above are trusted; a directory of root is still not this user's."""
    assert as_other(shared / "theirs" / "spool") == "safe"
    assert (shared / "theirs").stat().st_uid == OTHER
    assert "belongs to uid 12345" in problem_of(shared / "theirs" / "spool")
    (shared / "ours").mkdir(mode=0o755)
    assert "belongs to uid 0" in as_other(shared / "ours")
    (shared / "open").mkdir()
    (shared / "open").chmod(0o777)
    assert "can be written by other users (mode 0777)" in as_other(shared / "open" / "spool")


def test_an_unknown_owner_in_a_user_namespace_is_trusted_above_shared_directories_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container of one user the root of the host is `nobody`; so is every other user."""
    assert not home._is_trusted(65534, planted=False)
    inside = tmp_path / "uid_map"
    inside.write_text("0 1000 1\n")
    monkeypatch.setattr(home, "_ID_MAP", str(inside))
    assert home._is_trusted(65534, planted=False)
    assert not home._is_trusted(65534, planted=True)
    assert not home._is_trusted(OTHER, planted=False)


@needs_root
@pytest.mark.parametrize("shared_above", [True, False])
def test_a_planted_home_gives_neither_settings_nor_a_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], shared_above: bool
) -> None:
    """A home of another user where only that user and root make names is one that was chosen."""
    # Not below pytest's own directory, which lies in a shared one.
    top = Path("/root") if Path("/root").is_dir() else tmp_path
    place = Path(tempfile.mkdtemp(dir=top))
    try:
        place.chmod(0o1777 if shared_above else 0o755)
        given = place / "home"
        make_as(OTHER, given)
        (given / "realm.toml").write_text('service_name = "planted"\n')
        (given / "vault").mkdir()
        give_away(given, OTHER)
        assert load_settings({"home": given}).service_name == (
            "unknown_service" if shared_above else "planted"
        )
        if shared_above:
            with pytest.raises(LogUnavailableError, match="belongs to another user"):
                LogWriter(given / "vault" / "jobs.db")
            assert "realm.toml is not read" in capfd.readouterr().err
        else:
            LogWriter(given / "vault" / "jobs.db").close()
    finally:
        shutil.rmtree(place)


@needs_root
def test_the_pipeline_of_another_user_is_not_joined(
    shared: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """`REALM_PIPELINE` may have come from a process of that user, or be theirs by now."""
    directory = write_manifest(shared / "spool", manifest_of(shared / "home", token="theirs"))
    text = msgspec.json.encode({"directory": str(directory)}).decode()
    monkeypatch.setenv(telemetry.PIPELINE_VARIABLE, text)
    assert api._inherited()["token"] == "theirs"
    give_away(shared / "spool", OTHER)
    assert api._inherited() == {}
    assert "REALM_PIPELINE is not followed" in capfd.readouterr().err


@needs_root
def test_without_any_safe_place_events_are_kept_in_memory(
    shared: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The program goes on, and the warning says what to do."""
    make_as(OTHER, shared / "planted", mode=0o777)
    monkeypatch.setattr(telemetry, "spool_roots", lambda *_: [shared / "planted" / "spool"])
    settings = load_settings({"home": shared / "home", "shipper": "none"})
    made = telemetry.Telemetry(settings, "ab" * 8)
    assert isinstance(made.writer, MemoryWriter)
    assert made.writer.append(b"kept") == 1
    warning = capfd.readouterr().err
    assert f"{shared / 'planted'} belongs to uid {OTHER}" in warning
    assert "Set REALM_SPOOL" in warning
