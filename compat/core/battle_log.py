"""The older `core.battle_log`: `realm_telemetry.compat.battle_log` by its older name."""

import sys

from realm_telemetry.compat import battle_log

sys.modules[__name__] = battle_log
