"""The OpenAPI document and the service say the same: requests made from the document are answered as it says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings

from .conftest import asking, free_ports, post_notes, serving

pytestmark = pytest.mark.long

STREAMS = ["/api/events/stream", "/api/stream"]
"""They do not end."""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The document of a running service."""
    home: Path = tmp_path_factory.mktemp("home")
    with serving(free_ports(home)) as server, asking(server) as client:
        post_notes(client, 1, 20)
        yield schemathesis.openapi.from_url(f"{server.url}/openapi.json")


document = schemathesis.pytest.from_fixture("api").exclude(path=STREAMS)


@document.parametrize()
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_service_answers_as_its_document_says(case: schemathesis.Case) -> None:
    """Statuses, media types, schemas; no failure of the service, whatever comes."""
    case.call_and_validate(timeout=20)
