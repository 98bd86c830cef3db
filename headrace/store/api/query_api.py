"""The endpoints that take PromQL: ``query``, ``query_range`` and, for its selectors alone, ``query_exemplars``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

from headrace.store.api import exemplars, params
from headrace.store.api.backend import QueryOptions
from headrace.store.api.envelope import encode
from headrace.store.api.errors import ApiError, invalid_parameter
from headrace.store.api.pool import About
from headrace.store.api.quoting import go_quote
from headrace.store.api.reply import Reply
from headrace.store.api.result_cache import Question

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.pipeline.http.form import Form
    from headrace.pipeline.http.request import Request
    from headrace.store.api.backend import Answer, Backend
    from headrace.store.api.pool import QueryPool
    from headrace.store.api.ticket import Ticket

_MAX_STEPS = 11_000
_FRESH = "nocache"
"""Parameter of those who want no results of before, as in VictoriaMetrics."""
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})


class _Asked(NamedTuple):
    """A request, read."""

    request: Request
    form: Form
    backend: Backend
    question: Question
    timeout_s: float | None


class QueryApi:
    """Handlers of queries.

    Args:
        backend: Returns the workspace that a request is about, or raises.
        pool: Threads to query on.
        clock_ns: Unix time in nanoseconds.
    """

    def __init__(self, backend: Callable[[Request], Backend], pool: QueryPool, clock_ns: Callable[[], int]) -> None:
        self._backend = backend
        self._pool = pool
        self._clock_ns = clock_ns

    async def query(self, request: Request) -> Reply:
        """Evaluate at one time."""
        form = await request.form()
        backend = self._backend(request)
        limit = params.limit_parameter(form)
        at_ms = params.time_parameter(form, "time", self._clock_ns()) // params.MS
        timeout_s = params.timeout_parameter(form)
        lookback_ms = params.lookback_parameter(form)
        question = Question(params.go_text(form.get("query")), at_ms, at_ms, 0, lookback_ms, limit)
        return await self._answer(_Asked(request, form, backend, question, timeout_s))

    async def query_range(self, request: Request) -> Reply:
        """Evaluate at each step."""
        form = await request.form()
        backend = self._backend(request)
        limit = params.limit_parameter(form)
        start_ms, end_ms, step_ms = (time // params.MS for time in _steps(form))
        timeout_s = params.timeout_parameter(form)
        lookback_ms = params.lookback_parameter(form)
        question = Question(params.go_text(form.get("query")), start_ms, end_ms, step_ms, lookback_ms, limit)
        return await self._answer(_Asked(request, form, backend, question, timeout_s))

    async def _answer(self, asked: _Asked) -> Reply:
        question, queries = asked.question, asked.backend.queries
        stats = asked.form.get("stats")
        fresh = asked.form.get(_FRESH) in _TRUE
        explain = _explain(asked.form)
        if asked.backend.cache is not None and not fresh and not stats and not explain:
            bodies = asked.backend.cache.body(question)
            if bodies is not None:
                return Reply(bodies=bodies)
        options = partial(
            QueryOptions,
            limit=question.limit,
            lookback_ms=question.lookback_ms,
            statistics="all" if stats == "all" else "true" if stats else "",
            fresh=fresh,
            explain=explain,
        )

        def evaluate(ticket: Ticket) -> Answer:
            query, start_ms, end_ms, step_ms = question[:4]
            if not step_ms:
                return queries.instant(query, start_ms, options(ticket))
            return queries.range(query, start_ms, end_ms, step_ms, options(ticket))

        about = About(*question[:4])
        return _reply(await self._pool.run(evaluate, asked.request, asked.timeout_s, about), stats=bool(stats))

    async def query_exemplars(self, request: Request) -> Reply:
        """Return the exemplars of the series that the selectors in a query match."""
        form = await request.form()
        backend = self._backend(request)
        start_ms, end_ms = params.window_parameters(form)
        if end_ms < start_ms:
            raise ApiError("bad_data", "end timestamp must not be before start timestamp")
        query = params.go_text(form.get("query"))

        def find(ticket: Ticket) -> bytes:
            selectors = exemplars.selectors_of(query)
            return exemplars.answer(backend.index, selectors, start_ms, end_ms, ticket) if selectors else b""

        return Reply(await self._pool.run(find, request))


def _explain(form: Form) -> Literal["", "plan", "analyze"]:
    match text := form.get("explain"):
        case "" | "plan" | "analyze":
            return text
    raise invalid_parameter("explain", f"must be plan or analyze, got {go_quote(params.go_text(text))}")


def _steps(form: Form) -> tuple[int, int, int]:
    """Return start, end and step in nanoseconds."""
    start_ns = params.required_time(form, "start")
    end_ns = params.required_time(form, "end")
    if end_ns < start_ns:
        raise invalid_parameter("end", "end timestamp must not be before start time")
    try:
        step_ns = params.duration_ns(form.get("step"))
    except ValueError as error:
        raise invalid_parameter("step", str(error)) from None
    if step_ns < params.MS:
        why = "zero or negative query resolution step widths are not accepted. Try a positive integer"
        raise invalid_parameter("step", why)
    if (end_ns - start_ns) // step_ns > _MAX_STEPS:
        raise ApiError(
            "bad_data",
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution "
            "(?step=XX)",
        )
    return start_ns, end_ns, step_ns


def _reply(answer: Answer, *, stats: bool) -> Reply:
    end = (b',"stats":' + encode(answer.stats) if stats else b"") + b"}"
    data = b'{"resultType":"' + answer.kind.encode("ascii") + b'","result":' + answer.result
    return Reply(data, answer.warnings, answer.infos, answer.rest, end, answer.bodies)
