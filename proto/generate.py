"""Generate realm_telemetry/wire/v1/ from event.proto; `--check` only compares.

The compiler is pinned and lives in a temporary environment of its own: code that grpcio-tools
1.76.0 generates runs on every protobuf from 6.31.1 up to the end of version 7, newer compilers
would refuse the older runtimes.
"""

import difflib
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

COMPILER = "grpcio-tools==1.76.0"
PROTO_ROOT = Path(__file__).resolve().parent
REPOSITORY = PROTO_ROOT.parent
SOURCE = "realm_telemetry/wire/v1/event.proto"
GENERATED = ("event_pb2.py", "event_pb2.pyi")


def main() -> int:
    with tempfile.TemporaryDirectory() as scratch:
        fresh = compile_to(Path(scratch))
        if "--check" in sys.argv[1:]:
            return report_differences(fresh)
        for name in GENERATED:
            checked_in(name).write_text((fresh / name).read_text())
    return 0


def compile_to(scratch: Path) -> Path:
    """Run the pinned compiler and return the directory with what it wrote."""
    venv.create(scratch / "venv", with_pip=True)
    python = scratch / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", COMPILER], check=True)
    out = scratch / "out"
    out.mkdir()
    command = [python, "-m", "grpc_tools.protoc", f"-I{PROTO_ROOT}"]
    subprocess.run([*command, f"--python_out={out}", f"--pyi_out={out}", SOURCE], check=True)
    return out / Path(SOURCE).parent


def report_differences(fresh: Path) -> int:
    """Print how the checked-in files differ from fresh ones; 1 if they do."""
    differs = 0
    for name in GENERATED:
        ours = checked_in(name).read_text().splitlines(keepends=True)
        theirs = (fresh / name).read_text().splitlines(keepends=True)
        for line in difflib.unified_diff(ours, theirs, f"checked in/{name}", f"generated/{name}"):
            sys.stdout.write(line)
            differs = 1
    if differs:
        sys.stderr.write(f"generated code differs from proto/{SOURCE}: run `make proto`\n")
    return differs


def checked_in(name: str) -> Path:
    return REPOSITORY / Path(SOURCE).parent / name


if __name__ == "__main__":
    sys.exit(main())
