"""The shipper: moves spools through processors into the log, and the log into exporters."""

import realm_telemetry.compat.renamed  # noqa: F401  # first: for live processes of 0.1.0
