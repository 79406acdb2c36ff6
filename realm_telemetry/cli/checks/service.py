"""Checks of the RealmService: start, answers, exporters, and one event all the way."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from difflib import get_close_matches
from typing import Any, Final

import realm_telemetry as telemetry
from realm_telemetry.cli.checks.check import Subject
from realm_telemetry.client import RealmClient, ServiceError, ServiceUnreachableError
from realm_telemetry.config import Settings, token_for
from realm_telemetry.errors import ConfigError, LogError
from realm_telemetry.event import Event
from realm_telemetry.home import said_service
from realm_telemetry.home.token import addresses_of
from realm_telemetry.log.engine import open_log
from realm_telemetry.plugins import ExporterContext, exporter_class, installed_exporters
from realm_telemetry.shipper.findings import CheckResult

DEFAULT: Final = ("webhook",)


def check_service_exporters(subject: Subject) -> Iterator[CheckResult]:
    """The settings of each exporter, checked by the exporter where it can."""
    settings = subject.settings
    named = settings.service.get("exporters", DEFAULT)
    names = named if isinstance(named, Sequence) and not isinstance(named, str) else ()
    used = [*names, *(name for name in settings.exporters if name not in names)]
    for name in used:
        if isinstance(name, str):
            yield from _check_exporter(
                subject, name, wanted=name not in DEFAULT or named is not DEFAULT
            )


def _check_exporter(subject: Subject, name: str, *, wanted: bool) -> Iterator[CheckResult]:
    try:
        exporter_class(name)
    except ConfigError as error:
        if wanted and name not in subject.settings.exporters:  # the others are looked at elsewhere
            yield CheckResult(name, "problem", f"{error.setting}: {error.problem}", error.fix)
        return
    yield from check_exporter_settings(name, subject.settings, subject.log_id)


def check_exporter_settings(
    name: str, settings: Settings, log_id: str | None = None
) -> Iterator[CheckResult]:
    """Let an exporter check its settings; yields nothing if it cannot."""
    context = ExporterContext(
        home=settings.home,
        log_path=settings.log_path,
        log_id=log_id,
        service_url=settings.service_url,
        token=settings.token,
        options=settings.options.get(name, {}),
    )
    found = exporter_class(name)
    check: Any = getattr(found, "check", None) or getattr(found, "examine", None)  # until 0.1
    try:
        for level, message, fix in check(context) if check else ():
            yield CheckResult(name, level, message, fix)
    except ConfigError as error:
        yield CheckResult(name, "problem", f"{error.setting}: {error.problem}", error.fix)


def check_options(subject: Subject) -> Iterator[CheckResult]:
    """Tables `[options.NAME]` of realm.toml that no exporter reads: a name misspelt."""
    known = list(installed_exporters())
    for name in subject.settings.options:
        if name not in known:
            near = get_close_matches(name, known, 1, 0.5)
            fix = f"Did you mean options.{near[0]}? " if near else ""
            message = f"options.{name}: no exporter of this name is installed; nothing reads it"
            yield CheckResult("options", "warning", message, f"{fix}realm exporters lists them.")


def check_service_settings(subject: Subject) -> Iterator[CheckResult]:
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
        yield CheckResult("service settings", "problem", message, error.fix)


def check_pages(_subject: Subject) -> Iterator[CheckResult]:
    """Whether a service of this installation has War Room and Battle Log."""
    try:
        from realm_telemetry.service.pages import STATIC, pages_built
    except ModuleNotFoundError:  # a plain install, which has no service
        return
    if pages_built():
        yield CheckResult("pages", "ok", f"built, in {STATIC}")
    else:
        message = "War Room and Battle Log are not built; the service has its API alone"
        yield CheckResult("pages", "warning", message, "Build them in the checkout: make pages")


def check_service(subject: Subject) -> Iterator[CheckResult]:
    """The service that the settings name."""
    settings = subject.settings
    try:
        said_service(settings.home)
    except ConfigError as error:
        yield CheckResult("service", "problem", f"{error.setting} {error.problem}", error.fix)
        return
    client = RealmClient(settings.service_url, settings.token, timeout_s=subject.timeout_s)
    try:
        health = client.health()
        client.query_page(limit=1)  # health is open to all; this wants the token
    except ServiceUnreachableError:
        client.close()
        yield CheckResult("service", "warning", f"none at {settings.service_url}", _start(subject))
        return
    except ServiceError as error:
        client.close()
        yield CheckResult("service", "problem", error.message, error.hint)
        return
    subject.client = client
    if health.get("status") != "ok":
        problem = str(health.get("problem", "it does not say why"))
        yield CheckResult("service", "problem", f"{client.url} is degraded: {problem}", "")
        return
    subject.service_has_log = health.get("log_id") == subject.log_id
    if subject.service_has_log:
        yield CheckResult("service", "ok", f"{client.url} serves this log")
    elif "realm_service" in settings.exporters:
        yield CheckResult(
            "service", "ok", f"{client.url} has a log of its own; events are sent to it"
        )
    else:
        message = f"{client.url} has another log, and no exporter sends events to it"
        fix = "Add realm_service to exporters, or start it with this REALM_HOME."
        yield CheckResult("service", "warning", message, fix)


def check_service_addresses(subject: Subject) -> Iterator[CheckResult]:
    """Each address of `service_url`, where it names several: they have to serve one log."""
    settings = subject.settings
    places = addresses_of(settings.service_url)
    if len(places) < 2:
        return
    log_ids: dict[str, Any] = {}
    for url in places:
        token = token_for(settings.home, settings.token, url)
        with closing(RealmClient(url, token, timeout_s=subject.timeout_s)) as client:
            try:
                log_ids[url] = client.health().get("log_id")
            except ServiceError as error:
                fix = "Events go to the others. Start it, or take it out of REALM_SERVICE_URL."
                yield CheckResult("service address", "warning", error.message, fix)
    if len(set(log_ids.values())) > 1:
        found = ", ".join(f"{url} the log {log_id}" for url, log_id in log_ids.items())
        yield CheckResult(
            "service address",
            "problem",
            f"service_url names services of different logs: {found}",
            "Name services with one log in REALM_SERVICE_URL (service_url in realm.toml).",
        )
    elif len(log_ids) == len(places):
        message = f"all {len(places)} addresses serve one log"
        yield CheckResult("service address", "ok", message)


def _start(subject: Subject) -> str:
    if "realm_service" in subject.settings.exporters:
        return "Start it with: realm up. Until then events are in the log and wait for it."
    return "Start it with: realm up"


POLL_S: Final = 0.005
MESSAGE: Final = "realm doctor was here"


def check_round_trip(subject: Subject) -> Iterator[CheckResult]:
    """Emit a note on the debug channel and wait until the log, then the service, has it."""
    started_s = time.monotonic()
    try:
        begun = telemetry.configure(service_name="realm_doctor", home=subject.settings.home)
        if begun is None:
            message = "OTEL_SDK_DISABLED is set: nothing is emitted on this machine"
            yield CheckResult("round trip", "warning", message, "Unset it to emit events.")
            return
        event = telemetry.emit("note", MESSAGE, channel="debug", source="realm.doctor")
        stored = _wait(lambda: _in_log(subject, event), subject.timeout_s)
        why = None if stored else _why()
    finally:
        telemetry.shutdown()
    if why is not None:
        message = f"the event was not in the log after {subject.timeout_s:g} s: {why}"
        yield CheckResult("round trip", "problem", message, "See the lines above.")
        return
    message = f"in the log after {_since_ms(started_s):,.0f} ms"
    if not subject.service_has_log:
        yield CheckResult("round trip", "ok", message)
    elif _wait(lambda: _in_service(subject, event), subject.timeout_s):
        message = f"{message}, seen at the service after {_since_ms(started_s):,.0f} ms"
        yield CheckResult("round trip", "ok", message)
    else:
        message = f"{message}, but not seen at the service within {subject.timeout_s:g} s"
        yield CheckResult("round trip", "problem", message, "Restart it; its output says more.")


def _why() -> str:
    telemetry.flush(0.0)
    return telemetry.flush_problem() or "nothing says why"


def _in_log(subject: Subject, event: Event) -> bool:
    if not subject.settings.log_path.exists():
        return False
    try:
        with open_log(subject.settings.log_path).reader() as reader:
            return reader.now.get(event.id) is not None
    except LogError:  # it is being made, or the lines above name what is wrong
        return False


def _in_service(subject: Subject, event: Event) -> bool:
    try:
        live = subject.client.events(producer=event.producer)
    except ServiceError:
        return False
    return any(row.event.id == event.id for row in live)


def _wait(condition: Callable[[], bool], timeout_s: float) -> bool:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(POLL_S)
    return True


def _since_ms(started_s: float) -> float:
    return (time.monotonic() - started_s) * 1000
