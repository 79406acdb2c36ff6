"""The older `core.events`: `realm_telemetry.compat.events` by its older name."""

import sys

from realm_telemetry.compat import events

sys.modules[__name__] = events
