"""The home: is it there, is it ours, is it on a disk of this host."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from realm_telemetry.cli.checks.check import Subject
from realm_telemetry.errors import ConfigError
from realm_telemetry.home.shared import read_service, serves
from realm_telemetry.shipper.findings import CheckResult, nearest, of_disk
from realm_telemetry.spool.place import find_spool_root, spool_roots


def check_home(subject: Subject) -> Iterator[CheckResult]:
    """Existence, mode and write permission."""
    home = subject.settings.home
    try:
        found = home.stat()
    except FileNotFoundError:
        yield _not_there(home)
        return
    except OSError as error:
        fix = "Set REALM_HOME to a directory of yours."
        yield CheckResult("home", "problem", f"{home} cannot be looked at ({error.strerror})", fix)
        return
    if not stat.S_ISDIR(found.st_mode):
        fix = "Set REALM_HOME to a directory."
        yield CheckResult("home", "problem", f"{home} is not a directory", fix)
    elif not os.access(home, os.R_OK | os.W_OK | os.X_OK):
        fix = f"Give this user write permission (chmod u+rwx {home}), or set REALM_HOME."
        yield CheckResult("home", "problem", f"{home} cannot be written", fix)
    elif found.st_mode & 0o077:
        mode = stat.S_IMODE(found.st_mode)
        message = f"{home} is open to other users (mode {mode:04o})"
        yield CheckResult("home", "warning", message, f"chmod 700 {home}")
    else:
        yield CheckResult("home", "ok", f"{home}, writable, private")


def check_file_system(subject: Subject) -> Iterator[CheckResult]:
    """SQLite and spools need a local disk, and room on it."""
    yield of_disk(subject.settings.home)


def check_shared_home(subject: Subject) -> Iterator[CheckResult]:
    """What a home on a network file system says to the hosts that share it."""
    settings = subject.settings
    shared = settings.shared_home
    if shared is None:
        return
    yield CheckResult(
        "shared home", "ok", f"{shared} is shared by hosts; {settings.home} is of this one"
    )
    try:
        service = read_service(shared)
        if service is not None:
            service.url()
    except ConfigError as error:
        yield CheckResult("shared home", "problem", f"{error.setting} {error.problem}", error.fix)
        return
    if service is None:
        message = f"no service runs for {shared}: events stay on this host"
        fix = "Start one where all hosts reach it: REALM_ACCESS=token realm up -- --host 0.0.0.0"
        yield CheckResult("shared home", "warning", message, fix)
        return
    url = next((each for each in service.urls if serves(each, service.log_id)), None)
    if url is not None:
        yield CheckResult("shared home", "ok", f"its service runs on {service.host}, at {url}")
        return
    yield CheckResult(
        "shared home",
        "problem",
        f"the service of {shared} does not answer at {', '.join(service.urls)}, or serves another"
        " log than service.json names",
        f"Start it again on {service.host}, or set service_url (REALM_SERVICE_URL).",
    )


def check_spool_place(subject: Subject) -> Iterator[CheckResult]:
    """The first place where a producer can have its spool."""
    settings = subject.settings
    root, problems = find_spool_root(spool_roots(settings.home, settings.spool))
    if root is None:
        fix = "Set REALM_SPOOL to a writable directory on a local disk."
        yield CheckResult("spool", "problem", "no place for spools: " + "; ".join(problems), fix)
    elif problems:
        fix = "Mend that, or set REALM_SPOOL."
        yield CheckResult("spool", "warning", f"{root}, because " + "; ".join(problems), fix)
    else:
        yield CheckResult("spool", "ok", f"{root}")


def _not_there(home: Path) -> CheckResult:
    parent = nearest(home)
    if os.access(parent, os.W_OK | os.X_OK):
        return CheckResult("home", "ok", f"{home} is not there yet; the first event makes it")
    fix = "Make it, or set REALM_HOME to a directory of yours."
    return CheckResult(
        "home", "problem", f"{home} is not there and {parent} cannot be written", fix
    )
