"""The engine of one workspace, an operation a module; `Engine` is what the rest of the program knows."""

from headrace.store.engine.engine import Engine
from headrace.store.engine.options import EngineOptions
from headrace.store.engine.statistics import EngineStatistics

__all__ = ["Engine", "EngineOptions", "EngineStatistics"]
