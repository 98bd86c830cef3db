"""What goes from one to the next of several processors that are fused: computed again, and only for taps."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from headrace.pipeline.chain import SeriesChain, Stage
from headrace.pipeline.counters import Counters, Drops

if TYPE_CHECKING:
    from collections.abc import Sequence


class Inner(NamedTuple):
    """An edge between two fused processors.

    Attributes:
        edge: Its name.
        chain: The processors in front of it; what they drop is counted nowhere.
    """

    edge: str
    chain: SeriesChain


def inner_edges(edges: Sequence[str], processor: object) -> list[Inner]:
    """Return the edges inside a step.

    Args:
        edges: One for each of its processors.
        processor: What the step runs.
    """
    if not isinstance(processor, SeriesChain):
        return []
    drops = Drops(Counters(), "")
    stages = [Stage(stage.processor, drops, stage.reason) for stage in processor.stages]
    return [Inner(edge, SeriesChain(stages[: number + 1])) for number, edge in enumerate(edges[:-1])]
