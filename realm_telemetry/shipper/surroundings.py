"""Let plugins find what they would find in the producer: import path and environment."""

import os
import sys

from realm_telemetry.shipper.manifest import Manifest


def join_surroundings(manifest: Manifest) -> None:
    """Extend this process's import path and set the variables that exporters read.

    The producer's path comes last: a script's directory often has names that hide others.
    """
    sys.path += [entry for entry in manifest.import_path if entry not in sys.path]
    os.environ.update(manifest.environment)
