"""The filter, against a plain model."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
from pydantic import ValidationError

from headrace.pipeline.identity import Form, Kind, MetricType, Series
from headrace.processors.filter import FilterProcessor, Rules
from headrace.processors.filter_config import FilterConfig
from headrace.testing.batches import make_settings

SERIES = 100_000
NAMES = ["up", "http_requests_total", "http_errors_total", "go_goroutines", "node_cpu_seconds_total"]
VALUES = ["", "a", "b", "prod", "prod-eu", "dev"]


def make(**config: Any) -> FilterProcessor:
    return FilterProcessor(Rules(make_settings("filter"), FilterConfig(**config)))


def model(config: FilterConfig, series: Series) -> bool:
    """Say whether a series passes, the slow and plain way."""

    def text_fits(regexp: bool, wanted: str, text: str) -> bool:
        return re.fullmatch(wanted, text) is not None if regexp else wanted == text

    def fits(entry: Any) -> bool:
        regexp = entry.match_type == "regexp"
        labels = dict(series.labels)
        names = not entry.metric_names or any(text_fits(regexp, one, labels["__name__"]) for one in entry.metric_names)
        types = not entry.types or series.kind.type.name.lower() in entry.types
        return names and types and all(text_fits(regexp, v, labels.get(k, "")) for k, v in entry.labels.items())

    included = not config.include or any(map(fits, config.include))
    return included and not any(map(fits, config.exclude))


CONFIGS = [
    {"include": [{"metric_names": ["up", "go_goroutines"]}]},
    {"exclude": [{"match_type": "regexp", "metric_names": ["http_.*"]}]},
    {
        "include": [{"match_type": "regexp", "metric_names": [".*_total"]}, {"labels": {"env": "prod"}}],
        "exclude": [{"match_type": "regexp", "labels": {"zone": "|a"}}, {"types": ["gauge"]}],
    },
    {"include": [{"types": ["counter", "unknown"], "labels": {"env": "", "zone": "b"}}]},
]


def test_against_the_model() -> None:
    """On 100,000 random series there is no difference."""
    generator = random.Random(3)
    types = [MetricType.COUNTER, MetricType.GAUGE, MetricType.UNKNOWN]
    different = passed = 0
    configs = [FilterConfig(**config) for config in CONFIGS]  # type: ignore[arg-type]
    filters = [FilterProcessor(Rules(make_settings("filter"), config)) for config in configs]
    for i in range(SERIES):
        labels = {
            "__name__": generator.choice(NAMES),
            "env": generator.choice(VALUES),
            "zone": generator.choice(VALUES),
        }
        series = Series(Series.of(labels, id=str(i)).labels, Form.OTLP, Kind(generator.choice(types)))
        which = i % len(configs)
        admitted = filters[which].admit(series)
        assert admitted is None or admitted is series
        different += (admitted is not None) != model(configs[which], series)
        passed += admitted is not None
    assert different == 0
    assert SERIES // 10 < passed < SERIES


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({}, "must have include or exclude, metric_conditions or metrics"),
        ({"include": [{}]}, "must name metric_names, labels or types"),
        ({"include": [{"types": ["counters"]}]}, "there is no metric type 'counters'"),
        ({"include": [{"match_type": "regexp", "metric_names": ["("]}]}, "missing closing \\)"),
        ({"include": [{"match_type": "glob", "metric_names": ["a"]}]}, "match_type"),
    ],
)
def test_validation(config: dict[str, Any], why: str) -> None:
    """What cannot mean anything is refused."""
    with pytest.raises(ValidationError, match=why):
        FilterConfig(**config)
