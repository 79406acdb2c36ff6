"""Tests of what PostgreSQL alone has: its errors, restarts, standbys, texts."""

from collections.abc import Callable
from uuid import uuid4

import pytest

from tests.postgres_server import Server

from ..conftest import Clock, make_event, postgres  # noqa: TID252 - these tests are a part of those

__all__ = ["Clock", "make_event", "postgres", "url"]


@pytest.fixture
def url(postgres: Server) -> Callable[..., str]:
    """URLs of a log of the test's own."""
    schema = f"t{uuid4().hex[:16]}"
    return lambda **params: postgres.url(schema=schema, **params)
