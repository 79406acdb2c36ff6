"""Where the tools ask: the service as it is found at each call, and the addresses of its pages."""

import re
from typing import Any, Final

from realm_telemetry.cli.agents.questions import EventFilters, Names
from realm_telemetry.cli.command import settings
from realm_telemetry.client import AsyncRealmClient
from realm_telemetry.config import DEFAULT_SERVICE_URL, load_settings, token_for
from realm_telemetry.home import running_service
from realm_telemetry.home.token import addresses_of
from realm_telemetry.kinds.table import ROUTINE_KINDS
from realm_telemetry.values.paths import write_name

TIMEOUT_S: Final = 15.0

WITHOUT_ROUTINE: Final = [f"!{kind}" for kind in sorted(ROUTINE_KINDS)]

_PRODUCER_ID: Final = re.compile("[0-9a-f]{16}")


class Desk:
    """Holds one client, and makes another one when the service is found elsewhere.

    url: that service, not the one of settings and home.
    """

    def __init__(self, url: str | None = None) -> None:
        self._url = url
        self._place: tuple[str, str | None] | None = None
        self._client: AsyncRealmClient | None = None

    def client(self) -> AsyncRealmClient:
        """Return a client of the service as settings and home name it now. Raises ConfigError."""
        place = self._find()
        if self._client is None or place != self._place:
            # The one before may still be in use by another call; its connections end with it.
            self._client = AsyncRealmClient(*place, timeout_s=TIMEOUT_S)
            self._place = place
        return self._client

    def may_write(self) -> bool:
        """Whether there is a token, behind which writing stands. Raises ConfigError."""
        # That of the home counts before its service is up, too.
        own = load_settings().token if self._url is None else None
        return (own or self._find()[1]) is not None

    def remark(self) -> str | None:
        """Return that the service may be another home's, where nothing says that it is this one."""
        home = settings().home
        if self._find()[0] != DEFAULT_SERVICE_URL or running_service(home) is not None:
            return None
        return f"No service says that it runs on the home {home}; this one may be another home's."

    def pages(self) -> str:
        """Return the address below which the pages are."""
        url = addresses_of(self._find()[0])[0].rstrip("/")
        running = running_service(settings().home)
        return running.pages.rstrip("/") if running and running.url.rstrip("/") == url else url

    def _find(self) -> tuple[str, str | None]:
        chosen = settings()
        if self._url is None:
            return chosen.service_url, chosen.token
        return self._url, token_for(chosen.home, chosen.token, self._url)


async def now(client: AsyncRealmClient) -> str | None:
    """Return where the log ends at this moment, as `wait_for` takes it."""
    health = await client.health()
    log_id, cursor = health.get("log_id"), health.get("cursor")
    return None if log_id is None or cursor is None else f"{log_id}-{cursor}"


async def of_run(client: AsyncRealmClient, run_id: str | None) -> dict[str, str]:
    """Return the filter for the events of a run; one without an id is named by its producer."""
    if run_id is None:
        return {}
    name = write_name(run_id)
    if _PRODUCER_ID.fullmatch(run_id) and not (await client.query_page(run=name, limit=1)).rows:
        return {"producer": run_id}
    return {"run": name}


async def filters_of(client: AsyncRealmClient, question: EventFilters) -> dict[str, Any]:
    """Return the filters of a question; routine kinds are left out unless kinds are named."""
    given = {
        "kind": names(question.kind) or WITHOUT_ROUTINE,
        "severity": names(question.severity),
        "channel": names(question.channel),
        "rank": question.rank,
        "q": question.q,
        "has": question.has,
        **await of_run(client, question.run_id),
    }
    return {name: value for name, value in given.items() if value not in (None, [])}


def names(given: Names | None) -> list[str]:
    """Return names that came as a list or as text with commas."""
    listed = given.split(",") if isinstance(given, str) else given or []
    return [name.strip() for name in listed if name.strip()]
