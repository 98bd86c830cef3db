"""What holds for every processor, for each of ours."""

from __future__ import annotations

from typing import Any, ClassVar

from headrace.processors import batch, cardinality_limit, filter, memory_limiter, relabel  # noqa: A004 -- the module's name
from headrace.testing.processors import ProcessorContract


class TestBatch(ProcessorContract):
    """``batch``."""

    factory = batch.FACTORY


class TestCardinalityLimit(ProcessorContract):
    """``cardinality_limit``, dropping."""

    factory = cardinality_limit.FACTORY
    config: ClassVar[dict[str, Any]] = {"max_series": 1}


class TestFilter(ProcessorContract):
    """``filter``."""

    factory = filter.FACTORY
    config: ClassVar[dict[str, Any]] = {"exclude": [{"metric_names": ["b"]}]}


class TestMemoryLimiter(ProcessorContract):
    """``memory_limiter``."""

    factory = memory_limiter.FACTORY
    config: ClassVar[dict[str, Any]] = {"limit_percentage": 100}


class TestRelabel(ProcessorContract):
    """``relabel``."""

    factory = relabel.FACTORY
    config: ClassVar[dict[str, Any]] = {
        "relabel_configs": [{"source_labels": ["__name__"], "regex": "a", "target_label": "team", "replacement": "x"}]
    }
