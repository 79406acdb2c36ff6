"""What a program pays at its start and at its end.

`python -m benchmarks.start_bench` prints the table.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import Figure, at_most, show

ROUNDS = 15
CONFIGURE = """
import sys, time, realm_telemetry as realm
begin = time.perf_counter()
realm.configure(service_name="bench", home=sys.argv[1], shipper="none")
print((time.perf_counter() - begin) * 1000)
"""
EXIT = """
import sys, time, realm_telemetry as realm
realm.configure(service_name="bench", home=sys.argv[1], service_url="http://127.0.0.1:9")
for step in range(1000):
    realm.training_step(step=step, loss=1.0)
time.sleep(2.0)
begin = time.perf_counter()
realm.shutdown()
print((time.perf_counter() - begin) * 1000)
"""


def _python(code: str, *arguments: str) -> tuple[float, str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    begin = time.perf_counter()
    answer = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=environ, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return (time.perf_counter() - begin) * 1000, answer.stdout


def _median_wall_ms(code: str) -> float:
    return sorted(_python(code)[0] for _ in range(ROUNDS))[ROUNDS // 2]


def _median_told_ms(code: str, home: Path, rounds: int = ROUNDS) -> float:
    return sorted(float(_python(code, str(home))[1]) for _ in range(rounds))[rounds // 2]


def figures() -> list[Figure]:
    """Import, configure, exit; milliseconds, medians of several processes."""
    bare, msgspec, ours = (
        _median_wall_ms(code) for code in ("pass", "import msgspec", "import realm_telemetry")
    )
    with tempfile.TemporaryDirectory(dir=Path.home()) as directory:
        home = Path(directory)
        plain = _median_told_ms(CONFIGURE, home / "plain")
        filed = home / "filed"
        filed.mkdir()
        (filed / "realm.toml").write_text('run_id = "r1"\n')
        with_file = _median_told_ms(CONFIGURE, filed)
        end = _median_told_ms(EXIT, home / "exit", rounds=3)
    note = f"of these msgspec {msgspec - bare:.0f} ms; bare python takes {bare:.0f} ms"
    return [
        at_most("import over bare python", ours - bare, 42.0, "ms", note),
        at_most("configure() without realm.toml", plain, 5.0, "ms"),
        at_most("configure() with realm.toml", with_file, 20.0, "ms"),
        at_most("exit, live shipper, dead service", end, 150.0, "ms"),
    ]


if __name__ == "__main__":
    show("Start and end", figures())
