"""`python -m realm_telemetry`: the same as `realm`."""

import sys

from realm_telemetry.cli import main

if __name__ == "__main__":
    sys.exit(main())
