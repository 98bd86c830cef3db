"""Send points to pipelines by conditions in OTTL; the Collector's ``routing``.

The entries of the table are asked in order. What one of them matches goes to its pipelines, and with ``action: copy``
the entries below see it as well; what none has moved goes to `default_pipelines`. What depends on the identity of a
series alone is decided once for it; conditions on values are computed on columns.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, model_validator

from headrace.connectors.routing_split import Rule, Splitter
from headrace.pipeline.component import ConnectorFactory, Outcome, Settings
from headrace.pipeline.config import ComponentConfig
from headrace.pipeline.config.refusal import refuse
from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.ottl.compiler import Compiled, compile_condition
from headrace.pipeline.ottl.faults import ErrorMode
from headrace.pipeline.ottl.paths import Context

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.component import Reservation
    from headrace.pipeline.host import Host
    from headrace.pipeline.outlets import Outlets

_CONTEXTS = {"resource": Context.RESOURCE, "metric": Context.METRIC, "datapoint": Context.DATAPOINT}
_ROUTE = re.compile(r"\s*route\(\s*\)\s*(?:where\b(.*))?", re.DOTALL)
_GONE = {"match_once": "the first entry that matches wins; `action: copy` goes on"}


class Action(StrEnum):
    """What happens to points that an entry matches."""

    MOVE = "move"
    COPY = "copy"


class Entry(ComponentConfig):
    """One entry of the table."""

    context: str = "resource"
    """What paths without a prefix belong to: ``resource``, ``metric`` or ``datapoint``. ``request`` is refused: headers
    of a request do not come along with its points."""

    condition: str = ""
    """Which points, in OTTL, such as ``attributes["env"] == "prod"``."""

    statement: str = ""
    """The older form, ``route() where CONDITION``."""

    pipelines: Annotated[tuple[str, ...], Field(min_length=1)]
    """Where they go; all of them get them."""

    action: Action = Action.MOVE
    """``copy`` shows the points to the entries below as well."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.context not in _CONTEXTS:
            reason = "headers do not come along with points" if self.context == "request" else "there is none"
            raise ValueError(f"context {self.context!r} is not supported: {reason} (there: {', '.join(_CONTEXTS)})")
        if bool(self.condition) == bool(self.statement):
            raise ValueError("must have either condition or statement")
        try:
            self.compiled()
        except InvalidInput as error:
            raise ValueError(str(error)) from None
        return self

    def compiled(self) -> Compiled:
        """Return the condition.

        Raises:
            InvalidInput: It is wrong, or not supported.
        """
        text = self.condition
        if self.statement:
            match = _ROUTE.fullmatch(self.statement)
            if match is None:
                raise InvalidInput(f"statement {self.statement!r} is not supported: write route() where CONDITION")
            text = match[1] or "true"
        return compile_condition(text, _CONTEXTS[self.context])


class RoutingConfig(ComponentConfig):
    """Settings of the ``routing`` connector."""

    table: Annotated[tuple[Entry, ...], Field(min_length=1)]
    """Which points go where."""

    default_pipelines: tuple[str, ...] = ()
    """Where the others go; without it they are dropped, and counted as ``not_routed``."""

    error_mode: ErrorMode = ErrorMode.PROPAGATE
    """What happens to a series for which a condition has no value: ``propagate`` drops and counts it, ``ignore`` goes
    on with the next entry, ``silent`` does so without a line in the log."""

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, given: Any) -> Any:
        return refuse(given, _GONE)


class RoutingConnector:
    """Splits batches by destination."""

    optional = False

    def __init__(self, settings: Settings, config: RoutingConfig, outlets: Outlets) -> None:
        self._outlets = outlets
        self._drops = settings.drops
        rules = [Rule(entry.compiled().value, moves=entry.action is Action.MOVE) for entry in config.table]
        self._splitter = Splitter(settings, rules, config.error_mode)
        self._destinations = [*(entry.pipelines for entry in config.table), config.default_pipelines]
        self._all = tuple(dict.fromkeys(name for names in self._destinations for name in names))

    async def start(self, host: Host) -> None:
        """Do nothing: a connector has no life of its own."""

    async def shutdown(self) -> None:
        """Do nothing."""

    def reserve(self, points: int, size_bytes: int) -> Reservation:
        """Grant room in all pipelines that the table names: which of them get something shows only later."""
        return self._outlets.reserve(self._all, points, size_bytes)

    async def deliver(self, batch: MetricBatch) -> Outcome:
        """Send each point to its pipelines.

        Raises:
            Refused: One of them could not take its part.
        """
        self._outlets.consumed(batch)
        outcomes = []
        for number, part in self._splitter.split(batch):
            if self._destinations[number]:
                outcomes.append(await self._outlets.send(self._destinations[number], part))
            else:
                self._drops.add("not_routed", len(part))
        return _joined(len(batch), outcomes)


def _joined(points: int, outcomes: list[Outcome]) -> Outcome:
    """Add up what became of the parts."""
    rejected: dict[str, int] = {}
    for outcome in outcomes:
        for reason, count in outcome.rejected.items():
            rejected[reason] = rejected.get(reason, 0) + count
    return Outcome(
        points,
        rejected,
        next((one.message for one in outcomes if one.message), ""),
        sum(one.rejected_histograms for one in outcomes),
        sum(one.rejected_exemplars for one in outcomes),
        next((one.exemplar_message for one in outcomes if one.exemplar_message), ""),
    )


def _pipelines(config: RoutingConfig) -> Iterator[tuple[tuple[str | int, ...], str]]:
    for number, entry in enumerate(config.table):
        for place, name in enumerate(entry.pipelines):
            yield ("table", number, "pipelines", place), name
    for place, name in enumerate(config.default_pipelines):
        yield ("default_pipelines", place), name


FACTORY = ConnectorFactory(name="routing", config=RoutingConfig, create=RoutingConnector, pipelines=_pipelines)
