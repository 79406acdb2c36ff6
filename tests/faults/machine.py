"""A machine of its own, as far as Linux gives one for nothing: network, host name and processes.

It is on a cable with this one. All that runs on it dies at once with `kill`, like a host whose
power fails; `unplug` parts the two.
"""

import itertools
import os
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.waiting import wait_until

_count: Final = itertools.count()
_KINDS: Final = ("--net", "--uts", "--pid", "--mount")


class Machine:
    """One such machine; skips the test where the system gives none.

    name: its host name. here, there: the addresses of both ends of the cable.
    """

    def __init__(self, name: str) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root may make namespaces")
        self.name = name
        self._children: list[subprocess.Popen[str]] = []
        number = (os.getpid() * 8 + next(_count)) % 16_000 * 4
        net = f"10.213.{number // 256}"
        self.here, self.there = f"{net}.{number % 256 + 1}", f"{net}.{number % 256 + 2}"
        self.boot()

    def boot(self) -> None:
        """Start it, also again after `kill`; only its addresses are the same."""
        self._cable = f"rl{os.getpid()}x{next(_count)}"
        unshare = ["unshare", *_KINDS, "--fork", "--kill-child", "--mount-proc", "sh", "-c"]
        script = f"hostname {self.name}; read -r _; cat"
        self._init = subprocess.Popen([*unshare, script], stdin=subprocess.PIPE)
        wait_until(lambda: self._is_apart() or self._init.poll() is not None)
        if self._init.poll() is not None:
            pytest.skip("namespaces cannot be made here")
        self._plug_in()

    def _is_apart(self) -> bool:
        own, its = (Path(f"/proc/{pid}/ns/net") for pid in ("self", self._init.pid))
        return bool(self._inside()) and own.readlink() != its.readlink()

    def _inside(self) -> str:
        """The pid of its first process, empty before there is one."""
        path = Path(f"/proc/{self._init.pid}/task/{self._init.pid}/children")
        return path.read_text().strip()

    def _plug_in(self) -> None:
        peer, pid = f"{self._cable}p", str(self._init.pid)
        made = subprocess.run(
            ["ip", "link", "add", self._cable, "type", "veth", "peer", "name", peer, "netns", pid],
            capture_output=True,
            text=True,
        )
        if made.returncode != 0:
            self.kill()
            pytest.skip(f"there is no cable to be had: {made.stderr}")
        _run("ip", "addr", "add", f"{self.here}/30", "dev", self._cable)
        _run("ip", "link", "set", self._cable, "up")
        inside = ("nsenter", "--target", pid, "--net")
        _run(*inside, "ip", "addr", "add", f"{self.there}/30", "dev", peer)
        _run(*inside, "ip", "link", "set", peer, "up")
        _run(*inside, "ip", "link", "set", "lo", "up")

    def start(self, command: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
        """Start a program there, with pipes to its input and from its output."""
        wait_until(lambda: self._inside() != "")
        enter = ["nsenter", "--target", self._inside(), "--net", "--uts", "--pid", "--mount"]
        child = subprocess.Popen(
            [*enter, *command],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._children.append(child)
        return child

    def unplug(self) -> None:
        """Part the two machines."""
        _run("ip", "link", "set", self._cable, "down")

    def plug(self) -> None:
        """Join them again."""
        _run("ip", "link", "set", self._cable, "up")

    def kill(self) -> None:
        """Kill all that runs there, at once."""
        self._init.kill()
        self._init.communicate()
        for child in self._children:
            child.kill()
            child.communicate()
        self._children.clear()
        wait_until(lambda: not Path(f"/sys/class/net/{self._cable}").exists())


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
