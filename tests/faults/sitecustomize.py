"""Shows a program the table of mounts that a test has made up, in its own processes alone."""

import os
from pathlib import Path

if "TEST_MOUNT_TABLE" in os.environ:
    from realm_telemetry.home import shared as shared_home

    shared_home.MOUNT_TABLE = Path(os.environ["TEST_MOUNT_TABLE"]).read_text(encoding="utf-8")
