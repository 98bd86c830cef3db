"""What the HTTP API asks of the store and of PromQL; protocols, so that it is tested without either.

`headrace.store.api.promql` fulfils `QueryService` with the real engine. All methods run on threads of the `QueryPool`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from headrace.store.api.json_writer import Piece
    from headrace.store.api.result_cache import Bodies
    from headrace.store.api.reuse import WorkspaceCache
    from headrace.store.api.selection import Selection
    from headrace.store.api.ticket import Ticket
    from headrace.store.cardinality import Cardinality
    from headrace.store.labels import LabelTable
    from headrace.store.matchers import Matcher


@dataclass(frozen=True, slots=True)
class QueryOptions:
    """What a request says about how to answer it.

    Attributes:
        ticket: Deadline and cancel flag; long work asks it every few milliseconds.
        limit: Series in the answer; 0 for all.
        lookback_ms: How far back a sample counts as present; None for the engine's default.
        statistics: Which ones are wanted: none, some, or also those of each step.
        fresh: Whether results of before must not be used.
        explain: Answer how the query is evaluated, with ``analyze`` what that took, instead of its result.
    """

    ticket: Ticket
    limit: int = 0
    lookback_ms: int | None = None
    statistics: Literal["", "true", "all"] = ""
    fresh: bool = False
    explain: Literal["", "plan", "analyze"] = ""


@dataclass(slots=True)
class Answer:
    """A query's result, ready to send.

    Attributes:
        kind: ``matrix``, ``vector``, ``scalar`` or ``string``.
        result: JSON, or its beginning where it is long.
        warnings: Annotations, without order.
        infos: Lesser annotations.
        stats: What the parameter ``stats`` asks for: samples and seconds by the names of the API.
        rest: What goes on where a long result stops; written while it is asked for.
        bodies: Where the whole answer may be kept.
    """

    kind: str
    result: bytes
    warnings: Sequence[str] = ()
    infos: Sequence[str] = ()
    stats: dict[str, Any] = field(default_factory=dict)
    rest: Iterator[Piece] | None = None
    bodies: Bodies | None = None


class QueryService(Protocol):
    """Evaluates PromQL over one workspace.

    Raises, from both methods:
        ApiError: ``bad_data`` for a query that does not parse, ``execution``, ``timeout`` or ``canceled``.
    """

    def instant(self, query: str, time_ms: int, options: QueryOptions) -> Answer:
        """Evaluate at one time."""

    def range(self, query: str, start_ms: int, end_ms: int, step_ms: int, options: QueryOptions) -> Answer:
        """Evaluate at each step from `start_ms` to `end_ms`, both included."""


@dataclass(frozen=True, slots=True)
class HeadFacts:
    """A workspace's head.

    Attributes:
        series: Series known, those included that only blocks have samples of.
        chunks: Chunks in memory.
        min_ms: Oldest time in memory.
        max_ms: Newest time.
    """

    series: int
    chunks: int
    min_ms: int
    max_ms: int


@dataclass(frozen=True, slots=True)
class BlockFacts:
    """A block on disk.

    Attributes:
        number: The workspace has one block of it.
        min_ms: Oldest time.
        max_ms: Newest time.
        samples: Count of samples.
        series: Count of series.
        level: How often its samples were merged into a larger block.
        sources: Numbers of the blocks that it was merged from.
    """

    number: int
    min_ms: int
    max_ms: int
    samples: int
    series: int
    level: int = 0
    sources: Sequence[int] = ()


class Exemplar(NamedTuple):
    """A value that stands for others, with what tells where it comes from, such as a trace id."""

    time_ms: int
    value: float
    labels: Mapping[str, str]


class SeriesIndex(Protocol):
    """Finds series of one workspace.

    Times are milliseconds, both ends included; the API passes bounds near those of int64 for "ever".

    Raises, from all methods:
        StoreError: The answer could not be read; the text goes to the client.
    """

    def label_names(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Sequence[str]:
        """Return the label names of the matching series, sorted."""

    def label_values(self, name: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Sequence[str]:
        """Return the values that label `name` has among the matching series, sorted."""

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> LabelTable:
        """Return the matching series that have samples in the time."""

    def exemplars(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int
    ) -> Sequence[tuple[Mapping[str, str], Sequence[Exemplar]]]:
        """Return the matching series that have exemplars in the time, with these in order of time."""

    def metadata(self) -> Mapping[str, Sequence[Mapping[str, str]]]:
        """Return ``type``, ``unit`` and ``help`` by metric family; several where sources disagree."""

    def cardinality(self, limit: int) -> tuple[HeadFacts, Cardinality]:
        """Return what the series are made of, `limit` entries of each kind."""

    def samples(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Selection:
        """Return the samples and native histograms of the matching series."""

    def blocks(self) -> Sequence[BlockFacts]:
        """Return the blocks on disk, oldest first."""


@dataclass(frozen=True, slots=True)
class Backend:
    """One workspace as the API sees it.

    Attributes:
        index: Finds series.
        queries: Evaluates.
        cache: Knows answers of before; None where none are kept.
    """

    index: SeriesIndex
    queries: QueryService
    cache: WorkspaceCache | None = None


FindBackend = Callable[[str], Backend | None]
"""Returns the workspace with an id, None where there is none."""

SelectorParser = Callable[[str], Sequence["Matcher"]]
"""Parses a series selector; raises an error whose text is Prometheus' (``1:3: parse error: ...``)."""
