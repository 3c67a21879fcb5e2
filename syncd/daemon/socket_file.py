"""A listening socket that is a file: only who may use the file gets in."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

MODE = 0o660


@contextlib.contextmanager
def socket_file(place: Path) -> Iterator[socket.socket]:
    """A socket at that place, for its owner and group, which is gone again at the end.

    One that a killed process left is replaced. Raises `OSError` where another one listens, or something else lies.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        _clear(place)
        before = os.umask(0o777 & ~MODE)  # never wider, not even for a moment
        try:
            sock.bind(str(place))
        finally:
            os.umask(before)
        sock.listen()
        sock.setblocking(False)
        ours = place.stat().st_ino
        try:
            yield sock
        finally:
            with contextlib.suppress(OSError):
                if place.stat().st_ino == ours:
                    place.unlink()


def _clear(place: Path) -> None:
    try:
        mode = place.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "there is something that is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(place))
        except ConnectionRefusedError:
            place.unlink()
            return
    raise OSError(errno.EADDRINUSE, "another process listens there")
