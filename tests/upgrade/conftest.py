"""Old and new trees, and processes that run from them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .processes import Producer, Service
from .receivers import Receiver
from .trees import ROOT, Tree, check_out_old, lay_out


@pytest.fixture(scope="session")
def old_tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """The code before the move. Not to be changed; `Tree.copy` it."""
    directory = tmp_path_factory.mktemp("old")
    return lay_out(check_out_old(directory / "source"), directory / "site")


@pytest.fixture(scope="session")
def new_tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """The code of this checkout. Not to be changed."""
    return lay_out(ROOT, tmp_path_factory.mktemp("new") / "site")


@pytest.fixture
def installed(old_tree: Tree, tmp_path: Path) -> Tree:
    """A tree that is old until it is replaced."""
    return old_tree.copy(tmp_path / "site")


@pytest.fixture
def upgraded(new_tree: Tree, tmp_path: Path) -> Tree:
    """The new files, ready to be moved in place of old ones."""
    return new_tree.copy(tmp_path / "upgraded")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home without the older name of anything in it."""
    path = tmp_path / "home"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def produce(home: Path) -> Iterator[Callable[..., Producer]]:
    """Start producers of a tree in the home; what still runs at the end is killed."""
    started: list[Producer] = []

    def start(tree: Tree, **settings: Any) -> Producer:
        started.append(Producer(tree, home, **settings))
        return started[-1]

    yield start
    for each in started:
        each.end()


@pytest.fixture
def serve() -> Iterator[Callable[[Tree, Path], Service]]:
    """Start services of a tree; what still runs at the end is killed."""
    started: list[Service] = []

    def start(tree: Tree, home: Path) -> Service:
        started.append(Service(tree, home))
        return started[-1]

    yield start
    for each in started:
        each.end()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that takes everything."""
    running = Receiver()
    yield running
    running.close()
