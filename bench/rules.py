"""What rules cost: a pipeline with 1 and with 50 relabel and filter rules, in one run.

In the steady state every series is known and a batch costs a gather, however many rules there are; at first sight each
rule looks at each series once.
"""

from __future__ import annotations

import asyncio
import time

from headrace.exporters import nop
from headrace.pipeline.counters import Counters
from headrace.pipeline.graph import Graph, GraphPlan, PipelinePlan, Planned
from headrace.pipeline.host import Host
from headrace.pipeline.identity import Series
from headrace.pipeline.series import SeriesTable
from headrace.processors import filter as filtering
from headrace.processors import relabel
from headrace.processors.filter_config import FilterConfig
from headrace.testing.batches import make_batch

SERIES = 10_000
BATCHES = 200


def _series() -> list[Series]:
    return [
        Series.of(
            __name__=f"metric_{i % 200}_total",
            instance=f"10.0.0.{i % 250}:9100",
            job="api",
            path=f"/{i}",
            pod=f"p{i % 40}",
        )
        for i in range(SERIES)
    ]


def _plan(rules: int) -> GraphPlan:
    processors = {}
    for i in range(rules):
        if i % 2:
            config = FilterConfig.model_validate(
                {"exclude": [{"match_type": "regexp", "metric_names": [f"unwanted_{i}_.*"]}]}
            )
            processors[f"filter/{i}"] = Planned(filtering.FACTORY, config)
        else:
            rule = {"source_labels": ["pod"], "regex": f"p({i}).*", "target_label": f"label_{i}", "replacement": "x$1"}
            processors[f"relabel/{i}"] = Planned(
                relabel.FACTORY, relabel.RelabelProcessorConfig.model_validate({"relabel_configs": [rule]})
            )
    pipeline = PipelinePlan("metrics", (), tuple(processors), ("nop",))
    return GraphPlan({}, processors, {"nop": Planned(nop.FACTORY, nop.NopConfig())}, (pipeline,))


async def _measure(rules: int) -> tuple[float, float]:
    """Return seconds of CPU for a series at first sight and for a sample in the steady state."""
    host = Host(counters=Counters())
    pipeline = Graph(_plan(rules), host).pipelines["metrics"]
    table = SeriesTable()
    batch = make_batch(_series(), table=table)
    began = time.process_time()
    await pipeline.process(batch)
    first = (time.process_time() - began) / SERIES
    times = []
    for _ in range(BATCHES):
        began = time.process_time()
        await pipeline.process(batch)
        times.append(time.process_time() - began)
    return first, sorted(times)[len(times) // 2] / SERIES


def run() -> dict[str, float]:
    """Measure; the first round of each warms up."""
    out = {}
    for rules in (1, 50):
        asyncio.run(_measure(rules))
        first, steady = asyncio.run(_measure(rules))
        out[f"rules_{rules}_first_sight_us_per_series"] = first * 1e6
        out[f"rules_{rules}_steady_ns_per_sample"] = steady * 1e9
    out["steady_ratio_50_to_1"] = out["rules_50_steady_ns_per_sample"] / out["rules_1_steady_ns_per_sample"]
    return out
