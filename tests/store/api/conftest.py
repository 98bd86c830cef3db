"""The API of one test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from api_lab import ApiLab

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def api() -> AsyncIterator[ApiLab]:
    made = ApiLab()
    await made.start()
    yield made
    await made.close()
