"""The older modules' names, for code that has not moved yet.

`core.event_bus`, `core.events`, `core.realm_store` and `core.battle_log` are here under the same
names, over the one log. `install()` makes unchanged imports of them work. docs/migration.md has
the way from there.
"""

from realm_telemetry.compat.installing import install

__all__ = ["install"]
