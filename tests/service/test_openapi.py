"""The OpenAPI document and the service say the same, for requests made from the document."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    positive_data_acceptance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.generation import GenerationMode

from realm_telemetry.service.app import documented_endpoints

from .conftest import asking, free_ports, post_notes, serving

pytestmark = pytest.mark.long

STREAMS = ("/api/events/stream", "/api/stream")
"""They do not end."""

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    positive_data_acceptance,
]
"""All but that everything else is refused: the service takes more than its document promises."""

OPERATIONS = [(one.method, one.path) for one in documented_endpoints() if one.path not in STREAMS]


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The document of a running service."""
    home: Path = tmp_path_factory.mktemp("home")
    with serving(free_ports(home)) as server, asking(server) as client:
        post_notes(client, 1, 20)
        yield schemathesis.openapi.from_url(f"{server.url}/openapi.json")


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=str)
def test_the_service_answers_as_its_document_says(document: Any, method: str, path: str) -> None:
    """Statuses, media types, schemas, and what is valid; no defect, whatever comes."""
    operation = document[path][method]
    cases = st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in GenerationMode))

    @given(cases)
    @settings(
        max_examples=40,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: schemathesis.Case[Any]) -> None:
        # Opaque: only the service makes valid ones.
        (case.query or {}).pop("cursor", None)
        if path == "/api/runs/{id}/output" and "offset" in (case.query or {}):
            # One of the two, which the document can say in words only.
            case.query.pop("tail", None)
        if isinstance(case.body, dict):
            # One that was made before names another event, which is refused.
            case.body.pop("id", None)
        response = case.call(timeout=20, allow_redirects=False)
        case.validate_response(response, checks=CHECKS)

    ask()
