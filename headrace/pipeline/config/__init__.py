"""Configuration: sources, composition, models and faults with their places."""

from headrace.pipeline.config.durations import format_duration, parse_duration, parse_size
from headrace.pipeline.config.model import (
    ByteSize,
    ComponentConfig,
    Duration,
    NonNegativeDuration,
    PositiveDuration,
    Secret,
)

__all__ = [
    "ByteSize",
    "ComponentConfig",
    "Duration",
    "NonNegativeDuration",
    "PositiveDuration",
    "Secret",
    "format_duration",
    "parse_duration",
    "parse_size",
]
