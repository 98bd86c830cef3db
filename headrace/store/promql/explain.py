"""How a query is evaluated: its nodes, what is pushed down into the reading of series, how much that will read.

With `analyze` the query runs, and each node says what it took.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from headrace.store.promql.evaluation import Evaluation
from headrace.store.promql.invariance import is_invariant
from headrace.store.promql.language.ast import Aggregate, Call, MatrixSelector, Subquery, VectorSelector
from headrace.store.promql.language.printer import brief
from headrace.store.promql.pushdown import fused, streaming
from headrace.store.promql.pushdown.plan import is_free
from headrace.store.promql.range_functions import RANGE_FUNCTIONS
from headrace.store.promql.subqueries import inner_grid
from headrace.store.promql.values import Grid, Ranges, Vector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.store.promql.language.ast import Expr
    from headrace.store.promql.values import Value


@dataclass(slots=True)
class Measured:
    """What a node took, the nodes below it included.

    Attributes:
        seconds: On all threads together.
        times: How often it was evaluated: once for each batch, where it is pushed down.
        series: Rows that it gave.
        samples: Samples that were looked at.
        size_bytes: Of its values.
    """

    seconds: float = 0.0
    times: int = 0
    series: int = 0
    samples: int = 0
    size_bytes: int = 0


@dataclass(slots=True)
class Plan:
    """One node of a query.

    Attributes:
        expr: The node.
        how: How it is evaluated, in a few words; empty where that goes without saying.
        series: Series that a selector finds; of other nodes None.
        samples: About how many samples these have in the time that is looked at.
        below: The nodes below it.
        measured: What it took, where it was evaluated.
    """

    expr: Expr
    how: str = ""
    series: int | None = None
    samples: int | None = None
    below: list[Plan] = field(default_factory=list)
    measured: Measured | None = None

    def walk(self) -> Iterator[Plan]:
        """Yield this node and all below it."""
        yield self
        for plan in self.below:
            yield from plan.walk()

    def lines(self, first: str = "", others: str = "") -> Iterator[str]:
        """Yield the tree as text, a line for each node."""
        found = "" if self.series is None else f"{self.series} series, about {self.samples} samples"
        notes = ", ".join(filter(None, (self.how, found, _told(self.measured))))
        yield f"{first}{brief(self.expr)}" + (f"  [{notes}]" if notes else "")
        for plan in self.below:
            last = plan is self.below[-1]
            yield from plan.lines(others + ("└─ " if last else "├─ "), others + ("   " if last else "│  "))


class Explained(Evaluation):
    """An evaluation that can say how it goes about things, and measures each node."""

    measured: dict[int, Measured]
    """What the nodes took, by their ids; evaluations of batches share it."""
    lock: threading.Lock

    def plan(self, expr: Expr, grid: Grid) -> Plan:
        """Return the plan of an expression at some times."""
        plan = Plan(expr, self._how(expr, grid))
        if isinstance(expr, VectorSelector | MatrixSelector):
            plan.series, plan.samples = self._amount(expr, grid)
            return plan
        inner = grid
        if isinstance(expr, Subquery):
            where = self.window_ends(expr.at, expr.offset_ms, grid)
            inner = inner_grid(expr.range_ms, expr.step_ms or self.options.subquery_step_ms, where)
        plan.below = [self.plan(child, inner) for child in expr.children()]
        return plan

    def value(self, expr: Expr, grid: Grid) -> Value:
        """Evaluate any expression, and measure that."""
        began, before = time.perf_counter(), self.count.total
        value = super().value(expr, grid)
        seconds = time.perf_counter() - began
        with self.lock:
            found = self.measured.setdefault(id(expr), Measured())
            found.seconds += seconds
            found.times += 1
            found.samples += self.count.total - before
            if isinstance(value, Vector):
                found.series += len(value)
                found.size_bytes += value.values.nbytes + value.present.nbytes
            elif isinstance(value, Ranges):
                found.series += len(value.labels)
                found.size_bytes += value.times_ms.nbytes + value.values.nbytes
        return value

    def _how(self, expr: Expr, grid: Grid) -> str:
        if grid.size > 1 and expr.type.value == "instant vector" and is_invariant(expr):
            return "once for all steps"
        if isinstance(expr, Aggregate):
            return self._pushed_down(expr, grid)
        if isinstance(expr, Call) and expr.function in RANGE_FUNCTIONS:
            at_once = expr.function in fused.FUNCTIONS and isinstance(expr.args[0], MatrixSelector)
            return "one walk of each series" if at_once else "window by window"
        if isinstance(expr, Subquery):
            return "at steps of its own"
        return ""

    def _pushed_down(self, node: Aggregate, grid: Grid) -> str:
        if node.param is not None and not is_free(node.param):
            return "as its parameter turns out"
        param = None if node.param is None else self._parameter(node.param, grid)
        stream = streaming.planned(self, node, param, grid)
        if stream is None:
            return "gathered"
        return f"pushed down: {len(stream.batches())} batches into {stream.groups} groups"

    def _amount(self, expr: VectorSelector | MatrixSelector, grid: Grid) -> tuple[int | None, int | None]:
        source = self.selection.scanned
        if source is None:
            return None, None
        if isinstance(expr, MatrixSelector):
            selector, back_ms = expr.selector, expr.range_ms
            where = self.window_ends(selector.at, selector.offset_ms, grid)
        else:
            selector, back_ms = expr, self.lookback_ms
            where = self.where(selector.at, selector.offset_ms, grid)[0]
        scan = source.scan(selector.matchers, where.start_ms - back_ms + 1, where.end_ms, self.symbols)
        return len(scan), int(scan.counts().sum())


def explained(run: Explained, expr: Expr, grid: Grid, *, analyze: bool) -> Plan:
    """Return the plan of a query and, with `analyze`, evaluate it and say what each node took.

    Raises:
        ExecutionError: It cannot be evaluated.
    """
    run.measured, run.lock = {}, threading.Lock()
    plan = run.plan(expr, grid)
    if analyze:
        # Parameters that the plan needed are measured again with the rest.
        run.measured.clear()
        with np.errstate(all="ignore"):
            run.result(expr, grid)
        for node in plan.walk():
            node.measured = run.measured.get(id(node.expr))
    return plan


def _told(measured: Measured | None) -> str:
    if measured is None:
        return ""
    times = "" if measured.times == 1 else f" in {measured.times} goes"
    return (
        f"{measured.seconds * 1e3:.2f} ms{times}: {measured.series} series, {measured.samples} samples looked at, "
        f"{measured.size_bytes} bytes"
    )
