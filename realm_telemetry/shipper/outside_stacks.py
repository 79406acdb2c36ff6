"""Stacks of a program that does not take them itself, as where C code holds its interpreter lock.

py-spy, where it is installed beside this program or on PATH, reads them from outside; with
`--nonblocking` it does not stop the program, and a program that hangs has stacks that hold still.
It needs the right to look into another process: the same user, and Yama's ptrace_scope 0, or root.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from realm_telemetry.shipper.spools import Spool

METHOD: Final = "py-spy"
ANSWER_WITHIN_S: Final = 5.0
"""How long the program has for its own answer."""
_MOST_S: Final = 20.0
_MAX_CHARS: Final = 24_000


class OutsideStacks:
    """Watches requests for stacks, and asks py-spy where no answer comes."""

    def __init__(self) -> None:
        self._asked: dict[tuple[str, str], float] = {}
        self._dumps: dict[tuple[str, str], _Dump] = {}

    def expect(self, spool: Spool, run_id: str, now_s: float) -> None:
        """Note that the program of a spool was asked for its stacks."""
        self._asked[spool.producer, run_id] = now_s + ANSWER_WITHIN_S

    def look(
        self, spools: Mapping[str, Spool], now_s: float
    ) -> Iterator[tuple[Spool, str, dict[str, Any]]]:
        """Yield spool, run and details of stacks that were read; spools: of living programs."""
        for key, until_s in list(self._asked.items()):
            spool = spools.get(key[0])
            if spool is None or spool.control.stacks_given == spool.control.stacks_wanted:
                del self._asked[key]
            elif now_s >= until_s:
                del self._asked[key]
                dump = _Dump.of(spool.pid(), now_s)
                if dump is not None:
                    self._dumps[key] = dump
        for key, dump in list(self._dumps.items()):
            if dump.is_over(now_s):
                del self._dumps[key]
                stack = dump.take()
                if stack and key[0] in spools:
                    threads = stack.count("\nThread ")
                    details = {"method": METHOD, "threads": threads, "stack": stack}
                    yield spools[key[0]], key[1], details

    def close(self) -> None:
        """End what runs."""
        for dump in self._dumps.values():
            dump.take()
        self._dumps.clear()


class _Dump:
    """One run of py-spy."""

    def __init__(self, process: "subprocess.Popen[bytes]", output: Any, until_s: float) -> None:
        self._process, self._output, self._until_s = process, output, until_s

    @classmethod
    def of(cls, pid: int | None, now_s: float) -> "_Dump | None":
        """Begin; returns None where there is no py-spy, or no process to be seen."""
        program = _program()
        if program is None or pid is None:
            return None
        output = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `take`
        command = [program, "dump", "--nonblocking", "--pid", str(pid)]
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.DEVNULL
            )
        except OSError:
            output.close()
            return None
        return cls(process, output, now_s + _MOST_S)

    def is_over(self, now_s: float) -> bool:
        """Whether it has ended, or has had its time."""
        return self._process.poll() is not None or now_s >= self._until_s

    def take(self) -> str:
        """End it and return the stacks; empty where it failed."""
        if self._process.poll() is None:
            self._process.kill()
        code = self._process.wait()
        with self._output as output:
            output.seek(0)
            text = output.read(4 * _MAX_CHARS).decode("utf-8", "replace")
        return text[:_MAX_CHARS] if code == 0 else ""


def _program() -> str | None:
    beside = Path(sys.executable).with_name(METHOD)
    return str(beside) if beside.exists() else shutil.which(METHOD)
