"""The file lock beside an SQLite mirror: while a process lives that works on it, no other one gets it.

The system lets go of it with the process, however that ends, so the name in the file tells who held it last: whoever
gets the lock knows that one gone, and need not wait until its hold in the mirror has run out. A mirror in Postgres has
no place beside it; there the hold alone counts.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from sqlalchemy.engine import Engine

MODE = 0o600


class FileLock:
    def __init__(self, engine: Engine) -> None:
        name = engine.url.database
        on_disk = engine.dialect.name == "sqlite" and name and name != ":memory:"
        self._path = Path(f"{name}.lock") if on_disk else None
        self._file: int | None = None
        self.before = ""

    def take(self, who: str) -> bool:
        """False while another process has it. `before` is then who had it last, or nothing if they left it in order.

        A place where no lock can be had keeps nobody from working: the hold in the mirror is still there.
        """
        if self._path is None or self._file is not None:
            return True
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE)
        except OSError:
            return True
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        except OSError:
            os.close(file)
            return True
        self._file = file
        self.before = os.read(file, 1000).decode(errors="replace").strip()
        self._write(who)
        return True

    def release(self, *, in_order: bool = True) -> None:
        """Let go. Without a hold of our own (not `in_order`) the name of who had it last stays."""
        if self._file is None:
            return
        self._write("" if in_order else self.before)
        os.close(self._file)
        self._file = None

    def _write(self, who: str) -> None:
        assert self._file is not None
        with contextlib.suppress(OSError):  # without a name the next one waits until the hold has run out
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{who}\n".encode() if who else b"", 0)
