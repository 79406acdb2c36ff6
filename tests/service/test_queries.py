"""What a query may cost, however many parameters it has."""

import time

import httpx
import pytest
from starlette.datastructures import QueryParams

from realm_telemetry.service.access import MAX_PARAMETERS
from realm_telemetry.service.api.parameters import filters_of
from realm_telemetry.service.errors import ApiError


@pytest.mark.parametrize("path", ["/api/battle_log", "/api/events", "/api/runs", "/health", "/"])
@pytest.mark.parametrize("count", [MAX_PARAMETERS - 1, MAX_PARAMETERS, MAX_PARAMETERS + 1])
def test_a_query_of_very_many_parameters_is_refused_unread(
    client: httpx.Client, path: str, count: int
) -> None:
    response = client.get(path + "?" + "&".join(f"a{at}={at}" for at in range(count)))
    assert ("over 256 parameters" in response.text) is (count > MAX_PARAMETERS)


def test_many_parameters_are_read_once_each() -> None:
    """The loop reads them: 6,000 took 0.6 s of it, in a request of 64 KB."""

    def took_s(count: int) -> float:
        query = QueryParams([(f"a{at}", "1") for at in range(count)])
        began_s = time.process_time()
        with pytest.raises(ApiError):
            filters_of(query)
        return time.process_time() - began_s

    assert took_s(8_000) < max(30 * took_s(500), 0.1)
