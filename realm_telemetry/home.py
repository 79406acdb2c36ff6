"""The layout of a home (REALM_HOME), and what its disk must be.

Locks, memory maps and SQLite's WAL need a disk of this host: over a network they fail silently.
"""

import os
from typing import Final

# All that the software keeps in a home, relative to it.
SETTINGS_FILE: Final = "realm.toml"
TOKEN: Final = "token"
LOG: Final = "vault/jobs.db"
SEARCH_INDEX: Final = "vault/search.db"
STATE: Final = "data/realm_state.db"
METRICS: Final = "data/realm_measures.db"
WEBHOOKS: Final = "data/webhooks.db"
WEBHOOK_ADDRESSES: Final = "data/webhook_addresses.db"
SPOOL: Final = "spool"
LOGS: Final = "logs"
IMPORTS: Final = "imports"

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
