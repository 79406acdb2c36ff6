"""Which exporters that OpenTelemetry knows by name are ours, and what our shipper calls them."""

from importlib.metadata import entry_points
from typing import Final

from realm_telemetry.plugins import EXPORTER_GROUPS


def our_exporters() -> dict[str, str]:
    """Return the names in `opentelemetry_logs_exporter` that our shipper can work with.

    Each with its name in `realm_telemetry.exporters`, which may be shorter: `realm_jsonl` is our
    `jsonl`. What stands in the first group alone is another's, even if its name is one of ours.
    """
    own = {point.value: point.name for point in entry_points(group=EXPORTER_GROUPS[0])}
    theirs = entry_points(group=EXPORTER_GROUPS[1])
    return {point.name: own[point.value] for point in theirs if point.value in own}


DISTRO: Final = "realm"
"""The name of our distro and of our configurator."""
