"""The ``store`` exporter: what its settings mean to the store."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from headrace.exporters.store import QueryConfig, StoreConfig, StoreExporter
from headrace.store.promql.features import FEATURES
from headrace.testing.batches import make_settings

if TYPE_CHECKING:
    from pathlib import Path


def test_settings_reach_the_engines(tmp_path: Path) -> None:
    """Each setting arrives under its own name, and no other."""
    config = StoreConfig(
        directory=str(tmp_path),
        retention=timedelta(days=3),
        retention_size=10 << 20,
        out_of_order_time_window=timedelta(minutes=7),
        max_future=timedelta(minutes=2),
    )
    options = StoreExporter(make_settings("store"), config).store.options.engine

    assert options.retention_ms == 3 * 86_400_000
    assert options.retention_bytes == 10 << 20
    assert options.out_of_order_ms == 7 * 60_000
    assert options.max_future_ms == 2 * 60_000


def test_blocks_are_kept_however_large_by_default(tmp_path: Path) -> None:
    """Nothing is removed for its size unless a size is set."""
    options = StoreExporter(make_settings("store"), StoreConfig(directory=str(tmp_path))).store.options.engine
    assert options.retention_bytes == 0


def test_features_of_the_language_are_named_as_in_prometheus() -> None:
    """All names are taken; one that there is not is refused with what was probably meant."""
    assert QueryConfig(enable_features=tuple(FEATURES)).enable_features
    with pytest.raises(ValidationError, match="no feature 'promql-per-step-stat', did you mean 'promql-per-step-st"):
        QueryConfig(enable_features=("promql-per-step-stat",))
