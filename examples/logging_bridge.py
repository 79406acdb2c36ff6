"""What a program logs already becomes events, beside those that it emits."""

import logging
import sys

import realm_telemetry as realm
from realm_telemetry.integrations import logging as realm_logging

logging.basicConfig(stream=sys.stdout, level=logging.WARNING)
realm.configure(service_name="trainer")
realm_logging.install(level="INFO", exclude=["urllib3"])

log = logging.getLogger("lab.train")
log.setLevel(logging.INFO)

with realm.lifecycle("training", run="bridge"):
    log.info("epoch %d", 1, extra={"loss": 0.25})
    log.debug("not taken: below the level")
    try:
        raise ConnectionResetError("peer went away")
    except ConnectionResetError:
        # The severity is error, the traceback a detail, the logger's name the source.
        log.exception("upload failed, going on")

realm.flush()
