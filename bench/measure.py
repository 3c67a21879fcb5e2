"""What the benchmark measures with: the source as a child, a whole process by wall clock and memory, a table."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Self

HERE = Path(__file__).resolve().parent


class SourceProcess:
    """`source.py` on a free loopback port."""

    def __init__(self, contacts: int, *, size: int = 1000, latency_ms: float = 0) -> None:
        command = [sys.executable, str(HERE / "source.py"), "--contacts", str(contacts), "--size", str(size)]
        command += ["--latency-ms", str(latency_ms)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the source did not start (exit {self.process.wait()})")
        self.url = f"http://127.0.0.1:{json.loads(line)['port']}"

    def call(self, what: str, **body: object) -> dict:
        data = None if what == "stats" else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_bench/{what}", data=data)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=600) as answer:
            return json.loads(answer.read())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


@dataclass(frozen=True)
class Run:
    """One run of a whole process."""

    wall: float
    cpu: float
    peak_mib: float
    stdout: str


class RunFailedError(Exception):
    pass


def measure(command: list[str], *, expect: int = 0, env: dict[str, str] | None = None, timeout: float = 900) -> Run:
    """Wall clock, user and system time and the largest resident size, from start to an exit that is as expected.

    A child begins with the high-water mark of whoever started it, so where ru_maxrss is no more than our own size, the
    last VmHWM seen counts.
    """
    began = time.perf_counter()
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **(env or {})},
        start_new_session=True,
    ) as process:
        said: dict[str, bytes] = {}
        readers = [
            threading.Thread(target=lambda n=name, s=stream: said.__setitem__(n, s.read()), daemon=True)
            for name, stream in (("stdout", process.stdout), ("stderr", process.stderr))
        ]
        for reader in readers:
            reader.start()
        ended, seen = threading.Event(), [0]

        def watch() -> None:
            while not ended.wait(0.02):
                seen[0] = max(seen[0], high_water_kib(process.pid))
                if time.perf_counter() - began > timeout:
                    os.killpg(process.pid, signal.SIGKILL)  # our own child's group
                    return

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        ended.set()
        watcher.join()
        process.returncode = os.waitstatus_to_exitcode(status)
        for reader in readers:
            reader.join()
    out, err = said["stdout"].decode(errors="replace"), said["stderr"].decode(errors="replace")
    if process.returncode != expect:
        raise RunFailedError(f"exit {process.returncode}: {' '.join(command)}\n{out[-2000:]}{err[-2000:]}")
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak = used.ru_maxrss if used.ru_maxrss > own * 1.1 else seen[0]
    return Run(wall, used.ru_utime + used.ru_stime, peak / 1024, out)


def high_water_kib(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    _, _, rest = status.partition("VmHWM:")
    return int(rest.split(maxsplit=1)[0]) if rest else 0


def wait_quiet(at_most: float, level: float = 0.3) -> bool:
    """Let other work on this machine pass: True once less than `level` of one core is busy, False after `at_most` s."""
    end = time.monotonic() + at_most
    while time.monotonic() < end:
        before = busy_s()
        time.sleep(0.4)
        if (busy_s() - before) / 0.4 < level:
            return True
    return False


def busy_s() -> float:
    """Seconds that all cores together have worked since boot."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    except OSError:
        return 0.0
    return sum(int(fields[i]) for i in (1, 2, 3, 6, 7)) / os.sysconf("SC_CLK_TCK")


def table(rows: list[list[object]], head: list[str]) -> str:
    cells = [head, *([shown(value) for value in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = [
        "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(r, widths, strict=True)))
        for r in cells
    ]
    return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:]])


def shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
    return "" if value is None else str(value)


def machine() -> str:
    try:
        models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        cpu = models[0].split(":", 1)[1].strip()
    except (OSError, IndexError):
        cpu = "unknown processor"
    return f"{cpu}, {os.cpu_count()} cores, Python {sys.version.split()[0]}"
