"""The older `core.event_bus`: `realm_telemetry.compat.event_bus` by its older name."""

import sys

from realm_telemetry.compat import event_bus

if __name__ == "__main__":
    sys.exit(event_bus.main())

sys.modules[__name__] = event_bus
