"""Keeps one private machine, and clears it away: when its time is up, when it ends, or when whoever asked is gone.

    keeper.py SECONDS PAYLOAD [SOURCE:TARGET…]

Prints the process id of the private init (as seen from here), then waits for the end of its standard input. Whatever
ends it, no process, mount, control group or folder stays. Needs nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

NAMESPACES = ("--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc", "--net", "--cgroup")
BOOT_S = 20.0


def groups() -> Path:
    """Where control groups of the second version are mounted."""
    unified = Path("/sys/fs/cgroup/unified")
    return unified if unified.is_dir() else Path("/sys/fs/cgroup")


def main(seconds: float, arguments: list[str]) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    until = time.monotonic() + seconds
    group = groups() / f"syncd-test-{os.getpid()}"
    scratch = Path(tempfile.mkdtemp(prefix="syncd-machine-"))
    group.mkdir()
    try:
        with tempfile.TemporaryFile() as said:
            child = _begin(group, scratch, arguments, said)
            try:
                pid = _init_of(child)
                if pid is None:
                    child.wait()
                    said.seek(0)
                    sys.stderr.write(said.read().decode(errors="replace") or "the private machine ended at once\n")
                    return 1
                sys.stdout.write(f"{pid}\n")
                sys.stdout.flush()
                _wait(child, until)
            finally:
                child.kill()
                child.wait()
    finally:
        _clear(group, scratch)
    return 0


def _begin(group: Path, scratch: Path, arguments: list[str], said: IO[bytes]) -> subprocess.Popen[bytes]:
    def inside() -> None:
        (group / "cgroup.procs").write_text(str(os.getpid()))
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: a keeper that is killed takes all with it

    script = str(Path(__file__).with_name("boot.sh"))
    return subprocess.Popen(
        ["unshare", *NAMESPACES, "bash", script, str(scratch), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=said,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=inside,  # noqa: PLW1509  one thread
    )


def _init_of(child: subprocess.Popen[bytes]) -> int | None:
    """The process that became systemd; None if there is none in time."""
    until = time.monotonic() + BOOT_S
    while time.monotonic() < until and child.poll() is None:
        with contextlib.suppress(OSError, LookupError):
            pid = int(Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()[0])
            if Path(f"/proc/{pid}/comm").read_text().strip() == "systemd":
                return pid
        time.sleep(0.02)
    return None


def _wait(child: subprocess.Popen[bytes], until: float) -> None:
    while child.poll() is None and (left := until - time.monotonic()) > 0:
        ready, _, _ = select.select([sys.stdin], [], [], min(left, 0.1))
        if ready and not os.read(sys.stdin.fileno(), 1024):
            return


def _clear(group: Path, scratch: Path) -> None:
    with contextlib.suppress(OSError):
        (group / "cgroup.kill").write_text("1")
    until = time.monotonic() + 10
    while group.exists() and time.monotonic() < until:
        for folder in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()
        try:
            group.rmdir()
        except OSError:
            time.sleep(0.05)
    with contextlib.suppress(OSError):
        scratch.rmdir()


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
