"""A real headless Chromium, driven from a thread of its own: its driver runs an event loop, and so do the tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

PROGRAM = Path(os.environ.get("TEST_CHROMIUM", "/usr/bin/chromium"))
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
MISSING = f"there is no Chromium at {PROGRAM}: apt-get install chromium"


class Chromium:
    """One browser for many tests. `look` gives each its own empty profile."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="chromium")
        self._thread.submit(self._start).result(60)

    def _start(self) -> None:
        from playwright.sync_api import sync_playwright

        self._driver = sync_playwright().start()
        self._browser = self._driver.chromium.launch(executable_path=PROGRAM, args=list(FLAGS))

    def look(self, work: Callable[[Any], T], **about: Any) -> T:
        """Do something with a new page in an empty profile. `about` is for the profile: `color_scheme="dark"`."""

        def looking() -> T:
            profile = self._browser.new_context(**about)
            profile.set_default_timeout(60_000)
            try:
                return work(profile.new_page())
            finally:
                profile.close()

        return self._thread.submit(looking).result(120)

    def close(self) -> None:
        def stop() -> None:
            self._browser.close()
            self._driver.stop()

        self._thread.submit(stop).result(60)
        self._thread.shutdown()


@contextmanager
def started() -> Iterator[Chromium]:
    """The browser of this machine. Where there is none a test is skipped and says so; in CI it fails."""
    if not PROGRAM.exists():
        if os.environ.get("CI"):
            pytest.fail(MISSING, pytrace=False)
        pytest.skip(MISSING)
    browser = Chromium()
    try:
        yield browser
    finally:
        browser.close()
