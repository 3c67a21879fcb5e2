"""A private machine: this machine's own systemd as init of namespaces of its own, over a root that forgets.

It has loopback and nothing else, and it ends by itself: with whoever started it, or when its time is up.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

KEEPER = Path(__file__).with_name("keeper.py")
TOOLS = ("unshare", "nsenter", "mount", "pivot_root", "ip", "systemctl", "journalctl", "dpkg-deb")
SYSTEMD = Path("/lib/systemd/systemd")
LIFE_S = 600.0
WAIT_S = 90.0


def missing() -> str:
    """Why no private machine can be had here; nothing if one can."""
    if os.geteuid() != 0:
        return "only root can make one"
    if not SYSTEMD.exists():
        return f"there is no {SYSTEMD}"
    if absent := [tool for tool in TOOLS if shutil.which(tool, path=f"/usr/sbin:/sbin:{os.environ['PATH']}") is None]:
        return f"there is no {', '.join(absent)}"
    wanted = ["unshare", "--mount", "--pid", "--fork", "--uts", "--ipc", "--net", "--cgroup"]
    command = "mount --make-rprivate / && mount -t tmpfs tmpfs /mnt && mount -t cgroup2 cgroup2 /mnt"
    tried = subprocess.run([*wanted, "sh", "-c", command], capture_output=True, text=True, check=False)
    return f"namespaces are not permitted: {tried.stderr.strip()}" if tried.returncode else ""


class Machine:
    """One that has booted. `disk`: a folder outside that it has as /var/lib/private, and that outlives it."""

    def __init__(
        self, payload: Path, disk: Path, bound: Mapping[Path, str] | None = None, *, seconds: float = LIFE_S
    ) -> None:
        pairs = [f"{source}:{target}" for source, target in {disk: "/var/lib/private", **(bound or {})}.items()]
        disk.chmod(0o700)
        self._keeper = subprocess.Popen(
            [sys.executable, "-I", str(KEEPER), str(seconds), str(payload), *pairs],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._keeper.stdout is not None
        line = self._keeper.stdout.readline().strip()
        if not line:
            raise RuntimeError(f"no private machine: {self._keeper.communicate()[1]}")
        self.pid = int(line)
        try:
            self.until(lambda: self.ask("systemctl", "is-system-running") in {"running", "degraded"}, "it has booted")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it, if it has not, and wait until nothing of it is left."""
        if self._keeper.stdin is not None:
            self._keeper.stdin.close()
            self._keeper.stdin = None
        self._keeper.communicate(timeout=WAIT_S)

    def cut_power(self) -> None:
        """As if the plug was pulled: no program inside hears of it."""
        os.kill(self.pid, signal.SIGKILL)
        self.close()

    # Commands inside -------------------------------------------------------------------------------------------------

    def run(
        self, *command: str, check: bool = True, given: str = "", seconds: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["nsenter", "-t", str(self.pid), "-a", "env", "-i", f"PATH={PATH}", "LC_ALL=C.UTF-8", *command],
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}\n{self.told()}")
        return done

    def ask(self, *command: str) -> str:
        """What a command prints, whatever it ends with."""
        return self.run(*command, check=False).stdout.strip()

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        self.run("install", "-D", "-m", f"{mode:o}", "/dev/stdin", path, given=text)

    def systemctl(self, *arguments: str, seconds: float = 60.0) -> None:
        self.run("systemctl", *arguments, seconds=seconds)

    def properties(self, unit: str, *names: str) -> dict[str, str]:
        shown = self.ask("systemctl", "show", unit, *(f"--property={name}" for name in names))
        return dict(line.split("=", 1) for line in shown.splitlines())

    def moment(self, unit: str, name: str) -> float:
        """A monotonic time that systemd keeps of a unit, in seconds, on the same clock as `time.monotonic`."""
        return int(self.properties(unit, f"{name}Monotonic")[f"{name}Monotonic"]) / 1e6

    def journal(self, unit: str, *more: str) -> list[dict[str, Any]]:
        """What the journal holds of a unit: its own lines, and systemd's about it."""
        self.run("journalctl", "--sync")
        lines = self.ask("journalctl", "--no-pager", "--all", "--output=json", f"--unit={unit}", *more)
        return [json.loads(line) for line in lines.splitlines()]

    def told(self) -> str:
        """The end of the journal, for a person who looks for what went wrong."""
        command = ["nsenter", "-t", str(self.pid), "-a", "journalctl", "--no-pager", "-n", "40"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def until(self, holds: Callable[[], Any], what: str, seconds: float = WAIT_S) -> Any:
        """Wait for something, and give it back."""
        end = time.monotonic() + seconds
        while True:
            if found := holds():
                return found
            if time.monotonic() > end:
                raise AssertionError(f"not within {seconds:g} s: {what}\n{self.told()}")
            time.sleep(0.02)

    def http(self, method: str, url: str, body: str = "", headers: Sequence[str] = ()) -> tuple[int, str]:
        """The status and body of one request from inside; status 0 where nobody answers."""
        asked = json.dumps(
            {"method": method, "url": url, "body": body, "headers": dict(h.split(": ") for h in headers)}
        )
        status, _, text = self.run("/usr/bin/python3", "-I", "-c", ASK, given=asked).stdout.partition("\n")
        return int(status), text


PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
ASK = """
import json, sys, urllib.error, urllib.request
asked = json.load(sys.stdin)
body = asked["body"].encode() or None
request = urllib.request.Request(asked["url"], body, asked["headers"], method=asked["method"])
try:
    with urllib.request.urlopen(request, timeout=20) as answer:
        print(answer.status, answer.read().decode(), sep="\\n")
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode(), sep="\\n")
except OSError:
    print(0)
"""
