"""Shared by the tests of the producer."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """asyncio only: the service runs on it."""
    return "asyncio"
