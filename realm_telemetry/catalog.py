"""The old path of `realm_telemetry.kinds.catalog`, as a file for processes of version 0.1.0.

Such a process, still running while the package is replaced, imports from the new files, without
the aliases of `realm_telemetry.compat.renamed`.
"""

from realm_telemetry.kinds.catalog import *  # noqa: F403
