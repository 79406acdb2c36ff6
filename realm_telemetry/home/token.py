"""The token of a service: kept in a file of the home, and for which addresses it is."""

import os
import stat
from pathlib import Path
from typing import Final

from realm_telemetry.errors import ConfigError
from realm_telemetry.home import TOKEN, RunningService, make_private_directory, running_service
from realm_telemetry.home.shared import SharedService, read_service, served_log, shared_home_of

DEFAULT_SERVICE_URL: Final = "http://127.0.0.1:8866"


def token_for(home: Path, token: str | None, url: str, *, is_checked: bool = False) -> str | None:
    """Return the token for a service at another address: the home's own only for this host.

    For the service of a shared home it is the one that `service.json` has, if none is given; none
    at all where the service at that address, asked within a second, serves another log. For the
    service that runs on this very home it is the one that the home keeps, if none is given. At the
    default address it is the home's only while a service says that it runs there on this home.
    is_checked: whoever calls has asked it, or will before a token is sent.
    url: of several addresses, with commas between, it is the token that all of them are given.
    """
    found = {_token_for(home, token, each, is_checked) for each in addresses_of(url)}
    return found.pop() if len(found) == 1 else None


def addresses_of(url: str) -> list[str]:
    """Return the addresses that a setting names, with commas between."""
    return [each.strip() for each in url.split(",") if each.strip()]


def _token_for(home: Path, token: str | None, url: str, is_checked: bool) -> str | None:
    own = _own_token(shared_home_of(home) or home)
    if not is_checked and is_stranger(home, url):
        return None
    service = _named(home, url)
    if service is not None and service.token and token in (None, own):
        return service.token
    runs_here = _running_at(home, url) is not None
    if token is None and own is not None and runs_here:
        return own
    if token is None or token != own:
        return token
    # The program of any user can have the default port while the service of this home is down.
    is_vouched = runs_here or service is not None or url.rstrip("/") != DEFAULT_SERVICE_URL
    return token if is_of_this_host(url) and is_vouched else None


def named_log(home: Path, url: str) -> str | None:
    """Return the log that a service must serve at an address to be that of the home.

    None where nothing names one, or where the lock of a service on this network vouches for it.
    Raises ConfigError if the `service.json` of a shared home is broken.
    """
    running = _running_at(home, url)
    if running is not None:
        return None if running.is_on_this_network else running.log_id
    shared = shared_home_of(home)
    service = read_service(shared) if shared is not None else None
    return service.log_id if service is not None and url in service.urls else None


def is_stranger(home: Path, url: str) -> bool:
    """Whether `service.json` names the service of a home there, and it does not answer there.

    It is down, or another one has its port, or the address is of another network.
    """
    wanted = _wanted_log(home, url)
    return wanted is not None and served_log(url) != wanted


def answers_another(home: Path, url: str) -> bool:
    """Whether another service answers where `service.json` names that of a home."""
    wanted = _wanted_log(home, url)
    return wanted is not None and served_log(url) not in (None, "", wanted)


def _wanted_log(home: Path, url: str) -> str | None:
    try:
        return named_log(home, url)
    except ConfigError:
        return None


def _running_at(home: Path, url: str) -> RunningService | None:
    """The service that says it runs on a home at an address; a lock holds while it does."""
    running = running_service(home)
    return running if running and running.url.rstrip("/") == url.rstrip("/") else None


def _named(home: Path, url: str) -> SharedService | None:
    """The service that a shared home names at an address."""
    shared = shared_home_of(home)
    if shared is None:
        return None
    try:
        service = read_service(shared)
    except ConfigError:
        return None
    return service if service is not None and url in service.urls else None


def _own_token(home: Path) -> str | None:
    try:
        return _read_token(home / TOKEN)
    except (FileNotFoundError, ConfigError):
        return None


def is_of_this_host(url: str) -> bool:
    """Whether an address, or each of several, means this machine."""
    return all(map(_is_of_this_host, addresses_of(url)))


def _is_of_this_host(url: str) -> bool:
    from ipaddress import ip_address
    from urllib.parse import urlsplit

    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # a name
        return False


def home_token(home: Path) -> str | None:
    """Return the token that a home keeps in a file, which the first call makes.

    None where there is none and the home cannot be written. Raises ConfigError if it cannot be
    read, or if other users can read it.
    """
    path = home / TOKEN
    try:
        return _read_token(path)
    except FileNotFoundError:
        pass
    try:
        _make_token(path)
    except FileExistsError:  # another process was faster
        pass
    except OSError:
        return None
    return _read_token(path)


def _read_token(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
        raise ConfigError(str(path), problem, "Remove it; the next start makes another.") from None
    try:
        facts = os.fstat(descriptor)
        mine = facts.st_uid == os.geteuid() or os.geteuid() == 0
        if not (stat.S_ISREG(facts.st_mode) and mine) or facts.st_mode & 0o077:
            raise ConfigError(
                str(path),
                "can be read or replaced by other users",
                f"Make another, for others may know this one: rm {path}",
            )
        return os.read(descriptor, 4096).decode("utf-8", "replace").strip()
    finally:
        os.close(descriptor)


def _make_token(path: Path) -> None:
    """Put a whole token there at once, or leave the one that is there. Raises OSError."""
    import secrets  # only where a token is made

    make_private_directory(path.parent)
    draft = path.with_name(f".token-{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "w", encoding="ascii") as file:  # noqa: PTH123
            file.write(secrets.token_hex(32) + "\n")
        os.link(draft, path)
    finally:
        draft.unlink()
