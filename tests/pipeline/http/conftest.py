"""The listeners of one test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from http_lab import Lab

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    made = Lab()
    yield made
    await made.listeners.shutdown(0.1)
