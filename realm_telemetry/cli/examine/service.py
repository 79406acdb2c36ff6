"""The RealmService: can it start, does it answer, and is it of this log."""

from collections.abc import Iterator

from realm_telemetry.cli.examine.finding import Finding, Subject
from realm_telemetry.client import RealmClient, ServiceError, ServiceUnreachableError
from realm_telemetry.errors import ConfigError


def check_service_settings(subject: Subject) -> Iterator[Finding]:
    """The table `[service]` of realm.toml, which shippers take the log's limits from too."""
    if not subject.settings.service:
        return
    try:
        from realm_telemetry.service import ServiceSettings
    except ModuleNotFoundError:  # a plain install, which has no service
        return
    try:
        ServiceSettings.of(subject.settings)
    except ConfigError as error:
        message = f"{error.setting}: {error.problem}"
        yield Finding("service settings", "problem", message, error.fix)


def check_pages(_subject: Subject) -> Iterator[Finding]:
    """Whether a service of this installation would have War Room and Battle Log."""
    try:
        from realm_telemetry.service.static import STATIC, pages_built
    except ModuleNotFoundError:  # a plain install, which has no service
        return
    if pages_built():
        yield Finding("pages", "ok", f"built, in {STATIC}")
    else:
        message = "War Room and Battle Log are not built; the service has its API alone"
        yield Finding("pages", "warning", message, "Build them in the checkout: make pages")


def check_service(subject: Subject) -> Iterator[Finding]:
    """The service that the settings name."""
    settings = subject.settings
    client = RealmClient(settings.service_url, settings.token, timeout_s=subject.timeout_s)
    try:
        health = client.health()
        client.query_page(limit=1)  # health is open to all; this wants the token
    except ServiceUnreachableError:
        client.close()
        yield Finding("service", "warning", f"none at {settings.service_url}", _start(subject))
        return
    except ServiceError as error:
        client.close()
        yield Finding("service", "problem", error.message, error.hint)
        return
    subject.client = client
    if health.get("status") != "ok":
        problem = str(health.get("problem", "it does not say why"))
        yield Finding("service", "problem", f"{client.url} is degraded: {problem}", "")
        return
    subject.service_has_log = health.get("log_id") == subject.log_id
    if subject.service_has_log:
        yield Finding("service", "ok", f"{client.url} serves this log")
    elif "realm_service" in settings.exporters:
        yield Finding("service", "ok", f"{client.url} has a log of its own; events are sent to it")
    else:
        message = f"{client.url} has another log, and no exporter sends events to it"
        fix = "Add realm_service to exporters, or start it with this REALM_HOME."
        yield Finding("service", "warning", message, fix)


def _start(subject: Subject) -> str:
    if "realm_service" in subject.settings.exporters:
        return "Start it with: realm serve. Until then events are in the log and wait for it."
    return "Start it with: realm serve"
