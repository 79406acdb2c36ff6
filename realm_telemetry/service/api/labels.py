"""GET /api/labels: how the pages call heroes and campaigns."""

import time
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from realm_telemetry.service.api.answers import json_answer
from realm_telemetry.service.core import service_of

OF_A_GUILD: Final = {"hero": "Hero", "campaign": "Campaign"}
ELSEWHERE: Final = {"hero": "Model", "campaign": "Project"}


async def get_labels(request: Request) -> Response:
    """The labels of `[labels]`; without them the lab's words where the log has guild events."""
    service = service_of(request.scope)
    guild = service.folding.current.section("guild", time.time_ns())
    usual = OF_A_GUILD if any(guild["totals"].values()) else ELSEWHERE
    given = service.settings.labels
    return json_answer(
        {
            "hero": given.hero or usual["hero"],
            "campaign": given.campaign or usual["campaign"],
        }
    )
