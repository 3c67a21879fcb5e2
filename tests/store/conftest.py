"""A migrated mirror of each engine for every test of the store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from syncd.store.session import Engine, open_engine


@pytest.fixture
def engine(migrated_url: str) -> Iterator[Engine]:
    opened = open_engine(migrated_url)
    yield opened
    opened.dispose()
