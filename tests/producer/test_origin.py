"""What `run_started` says of where a run comes from."""

import subprocess
import sys
from pathlib import Path

import pytest

from realm_telemetry.producer import origin

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory two levels below the top, with a script that is none of a repository."""
    below = tmp_path / "lab" / "src"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    monkeypatch.setattr(sys, "argv", ["-c"])
    return tmp_path / "lab"


def make(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_branch_is_followed_to_its_commit(at: Path) -> None:
    make(at / ".git" / "HEAD", "ref: refs/heads/feature/x\n")
    make(at / ".git" / "refs" / "heads" / "feature" / "x", COMMIT + "\n")
    assert origin.git_commit() == COMMIT


def test_a_packed_branch_and_a_detached_head_are_found(at: Path) -> None:
    make(at / ".git" / "HEAD", "ref: refs/heads/main\n")
    make(
        at / ".git" / "packed-refs",
        f"# pack-refs\n{'f' * 40} refs/heads/a\n{COMMIT} refs/heads/main\n",
    )
    assert origin.git_commit() == COMMIT
    make(at / ".git" / "HEAD", "e" * 40)
    assert origin.git_commit() == "e" * 40


def test_a_worktree_has_its_branch_in_the_shared_directory(at: Path) -> None:
    make(at / ".git", "gitdir: ../main/.git/worktrees/lab\n")
    make(at.parent / "main" / ".git" / "worktrees" / "lab" / "HEAD", "ref: refs/heads/b\n")
    make(at.parent / "main" / ".git" / "worktrees" / "lab" / "commondir", "../..\n")
    make(at.parent / "main" / ".git" / "refs" / "heads" / "b", COMMIT)
    assert origin.git_commit() == COMMIT


@pytest.mark.parametrize("head", ["", "ref: refs/heads/none", "not a commit", "\xff"])
def test_what_is_no_commit_is_left_out(at: Path, head: str) -> None:
    make(at / ".git" / "HEAD", head)
    assert origin.git_commit() is None


def test_without_a_repository_there_is_no_commit(at: Path) -> None:
    assert origin.git_commit() is None
    make(at / ".git", "gitdir: /nowhere")
    assert origin.git_commit() is None


def test_the_scripts_repository_goes_before_that_of_the_working_directory(
    at: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(at / ".git" / "HEAD", COMMIT)
    make(at.parent / "code" / ".git" / "HEAD", "a" * 40)
    make(at.parent / "code" / "train.py", "")
    monkeypatch.setattr(sys, "argv", [str(at.parent / "code" / "train.py")])
    assert origin.git_commit() == "a" * 40
    monkeypatch.setattr(sys, "argv", [str(Path(sys.prefix) / "bin" / "python")])
    assert origin.git_commit() == COMMIT, "what is installed says nothing"


@pytest.mark.processes
def test_it_agrees_with_git_itself(at: Path) -> None:
    def git(*arguments: str) -> str:
        named = ["-c", "user.name=n", "-c", "user.email=e@x", *arguments]
        return subprocess.run(
            ["git", *named], cwd=at, check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init")
    git("commit", "--allow-empty", "-m", "m")
    assert origin.git_commit() == git("rev-parse", "HEAD")
    git("pack-refs", "--all")
    assert origin.git_commit() == git("rev-parse", "HEAD")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, {"launcher": "none"}),
        (
            {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "8", "TORCHELASTIC_RESTART_COUNT": "0"},
            {"launcher": "torchrun", "world_size": 8, "attempt": 1},
        ),
        (
            {"ACCELERATE_MIXED_PRECISION": "no", "TORCHELASTIC_RUN_ID": "none"},
            {"launcher": "accelerate"},
        ),
        (
            {"SLURM_JOB_ID": "77", "SLURM_NTASKS": "16", "SLURM_RESTART_COUNT": "2"},
            {"launcher": "slurm", "world_size": 16, "scheduler_job_id": "77", "attempt": 3},
        ),
        ({"WORLD_SIZE": "many", "SLURM_NTASKS": "²"}, {"launcher": "none"}),
    ],
)
def test_the_environment_says_how_it_was_launched(environ, expected) -> None:
    found = origin.facts(environ)
    names = ("launcher", "world_size", "scheduler_job_id", "attempt")
    assert {name: found[name] for name in names if name in found} == expected
    assert found["python"] == sys.version.split()[0]
    assert found["cwd"] == str(Path.cwd())


def test_a_command_is_as_a_shell_takes_it_and_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["python", "train.py", "--name", "a b"])
    assert origin.command() == "python train.py --name 'a b'"
    for chars, kept in ((1000, 1000), (1001, 1000)):
        monkeypatch.setattr(sys, "orig_argv", ["x" * chars])
        assert len(origin.command()) == kept
    assert origin.shortened("python -c 'a\n  b'") == "python -c 'a b'"
    assert len(origin.shortened("x" * 121)) == len(origin.shortened("x" * 120)) == 120


def test_a_working_directory_that_is_gone_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert "cwd" not in origin.facts({})
