"""Checks of connectors: used on both sides, named like nothing else, without a cycle, and leading to what they name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.pipeline.config.faults import hint
from headrace.pipeline.wiring import pipelines_behind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from headrace.pipeline.config.faults import Path
    from headrace.pipeline.graph import PipelinePlan, Planned


def connector_faults(
    connectors: Mapping[str, Planned | None],
    components: Mapping[str, Mapping[str, Planned | None]],
    pipelines: Sequence[PipelinePlan],
) -> Iterator[tuple[Path, str]]:
    """Yield the place and the words of each mistake.

    Args:
        connectors: Connectors by id.
        components: All components by kind and id.
        pipelines: All pipelines.
    """
    for name, planned in connectors.items():
        for kind in ("receivers", "exporters"):
            if name in components[kind]:
                yield ("connectors", name), f"is an id in {kind} as well: call one of them {name}/2"
        yield from _ends(name, pipelines)
        if planned is not None:
            yield from _named(name, planned, pipelines)
    cycle = find_cycle(connectors, pipelines)
    if cycle:
        yield ("service", "pipelines", cycle[0]), f"leads into itself: {' -> '.join(cycle)}"


def _ends(name: str, pipelines: Sequence[PipelinePlan]) -> Iterator[tuple[Path, str]]:
    into = [one.id for one in pipelines if name in one.exporters]
    out = [one.id for one in pipelines if name in one.receivers]
    if into and not out:
        yield ("connectors", name), f"is an exporter of {', '.join(into)} and a receiver of no pipeline"
    if out and not into:
        yield ("connectors", name), f"is a receiver of {', '.join(out)} and an exporter of no pipeline"


def _named(name: str, planned: Planned, pipelines: Sequence[PipelinePlan]) -> Iterator[tuple[Path, str]]:
    known = {one.id: one for one in pipelines}
    for path, pipeline in planned.factory.pipelines(planned.config):
        place = ("connectors", name, *path)
        if pipeline not in known:
            yield place, f"there is no pipeline {pipeline!r}{hint(pipeline, known)}"
        elif name not in known[pipeline].receivers:
            yield place, f"pipeline {pipeline!r} does not have {name!r} among its receivers"


def find_cycle(connectors: Mapping[str, object], pipelines: Sequence[PipelinePlan]) -> list[str]:
    """Return the ids of pipelines that lead into each other, the first one again at the end; empty without a cycle."""
    done: set[str] = set()

    def visit(spec: PipelinePlan, way: list[str]) -> list[str]:
        if spec.id in way:
            return [*way[way.index(spec.id) :], spec.id]
        if spec.id in done:
            return []
        done.add(spec.id)
        for behind in pipelines_behind(spec, pipelines, connectors):
            found = visit(behind, [*way, spec.id])
            if found:
                return found
        return []

    return next((found for spec in pipelines if (found := visit(spec, []))), [])
