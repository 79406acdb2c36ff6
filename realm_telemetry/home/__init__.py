"""The layout of a home (REALM_HOME), what its disk must be, and whose its directories must be.

Locks, memory maps and SQLite's WAL need a disk of this host: over a network they fail silently.
A directory that another user can change or replace may hold what that user planted there.
"""

import errno
import fcntl
import os
import stat
import struct
from collections import deque
from contextlib import suppress
from typing import Final

import msgspec

from realm_telemetry.errors import ConfigError

# All that the software keeps in a home, relative to it.
SETTINGS_FILE: Final = "realm.toml"
TOKEN: Final = "token"
SERVICE: Final = "service.json"
LOG: Final = "vault/jobs.db"
SEARCH_INDEX: Final = "vault/search.db"
STATE: Final = "data/realm_state.db"
METRICS: Final = "data/realm_measures.db"
CURVES: Final = "data/realm_curves.db"
WEBHOOKS: Final = "data/webhooks.db"
WEBHOOK_ADDRESSES: Final = "data/webhook_addresses.db"
SPOOL: Final = "spool"
LOGS: Final = "logs"
IMPORTS: Final = "imports"
RUNS: Final = "runs"

MOUNT_TABLE: Final = "/proc/self/mountinfo"

# Types as the kernel writes them; a FUSE file system shows as `fuse.<name>`.
NETWORK_TYPES: Final = frozenset(
    {
        "9p", "acfs", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "drvfs", "glusterfs",
        "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "orangefs", "panfs", "prl_fs", "pvfs2", "smb",
        "smb2", "smb3", "smbfs", "vboxsf", "vmhgfs", "wekafs", "fuse.beegfs", "fuse.ceph",
        "fuse.ceph-fuse", "fuse.davfs2", "fuse.gcsfuse", "fuse.glusterfs", "fuse.goofys",
        "fuse.grpcfuse", "fuse.juicefs", "fuse.mountpoint-s3", "fuse.osxfs", "fuse.rclone",
        "fuse.s3fs", "fuse.smbnetfs", "fuse.sshfs", "fuse.vmhgfs-fuse",
    }
)  # fmt: skip


def is_local_filesystem(
    path: str | os.PathLike[str], *, mount_table: str | None = None
) -> tuple[bool, str]:
    """Whether `path` is on a local file system, and that file system's type.

    path: need not exist yet; its nearest existing parent counts, links are followed.
    mount_table: text in the form of /proc/self/mountinfo, read from there by default.
    Where there is no such table (not Linux) everything counts as local, type "unknown".
    """
    if mount_table is None:
        try:
            with open(MOUNT_TABLE, encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123
                mount_table = file.read()
        except OSError:
            return True, "unknown"
    kind = _type_at(os.path.realpath(path), mount_table)
    return kind not in NETWORK_TYPES, kind


def _type_at(path: str, mount_table: str) -> str:
    longest, found = -1, "unknown"
    for line in mount_table.splitlines():
        mount_point, kind = _parse(line)
        inside = path == mount_point or path.startswith(mount_point.rstrip("/") + "/")
        # Of two mounts over one point, the later line hides the earlier.
        if mount_point and inside and len(mount_point) >= longest:
            longest, found = len(mount_point), kind
    return found


def _parse(line: str) -> tuple[str, str]:
    """Take mount point and type from `36 35 98:0 / /mnt rw shared:1 - ext4 /dev/sda rw`."""
    left, separator, right = line.partition(" - ")
    fields, types = left.split(" "), right.split(" ")
    if not separator or len(fields) < 5:
        return "", ""
    return _unescape(fields[4]), types[0]


def _unescape(text: str) -> str:
    for escaped, plain in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(escaped, plain)
    return text


def make_private_directory(path: str | os.PathLike[str]) -> None:
    """Make a directory that only its user can enter, and those above it that are missing.

    `Path.mkdir(mode, parents=True)` gives its mode to the last directory alone.
    Raises OSError.
    """
    text = os.fspath(path)
    parent = os.path.dirname(os.path.abspath(text))  # noqa: PTH100, PTH120
    if not os.path.isdir(parent):  # noqa: PTH112
        make_private_directory(parent)
    try:
        os.mkdir(text, 0o700)  # noqa: PTH102
    except FileExistsError:
        if not os.path.isdir(text):  # noqa: PTH112
            raise


MAX_LINKS: Final = 40
"""Links on one path; more are a loop. Source: path_resolution(7)."""

_LOOK: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ID_MAP: Final = "/proc/self/uid_map"
_UNMAPPED: Final = 65534
"""How a user namespace shows owners that it does not know; the kernel's default."""


class UnsafeDirectoryError(PermissionError):
    """Another user could change or replace a directory; the text names it and the fix."""

    def __init__(self, problem: str, fix: str = "") -> None:
        self.problem = problem
        self.fix = fix
        super().__init__(errno.EPERM, f"{problem}. {fix}" if fix else problem)

    def __str__(self) -> str:
        return str(self.strerror)


def open_own_directory(path: str | os.PathLike[str], *, make: bool = False) -> int:
    """Return a descriptor (O_PATH) of a directory of ours that no other user can replace.

    Each component is opened once, from its parent's descriptor, and nothing is followed unseen. A
    name is safe in a directory that belongs to us or to root and that nobody else can write. In a
    sticky one, such as /var/tmp, it must be the name of a directory of ours. What was checked stays
    true by name: only we or root can change it. The directory itself must be ours, and no link.
    make: make what is missing, for us alone.
    Raises UnsafeDirectoryError, OSError.
    """
    walk = _Walk(make)
    try:
        walk.to(os.fspath(path))
        _refuse_foreign(walk.shown, os.fstat(walk.here))
        return walk.release()
    finally:
        walk.close()


def check_own_file(path: str | os.PathLike[str], found: os.stat_result) -> None:
    """Raise UnsafeDirectoryError unless a file or directory is ours alone to write.

    found: of the open file, or by lstat.
    """
    _refuse_foreign(os.fspath(path), found)


def read_own_file(directory: str | os.PathLike[str], name: str) -> bytes:
    """Read a file of ours in a directory of ours, without following a link.

    Raises UnsafeDirectoryError if another user could have written it, OSError.
    """
    inside = open_own_directory(directory)
    try:
        # Not blocking: a pipe of that name would be waited for.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(name, flags, dir_fd=inside)
    finally:
        os.close(inside)
    with open(descriptor, "rb") as file:  # noqa: PTH123
        found = os.fstat(descriptor)
        path = os.path.join(directory, name)  # noqa: PTH118
        if not stat.S_ISREG(found.st_mode):
            raise UnsafeDirectoryError(f"{path} is no file", "Remove it.")
        check_own_file(path, found)
        return file.read()


def read_regular_file(path: str | os.PathLike[str]) -> bytes:
    """Read a file, through links too, unless it is a pipe or a device, which might never end.

    Raises OSError.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        kind = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        if not stat.S_ISREG(kind) and os.path.realpath(path) != os.devnull:
            raise OSError(errno.EINVAL, "it is no regular file", os.fspath(path))
        with open(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def is_planted(path: str | os.PathLike[str]) -> bool:
    """Whether something belongs to another user and lies where everybody can make names.

    Root counts as no other user. A home that only its owner and root can reach is never planted.
    Raises OSError if it cannot be looked at.
    """
    real = os.path.realpath(path)
    if os.stat(real).st_uid in (0, os.geteuid()):  # noqa: PTH116
        return False
    while real != "/":
        real = os.path.dirname(real)  # noqa: PTH120
        if os.stat(real).st_mode & stat.S_IWOTH:  # noqa: PTH116
            return True
    return False


class _Walk:
    """A way along a path, component by component.

    here: the directory reached; shown: its name for people.
    planted: whether the way led through a directory in which others can make names.
    """

    def __init__(self, make: bool) -> None:
        self.here = os.open("/", _LOOK)
        self.shown = "/"
        self.planted = False
        self._make = make

    def to(self, path: str) -> None:
        """Go along a path from where the walk is, or from the root for an absolute one."""
        left = deque(_components(path))
        links = 0
        while left:
            name = left.popleft()
            sticky = self._check_names()
            target = self._enter(name, sticky)
            if target is None:
                continue
            links += 1
            if not left or links > MAX_LINKS:
                raise UnsafeDirectoryError(f"{self._child(name)} is a link", _OWN)
            if target.startswith("/"):
                self._move(os.open("/", _LOOK), "/")
            left.extendleft(reversed(_components(target, absolute=False)))

    def release(self) -> int:
        """Hand over the descriptor of the directory reached."""
        here, self.here = self.here, -1
        return here

    def close(self) -> None:
        """Close what is open."""
        if self.here >= 0:
            os.close(self.here)

    def _check_names(self) -> bool:
        """Whether the directory is sticky; raises if another user can change its names."""
        found = os.fstat(self.here)
        if not _is_trusted(found.st_uid, planted=self.planted):
            raise UnsafeDirectoryError(
                f"{self.shown} belongs to uid {found.st_uid}, who could replace what is in it", _OWN
            )
        if not _others_write(found):
            return False
        if not found.st_mode & stat.S_ISVTX:
            raise _writable(self.shown, found)
        self.planted = True
        return True

    def _enter(self, name: str, sticky: bool) -> str | None:
        """Open the next directory; return where it leads if it is a link."""
        try:
            following = self._open(name)
        except FileNotFoundError:
            if not self._make:
                raise
            with suppress(FileExistsError):  # another process was faster
                os.mkdir(name, 0o700, dir_fd=self.here)
            following = self._open(name)
        except NotADirectoryError:
            if not stat.S_ISLNK(os.stat(name, dir_fd=self.here, follow_symlinks=False).st_mode):
                raise
            if sticky:
                problem = f"{self._child(name)} is a link in a directory that others can write"
                raise UnsafeDirectoryError(problem, _OWN) from None
            return os.readlink(name, dir_fd=self.here)
        self._move(following, self._child(name))
        return None

    def _open(self, name: str) -> int:
        return os.open(name, _LOOK, dir_fd=self.here)

    def _child(self, name: str) -> str:
        return os.path.join(self.shown, name)  # noqa: PTH118

    def _move(self, following: int, shown: str) -> None:
        os.close(self.here)
        self.here, self.shown = following, shown


_OWN: Final = "Set REALM_SPOOL to a directory of this user's own, on a local disk."


def _components(path: str, *, absolute: bool = True) -> list[str]:
    if absolute and not path.startswith("/"):
        path = os.path.join(os.getcwd(), path)  # noqa: PTH109, PTH118
    return [name for name in path.split("/") if name not in ("", ".")]


def _refuse_foreign(shown: str, found: os.stat_result) -> None:
    """Raise unless something is ours, and nobody else can write it."""
    if found.st_uid != os.geteuid():
        problem = f"{shown} belongs to uid {found.st_uid}, and this process is uid {os.geteuid()}"
        raise UnsafeDirectoryError(problem, _OWN)
    if _others_write(found):
        raise _writable(shown, found)


def _writable(shown: str, found: os.stat_result) -> UnsafeDirectoryError:
    mode = stat.S_IMODE(found.st_mode)
    return UnsafeDirectoryError(
        f"{shown} can be written by other users (mode {mode:04o})",
        f"Take that away (chmod go-w {shown}), or set REALM_SPOOL to another directory.",
    )


def _is_trusted(owner: int, *, planted: bool) -> bool:
    """Whether we may rely on a directory's owner: on us, and on root, who can do all anyway."""
    if owner in (0, os.geteuid()):
        return True
    # In a container of a user alone, the host's root is an unknown owner, and so is everybody else.
    return owner == _UNMAPPED and not planted and _in_user_namespace()


def _in_user_namespace() -> bool:
    try:
        with open(_ID_MAP, encoding="ascii") as file:  # noqa: PTH123
            return file.read().split() != ["0", "0", str(2**32 - 1)]
    except OSError:
        return False


def _others_write(found: os.stat_result) -> bool:
    """Whether others can write; a group that has this user alone counts as the user."""
    if found.st_mode & stat.S_IWOTH:
        return True
    return bool(found.st_mode & stat.S_IWGRP) and not _is_private_group(found.st_gid)


def _is_private_group(group_id: int) -> bool:
    """Whether a group is the one that most Linux systems make for each single user."""
    if not group_id:
        return False
    import grp
    import pwd

    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(group_id)
    except KeyError:
        return False
    alone = set(group.gr_mem) <= {user.pw_name}
    return alone and (user.pw_gid, user.pw_name) == (group_id, group.gr_name)


_MAX_ADDRESS_BYTES: Final = 4096
_LOCK: Final = struct.Struct("hhqqi4x")
"""`struct flock` of Linux on 64 bits: type, whence, start, length, pid. Source: fcntl(2)."""


class RunningService(msgspec.Struct):
    """A service that runs.

    url, pages: its addresses as they are reached from where it runs.
    pid: its process's, in the PID namespace that the inode `pid_namespace` stands for.
    log_id: of the log that it serves, empty if an older service wrote it.
    network: the inode of its network namespace, 0 if an older service wrote it. In another one
        the same address is another program's.
    """

    url: str
    pages: str
    pid: int
    pid_namespace: int
    log_id: str = ""
    network: int = 0

    @property
    def is_on_this_network(self) -> bool:
        """Whether its addresses mean the same here: then its lock vouches for them."""
        return self.network in (0, network_namespace())


def network_namespace() -> int:
    """The inode of this process's network namespace; 0 if the system does not say."""
    try:
        return os.stat("/proc/self/ns/net").st_ino  # noqa: PTH116
    except OSError:
        return 0


class ServiceAddress:
    """Says in a home where its service is, as long as this process lives.

    A lock on the open file stands for the process: the kernel lets go of it however that ends, and
    who asks needs no pid, which means something else in another container.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def claim(cls, home: str | os.PathLike[str]) -> "ServiceAddress | None":
        """Return None where another service of the home has said so already. Raises OSError.

        Makes the home: that of a service whose log is in PostgreSQL may not be there yet.
        """
        make_private_directory(home)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(os.path.join(home, SERVICE), flags, 0o600)  # noqa: PTH118
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _LOCK.pack(fcntl.F_WRLCK, 0, 0, 0, 0))
        except OSError as error:
            os.close(descriptor)
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return None
            raise
        return cls(descriptor)

    def say(self, facts: RunningService) -> None:
        """Write where it is. Raises OSError."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, msgspec.json.encode(facts), 0)

    def close(self) -> None:
        """Say nothing any more."""
        with suppress(OSError):  # the disk is gone
            os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


def running_service(home: str | os.PathLike[str]) -> RunningService | None:
    """What the service that runs on a home says of itself.

    None where none runs, where another user could have written it, or where it is broken.
    """
    try:
        return said_service(home)
    except ConfigError:
        return None


def said_service(home: str | os.PathLike[str]) -> RunningService | None:
    """As `running_service`. Raises ConfigError where a service runs and its file is broken."""
    path = os.path.join(home, SERVICE)  # noqa: PTH118
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            return None
        question = _LOCK.pack(fcntl.F_RDLCK, 0, 0, 0, 0)
        answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, question)
        if status.st_mode & 0o022 or _LOCK.unpack(answer)[0] == fcntl.F_UNLCK:
            return None
        text = os.read(descriptor, _MAX_ADDRESS_BYTES)
        return _read_said(path, text) if text else None  # empty: it is about to be written
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _read_said(path: str, text: bytes) -> RunningService:
    try:
        found = msgspec.json.decode(text, type=RunningService)
        if is_address(found.url) and is_address(found.pages):
            return found
        problem = "holds no address of a service"
    except (ValueError, RecursionError) as error:
        problem = f"is not what a service writes ({error})"
    fix = (
        f"A service holds it: end that one (fuser {path}) and start it again, or set service_url"
        " (REALM_SERVICE_URL)."
    )
    raise ConfigError(path, problem, fix)


def is_address(url: str) -> bool:
    """Whether a text is an http:// or https:// address of a host, and perhaps a port."""
    from urllib.parse import urlsplit  # for the one who has an address to look at

    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return good and url.isprintable() and " " not in url
