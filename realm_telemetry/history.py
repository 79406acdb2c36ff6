"""The old name of `realm_telemetry.transfer`, as a file for live processes of 0.1.0."""

import realm_telemetry.compat.renamed  # noqa: F401  # first: for live processes of 0.1.0

__path__: list[str] = []
