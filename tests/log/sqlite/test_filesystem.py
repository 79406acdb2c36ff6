"""Where the log and the spool may live."""

from pathlib import Path

import pytest

from realm_telemetry.home import is_local_filesystem, make_private_directory

TABLE = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 22 0:40 / /home rw shared:2 master:1 - nfs4 server:/home rw
41 40 0:41 / /home/ada/scratch rw - tmpfs tmpfs rw
42 22 0:42 / /mnt/my\\040disk rw - fuse.sshfs ada@host: rw
43 22 0:43 / /over rw - ext4 /dev/sdb rw
44 22 0:44 / /over rw - cifs //server/over rw
a line that is broken
"""


@pytest.mark.parametrize(
    ("path", "local", "kind"),
    [
        ("/var/realm/jobs.db", True, "ext4"),
        ("/home/ada/realm/jobs.db", False, "nfs4"),
        ("/home/ada/scratch/jobs.db", True, "tmpfs"),
        ("/homely/jobs.db", True, "ext4"),
        ("/mnt/my disk/jobs.db", False, "fuse.sshfs"),
        ("/over/jobs.db", False, "cifs"),
    ],
)
def test_the_innermost_latest_mount_decides(path: str, local: bool, kind: str) -> None:
    assert is_local_filesystem(path, mount_table=TABLE) == (local, kind)


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/elsewhere")
    table = TABLE + "50 22 0:50 / /elsewhere rw - lustre mds:/x rw\n"
    assert is_local_filesystem(tmp_path / "link" / "new" / "jobs.db", mount_table=table) == (
        False,
        "lustre",
    )


def test_the_real_table_is_read(tmp_path: Path) -> None:
    local, kind = is_local_filesystem(tmp_path)
    assert local
    assert kind


def test_a_private_directory_is_private_from_the_top(tmp_path):
    """All that had to be made; what was there keeps its mode."""
    tmp_path.chmod(0o755)
    make_private_directory(tmp_path / "home" / "vault" / "deep")
    for made in ("home", "home/vault", "home/vault/deep"):
        assert (tmp_path / made).stat().st_mode & 0o777 == 0o700
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    make_private_directory(tmp_path / "home")
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError):
        make_private_directory(tmp_path / "file")
