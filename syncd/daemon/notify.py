"""What systemd is told, and what it asked for (sd_notify(3), sd_watchdog_enabled(3))."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Mapping


class Systemd:
    """The service manager that started this process. Where there is none, nothing is told to anybody."""

    def __init__(self, environ: Mapping[str, str], pid: int) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._pid = pid
        self._status = ""
        self.watchdog_s = _watchdog_s(environ, pid)

    def ready(self, status: str) -> None:
        """Begun, or begun anew after `reloading`."""
        self._status = status
        self._tell("READY=1", f"MAINPID={self._pid}", f"STATUS={status}")

    def status(self, text: str) -> None:
        """One line of how things stand; told when it is another one than before."""
        if text != self._status:
            self._status = text
            self._tell(f"STATUS={text}")

    def reloading(self) -> None:
        # The time is what a Type=notify-reload of systemd 253 tells this reload from an earlier one by.
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def feed(self) -> None:
        if self.watchdog_s is not None:
            self._tell("WATCHDOG=1")

    def stopping(self, status: str) -> None:
        self._tell("STOPPING=1", f"STATUS={status}")

    def extend(self, seconds: float) -> None:
        """Ask for this long before the next word from us, however short the time for stopping is set."""
        self._tell(f"EXTEND_TIMEOUT_USEC={round(seconds * 1_000_000)}")

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        place = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(1.0)  # a manager that takes nothing must not keep us from our work
            sock.connect(place)
            sock.sendall("\n".join(line.replace("\n", " ") for line in lines).encode())


def _watchdog_s(environ: Mapping[str, str], pid: int) -> float | None:
    """How long the watchdog waits for a sign of life, or None: there is none, or it watches another process."""
    text, whose = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not text.isascii() or not text.isdigit() or int(text) == 0 or (whose and whose != str(pid)):
        return None
    return int(text) / 1_000_000
