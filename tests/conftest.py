"""What holds for every test."""

import gc
import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from realm_telemetry import errors

# Timings live in benchmarks/: beside another test an example may take any time.
# `make test-long` tries those of "all".
settings.register_profile("realm", deadline=None, max_examples=20)
settings.register_profile("unit", deadline=None, max_examples=10)
settings.register_profile("all", deadline=None, max_examples=100)
settings.load_profile("realm")

LONG_S = 5.0
SLOWEST = 20

# What a test of a directory takes, about; others take less. Whatever takes long is to begin first.
EACH_S = {
    "packaging": 5.0,
    "upgrade": 5.0,
    "faults": 4.0,
    "demo": 3.0,
    "pages": 3.0,
    "cli": 1.5,
    "shipper": 1.0,
    "compat": 0.7,
    "producer": 0.6,
    "service": 0.6,
    "transfer": 0.6,
    "integrations": 0.4,
}
OTHERS_S = 0.2

STARTS = ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the option that `make test-unit` runs with."""
    text = "fail a test that starts a process without the mark processes"
    parser.addoption("--no-processes", action="store_true", help=text)


def pytest_configure(config: pytest.Config) -> None:
    """Let the inner loop try fewer examples than `make test`; collect tests without garbage."""
    if config.getoption("--no-processes"):
        settings.load_profile("unit")
    gc.disable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Hand out the files that take longest first, so that no worker ends long after the others.

    For `--dist loadfile --no-loadscope-reorder`; without the latter most tests come first.
    """
    if not hasattr(config, "workerinput"):
        return
    took_s = defaultdict[Path, float](float)
    for item in items:
        directory = item.path.relative_to(Path(__file__).parent).parts[0]
        took_s[item.path] += EACH_S.get(directory, OTHERS_S)
    items.sort(key=lambda item: (-took_s[item.path], item.path))


def pytest_runtest_setup() -> None:
    """Show each test the warnings that a new process shows, of which there are so many at most."""
    errors._warned.clear()


def pytest_collection_finish() -> None:
    """Look no more at what was collected: a third of what that takes, in each worker."""
    gc.freeze()
    gc.enable()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the slowest tests of the ordinary run; CONTRIBUTING.md says what to do with them."""
    reports = terminalreporter.getreports("passed")
    slow = [each for each in reports if each.duration > LONG_S and "long" not in each.keywords]
    slow.sort(key=lambda report: -report.duration)
    if slow:
        terminalreporter.section(f"took over {LONG_S:.0f} s and is not marked `long`")
    for report in slow[:SLOWEST]:
        terminalreporter.line(f"{report.duration:5.1f} s {report.when:8} {report.nodeid}")


@pytest.fixture(scope="session", autouse=True)
def _processes(request: pytest.FixtureRequest) -> None:
    """Hold `make test-unit` to what it promises."""
    if request.config.getoption("--no-processes"):
        sys.addaudithook(_refuse)


def _refuse(event: str, _arguments: object) -> None:
    if event in STARTS:
        pytest.fail("starts a process: mark it with @pytest.mark.processes", pytrace=True)


@pytest.fixture(scope="session", autouse=True)
def _certificates() -> Iterator[None]:
    """Read the system's certificates once: each client of httpx does it anew, in 30 ms."""
    httpx = sys.modules.get("httpx")
    if httpx is None:
        yield
        return
    create = httpx.create_ssl_context

    @lru_cache
    def shared(_files: tuple[str | None, str | None], options: tuple[tuple[str, Any], ...]) -> Any:
        return create(**dict(options))

    def once(**options: Any) -> Any:
        files = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
        return shared(files, tuple(options.items()))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("httpx._transports.default.create_ssl_context", once)
        yield
