"""The older `core.realm_store`: `realm_telemetry.compat.realm_store` by its older name."""

import sys

from realm_telemetry.compat import realm_store

sys.modules[__name__] = realm_store
