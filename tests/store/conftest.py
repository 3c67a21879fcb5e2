"""A migrated mirror of each engine for every test of the store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from syncd.store.session import Engine
from tests.world import hasty


@pytest.fixture
def engine(migrated_url: str) -> Iterator[Engine]:
    opened = hasty(migrated_url)
    yield opened
    opened.dispose()
