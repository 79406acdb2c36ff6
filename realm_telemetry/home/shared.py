"""A home on a network file system, as clusters have: shared by hosts, and no place for a log.

Each host keeps a home of its own on a local disk instead, with a link to the shared one. In the
shared one are settings, the token, and `service.json`, which says where the service is. SQLite,
locks and spools are in local ones alone.
"""

import errno
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from realm_telemetry.errors import ConfigError
from realm_telemetry.home import (
    SERVICE,
    UnsafeDirectoryError,
    check_own_file,
    is_address,
    is_local_filesystem,
    open_own_directory,
)

if TYPE_CHECKING:
    from urllib.parse import SplitResult

MOUNT_TABLE: str | None = None
"""In place of the kernel's table of mounts, in its form: for tests."""

LINK: Final = "shared"
"""Leads from the home of a host to the shared one."""

CONNECT_S: Final = 1.0
_MAX_BYTES: Final = 16 * 1024
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


def is_shared(home: Path) -> bool:
    """Whether a home is on a network file system.

    A directory on a block device is of this host: that costs one look and no table.
    """
    if MOUNT_TABLE is None and os.major(_device_of(home)):
        return False
    return not is_local_filesystem(home, mount_table=MOUNT_TABLE)[0]


def _device_of(path: Path) -> int:
    """The device of a path, or of the nearest directory above it that is there."""
    text = os.path.abspath(path)  # noqa: PTH100 - pathlib is ten times slower
    while True:
        try:
            return os.stat(text).st_dev  # noqa: PTH116
        except (OSError, ValueError):
            above = os.path.dirname(text)  # noqa: PTH120
            if above == text:
                return 0
            text = above


def shared_home_of(home: str | os.PathLike[str]) -> Path | None:
    """Return the shared home that a home of this host stands for; None if it stands for none."""
    try:
        return Path(os.readlink(os.path.join(home, LINK)))  # noqa: PTH115, PTH118
    except (OSError, ValueError):
        return None


def local_home(home: Path, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return this host's own home for a shared one, made if need be.

    None where there is no place for one on a local disk that no other user can change.
    """
    from hashlib import blake2b  # only where a home is shared

    real = os.path.realpath(home)
    digest = blake2b(os.fsencode(real), digest_size=5).hexdigest()
    for root in local_roots(environ):
        place = root / "homes" / digest
        try:
            os.close(open_own_directory(place, make=True))
            local = is_local_filesystem(place, mount_table=MOUNT_TABLE)[0]
            if local and os.access(place, os.W_OK | os.X_OK):
                with suppress(FileExistsError):
                    (place / LINK).symlink_to(real)
                return place
        except (OSError, UnsafeDirectoryError):
            continue
    return None


def local_roots(environ: Mapping[str, str]) -> list[Path]:
    """Where a home of this host may be, best first: what outlives a reboot goes first."""
    roots = [Path("/var/tmp") / f"realm-{os.geteuid()}", Path("/tmp") / f"realm-{os.geteuid()}"]
    runtime = environ.get("XDG_RUNTIME_DIR")
    return [*roots, Path(runtime) / "realm"] if runtime else roots


class SharedService(msgspec.Struct):
    """The service of a shared home, as its `service.json` says.

    urls: addresses, as other hosts may reach it; the first that takes a connection counts.
    pages: where a person sees the pages. host: its name. log_id: of the log that it serves.
    token: the one that it asks for; None if it asks for none.
    """

    urls: list[str]
    pages: str
    host: str
    log_id: str
    token: str | None = None

    @property
    def is_for_its_host_alone(self) -> bool:
        """Whether it listens on loopback, which other hosts cannot reach."""
        return all(_parts(url).hostname in _LOOPBACK for url in self.urls)

    def url(self) -> str:
        """Return the address that this host reaches; the first if none.

        Raises ConfigError where it can reach none by what is known.
        """
        if self.is_for_its_host_alone and self.host != os.uname().nodename:
            raise ConfigError(
                SERVICE,
                f"says that the service runs on {self.host} and listens on loopback alone",
                "Start it there for other hosts: REALM_ACCESS=token realm up -- --host 0.0.0.0;"
                " or set service_url (REALM_SERVICE_URL).",
            )
        if len(self.urls) > 1:
            for url in self.urls:
                if _connects(url):
                    return url
        return self.urls[0]


def _parts(url: str) -> "SplitResult":
    from urllib.parse import urlsplit  # for the one who has an address to look at

    return urlsplit(url)


def _connects(url: str) -> bool:
    import socket

    parts = _parts(url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 80), CONNECT_S).close()
    except (OSError, ValueError):
        return False
    return True


def serves(url: str, log_id: str) -> bool:
    """Whether a service answers at an address, within a second, and serves a log."""
    return served_log(url) == log_id


def served_log(url: str) -> str | None:
    """Ask, without a token and for a second, which log is served at an address.

    Empty where something answers that is no service; None if nothing does.
    """
    from http.client import HTTPConnection, HTTPException

    parts = _parts(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=CONNECT_S)
    try:
        connection.request("GET", "/health")
        health = msgspec.json.decode(connection.getresponse().read(_MAX_BYTES))
        return str(health.get("log_id", "")) if isinstance(health, dict) else ""
    except OSError:
        return None
    except (ValueError, HTTPException, RecursionError):
        return ""
    finally:
        connection.close()


def read_service(shared: Path) -> SharedService | None:
    """Read where the service of a shared home is; None if none says so.

    Raises ConfigError if the file is broken, or not of this user alone.
    """
    path = shared / SERVICE
    fix = "Remove it and start the service again, or set service_url (REALM_SERVICE_URL)."
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read ({error.strerror})", fix) from None
    try:
        found = os.fstat(descriptor)
        check_own_file(path, found)
        if found.st_mode & 0o077:
            raise ConfigError(str(path), "can be read by other users", f"rm {path}")
        service = msgspec.json.decode(os.read(descriptor, _MAX_BYTES), type=SharedService)
        if not service.urls or any(not is_address(url) for url in service.urls):
            raise ConfigError(str(path), "holds no address of a service", fix)
    except UnsafeDirectoryError as error:
        raise ConfigError(str(path), f"is not followed: {error.problem}", f"rm {path}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(str(path), f"is not what a service writes ({error})", fix) from None
    finally:
        os.close(descriptor)
    return service


def write_service(shared: Path, service: SharedService) -> None:
    """Say where the service is; a reader sees the old file or the new one. Raises OSError."""
    draft = shared / f".{SERVICE}-{os.urandom(8).hex()}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123
            file.write(msgspec.json.encode(service))
            file.flush()
            with suppress(OSError):  # some network file systems have none
                os.fsync(descriptor)
        draft.replace(shared / SERVICE)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def remove_service(shared: Path, service: SharedService) -> None:
    """Say it no more, unless another service has said something else since."""
    with suppress(ConfigError, OSError):
        if read_service(shared) == service:
            (shared / SERVICE).unlink()


def addresses(url: str) -> list[str]:
    """Return a bound address as other hosts may reach it: by name, then by number."""
    import socket

    parts = _parts(url)
    if parts.hostname not in ("0.0.0.0", "::"):
        return [url]
    names = [socket.gethostname(), *_own_addresses()]
    return [f"http://{name}:{parts.port}" for name in dict.fromkeys(names)]


def _own_addresses() -> list[str]:
    """The IPv4 addresses of this host's interfaces but loopback. Source: netdevice(7)."""
    import fcntl
    import socket
    import struct

    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                answer = fcntl.ioctl(probe, 0x8915, request)  # SIOCGIFADDR
            except OSError as error:
                if error.errno not in (errno.EADDRNOTAVAIL, errno.ENODEV):
                    break
                continue
            found.append(socket.inet_ntoa(answer[20:24]))
    return [address for address in found if not address.startswith("127.")]
