"""Queries of one workspace answered from the cache: wholly, or all but the steps that the cache does not have.

A step is reused where nothing has happened to the samples it depends on. Steps do not depend on one another, so that
those evaluated now and those of before are together what one evaluation would give; save annotations, which may be
about several steps at once: where those of the cached steps are not among the ones that have come up again, all is
evaluated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from headrace.store.api.result_cache import Bodies, Entry, Question, ResultCache
from headrace.store.promql.reach import NEVER
from headrace.store.promql.splicing import cut, is_splittable, spliced

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from headrace.store.changes import ChangeLog
    from headrace.store.promql.evaluate import Result
    from headrace.store.promql.reach import Reach

_LEAST_SHARE = 4
"""Where less than this part of the steps is cached, splicing costs more than it saves."""


class Work(NamedTuple):
    """What it takes to answer a question anew.

    Attributes:
        evaluate: Evaluates from one time to another.
        reach: Returns what the steps depend on; called after `evaluate`.
    """

    evaluate: Callable[[int, int], Result]
    reach: Callable[[], Reach]


class _Window(NamedTuple):
    """Times that an entry has, first and last step."""

    first_ms: int
    last_ms: int


class WorkspaceCache:
    """The cache as one workspace sees it.

    Args:
        cache: Of all workspaces.
        changes: The workspace's.
    """

    def __init__(self, cache: ResultCache, changes: ChangeLog) -> None:
        self._cache = cache
        self._changes = changes

    def body(self, question: Question) -> Bodies | None:
        """Return the answer to exactly this question, where it is still right."""
        return self._cache.body(self._changes, question)

    def drop(self) -> None:
        """Forget the workspace."""
        self._cache.drop(self._changes)

    def result(self, question: Question, work: Work) -> tuple[Result, Bodies]:
        """Return what the query yields, and where its answer is to be kept.

        Raises:
            QueryError: From the evaluation.
        """
        version = self._changes.version
        known = self._cache.find(self._changes, question)
        if known is not None and known.result is not None:
            if (known.start_ms, known.end_ms) == (question.start_ms, question.end_ms) and known.is_valid(self._changes):
                self._cache.statistics.hits += 1
                return known.result, self._cache.bodies(question, known)
            found = self._extended(question, known, known.result, work)
            if found is not None:
                self._cache.statistics.partial += 1
                return found, self._keep(question, version, found, known.reach)
        self._cache.statistics.misses += 1
        found = work.evaluate(question.start_ms, question.end_ms)
        return found, self._keep(question, version, found, work.reach())

    def _keep(self, question: Question, version: int, result: Result, reach: Reach) -> Bodies:
        columns = result if is_splittable(result) else None
        entry = Entry(version, question.start_ms, question.end_ms, reach, columns)
        self._cache.put(self._changes, question, entry)
        return self._cache.bodies(question, entry)

    def _extended(self, question: Question, known: Entry, cached: Result, work: Work) -> Result | None:
        """Return what cached steps and those evaluated now are together; None where that is not worth it."""
        window = self._usable(question, known, cached)
        if window is None:
            return None
        step_ms, start_ms = question.step_ms, cached.grid.start_ms
        kept = cut(cached, (window.first_ms - start_ms) // step_ms, (window.last_ms - start_ms) // step_ms)
        missing = list(_missing(question, window))
        noted = {*cached.warnings, *cached.infos}
        # Annotations of steps that are no longer asked for would be left, and those of two parts might be one.
        if not missing or (noted and len(missing) > 1):
            return None if noted else spliced([kept], kept)
        fresh = [work.evaluate(*times) for times in missing]
        like = fresh[-1]
        found = {*like.warnings, *like.infos}
        if not noted <= found or (len(fresh) > 1 and (found or fresh[0].warnings or fresh[0].infos)):
            return None
        if not all(map(is_splittable, fresh)):
            return None
        parts = sorted([kept, *(part for part in fresh if part.grid.size)], key=lambda part: part.grid.start_ms)
        return spliced(parts, like)

    def _usable(self, question: Question, known: Entry, cached: Result) -> _Window | None:
        """Return which steps of an entry are asked for and still right; None where these are few."""
        changed_ms, reach, grid = self._changes.since(known.version), known.reach, cached.grid
        if reach.bounded or reach.pinned_ms >= changed_ms:
            return None
        last = min(grid.end_ms, question.end_ms)
        if reach.ahead_ms != NEVER:
            last = min(last, changed_ms - reach.ahead_ms - 1)
        first = max(grid.start_ms, question.start_ms)
        last = first + (last - first) // question.step_ms * question.step_ms
        asked = (question.end_ms - question.start_ms) // question.step_ms + 1
        reused = (last - first) // question.step_ms + 1
        return _Window(first, last) if reused > 0 and reused * _LEAST_SHARE >= asked else None


def _missing(question: Question, window: _Window) -> Iterator[tuple[int, int]]:
    """Yield the times in front of a window and behind it, each from first to last step."""
    if question.start_ms < window.first_ms:
        yield question.start_ms, window.first_ms - question.step_ms
    if window.last_ms + question.step_ms <= question.end_ms:
        yield window.last_ms + question.step_ms, question.end_ms
