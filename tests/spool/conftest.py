"""A spool root of each test's own."""

from pathlib import Path

import pytest


@pytest.fixture
def tmp_path(tmp_path: Path) -> Path:
    """A pipeline's directory two levels down.

    The cap counts every spool below the root, two levels up from a spool; without this that
    would be the directory that all tests share, with whatever others left there.
    """
    pipeline = tmp_path / "spool" / "pipeline"
    pipeline.mkdir(parents=True)
    return pipeline
