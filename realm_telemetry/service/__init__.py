"""RealmService: the log over HTTP, live and historic."""

from realm_telemetry.service.app import realm_app, realm_lifespan
from realm_telemetry.service.server import RealmServer, banner, serve
from realm_telemetry.service.settings import ServiceSettings

__all__ = ["RealmServer", "ServiceSettings", "banner", "realm_app", "realm_lifespan", "serve"]
