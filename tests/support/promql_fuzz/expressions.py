"""Random PromQL expressions of a wanted type, as trees that can be made smaller.

They use what version 3.5 of the peer knows: every operator, modifier, aggregation and function.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from promql_fuzz.data import SPAN_MS

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator, Sequence

Type = Literal["vector", "scalar", "matrix", "string"]


def _words(text: str) -> list[str]:
    return text.split()


OF_VALUES = _words("""
abs ceil floor exp ln log2 log10 sqrt sgn sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh deg rad round
timestamp sort sort_desc absent
""")
DATES = _words("hour minute month year day_of_month day_of_week day_of_year days_in_month")
OF_HISTOGRAMS = _words("histogram_count histogram_sum histogram_avg histogram_stddev histogram_stdvar")
OF_RANGES = _words("""
rate increase delta irate idelta deriv resets changes sum_over_time avg_over_time min_over_time max_over_time
count_over_time last_over_time present_over_time stddev_over_time stdvar_over_time absent_over_time mad_over_time
ts_of_min_over_time ts_of_max_over_time ts_of_last_over_time
""")
AGGREGATIONS = _words("sum avg min max count group stddev stdvar")
ARITHMETIC = _words("+ - * / % ^ atan2")
COMPARISONS = _words("== != > < >= <=")
SETS = _words("and or unless")

_METRICS = (
    ("c_total", 6), ("g", 6), ("small", 5), ("limit", 3), ("one", 2), ("lat_bucket", 2), ("h", 5), ("hg", 2), ("hc", 3),
    ("mix", 3), ("target_info", 2), ("nosuch", 1),
)  # fmt: skip
_SELECTIONS = (
    '{__name__=~"g|small"}',
    '{__name__=~"c_total|limit",job="a"}',
    '{job="a",instance=~"1.*"}',
    '{"utf.8"}',
    '{"utf.8","l.x"!=""}',
    '{__name__=~"h.*"}',
    '{__name__=~"h|mix|g"}',
    'c_total{code!="500"}',
    "{job=~'.+',code='200'}",
    '{__name__=~"c_total|lat_bucket"}',
)
_MATCHERS = (
    'job="a"',
    'job!="b"',
    'instance=~"1|10"',
    'instance!~"0"',
    'code="200"',
    'nosuch=""',
    'env=~"x|"',
    'job=~".*"',
)
_RANGES = ("15s", "17s", "30s", "45s", "1m", "90s", "2m", "5m", "5m", "5m", "10m", "300", "1m30s500ms", "20m")
_LABELS = ("job", "instance", "code", "env", "le", "nosuch", "__name__", '"l.x"', "version")
_NUMBERS = (
    "0",
    "1",
    "2",
    "-1",
    "0.5",
    "3",
    "10",
    "1e3",
    "0.1",
    "-0.5",
    "NaN",
    "Inf",
    "-Inf",
    "1m",
    "0x1F",
    "1e-3",
    "7",
    "100",
    "-0",
)
_SHIFTS = ("15s", "1m", "-1m", "7s", "5m", "-30s", "(30s*2)", "(-1m+15s)", "90", "2m", "10m")


@dataclass(frozen=True, slots=True)
class Node:
    """A part of an expression.

    Attributes:
        type: What it yields.
        parts: Texts around the children, one more than these.
        children: Parts of it.
        simpler: Other texts for the same children that leave something out.
    """

    type: Type
    parts: tuple[str, ...]
    children: tuple[Node, ...] = ()
    simpler: tuple[tuple[str, ...], ...] = ()

    def __str__(self) -> str:
        found = [self.parts[0]]
        for child, part in zip(self.children, self.parts[1:], strict=True):
            found += [str(child), part]
        return "".join(found)

    def walk(self) -> Iterator[Node]:
        """Yield the node and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


def leaf(kind: Type, text: str, *simpler: str) -> Node:
    """Return a node without children."""
    return Node(kind, (text,), (), tuple((one,) for one in simpler))


class Expressions:
    """Makes random expressions.

    Args:
        rng: Chooses.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def any(self, depth: int, *, instant: bool) -> Node:
        """Make the expression of a query."""
        roll = self._rng.random()
        if roll < 0.05:
            return self.scalar(depth)
        if instant and roll < 0.09:
            return self.matrix(depth)
        if instant and roll < 0.1:
            return self._string()
        if roll < 0.12:
            return self._wrong(depth)
        return self.vector(depth)

    def _choose(self, *weighted: tuple[Callable[[int], Node], int]) -> Callable[[int], Node]:
        makers, weights = zip(*weighted, strict=True)
        found: Callable[[int], Node] = self._rng.choices(makers, weights)[0]
        return found

    def _wrong(self, depth: int) -> Node:
        """Make something that is refused, mostly."""
        made = self.vector(depth)
        others: tuple[Callable[[int], Node], ...] = (self.scalar, self.matrix, lambda _: self._string())
        other = self._rng.choice(others)(1)
        places = [node for node in made.walk() if node.children]
        if not places:
            return other
        target = self._rng.choice(places)
        return _replaced(made, target, replace(target, children=(other, *target.children[1:])))

    # -- vectors -----------------------------------------------------------------------------------------------

    def vector(self, depth: int) -> Node:
        """Make an instant vector."""
        if depth <= 0:
            return self.selector(depth)
        return self._choose(
            (self.selector, 5),
            (self._over_range, 12),
            (self._aggregation, 10),
            (self._binary, 12),
            (self._function, 9),
            (self._labels, 3),
            (self._histogram, 5),
            (self._unary, 1),
            (self._paren, 1),
            (self._vector_of_scalar, 1),
            (self._info, 1),
            (self._ranked, 5),
        )(depth - 1)

    def selector(self, _depth: int = 0) -> Node:
        """Make a vector selector, perhaps with modifiers."""
        base = self._selection()
        shown = base + self._modifiers()
        return leaf("vector", shown, *([base] if shown != base else []))

    def _selection(self) -> str:
        if self._rng.random() < 0.2:
            return self._rng.choice(_SELECTIONS)
        names, weights = zip(*_METRICS, strict=True)
        name = self._rng.choices(names, weights)[0]
        if self._rng.random() < 0.7:
            return str(name)
        chosen = self._rng.sample(_MATCHERS, self._rng.choice([1, 1, 2]))
        return f"{name}{{{','.join(chosen)}}}"

    def _modifiers(self) -> str:
        roll = self._rng.random()
        if roll < 0.75:
            return ""
        shift = f" offset {self._rng.choice(_SHIFTS)}"
        at = f" @ {self._at()}"
        if roll < 0.87:
            return shift
        return at if roll < 0.95 else self._rng.choice([shift + at, at + shift])

    def _at(self) -> str:
        if self._rng.random() < 0.5:
            return self._rng.choice(["start()", "end()"])
        return self._rng.choice([str(self._rng.randrange(0, SPAN_MS // 1000)), f"{SPAN_MS / 3000:.3f}", "0", "-10"])

    def matrix(self, depth: int) -> Node:
        """Make a range vector."""
        if depth > 0 and self._rng.random() < 0.25:
            inner = self.vector(depth - 1) if self._rng.random() < 0.9 else self.scalar(depth - 1)
            step = self._rng.choice(["", "30s", "1m", "15s", "13s", "1m"])
            window = self._rng.choice(_RANGES)
            after = self._modifiers()
            tail = f"[{window}:{step}]"
            head, close = ("", "") if not inner.children else ("(", ")")
            return Node(
                "matrix", (head, f"{close}{tail}{after}"), (inner,), ((head, f"{close}{tail}"), ("(", ")[1m:15s]"))
            )
        base, window = self._selection(), self._rng.choice(_RANGES)
        if self._rng.random() < 0.05:
            window = self._rng.choice(["1m+30s", "5m/2", "2*1m", "(1m)", "2^4", "90s%60s", "1m - 30s"])
        after = self._modifiers()
        return leaf("matrix", f"{base}[{window}]{after}", f"{base}[{window}]", f"{base}[5m]{after}", f"{base}[1m]")

    def _over_range(self, depth: int) -> Node:
        matrix = self.matrix(depth)
        roll = self._rng.random()
        if roll < 0.87:
            return Node("vector", (f"{self._rng.choice(OF_RANGES)}(", ")"), (matrix,))
        if roll < 0.92:
            return Node("vector", ("quantile_over_time(", ", ", ")"), (self.scalar(depth - 1), matrix))
        if roll < 0.97:
            return Node("vector", ("predict_linear(", ", ", ")"), (matrix, self.scalar(depth - 1)))
        factors = self._rng.choice(["0.5, 0.3", "0.1, 0.9", "0.01, 0.1", "1, 0.5"])
        return Node("vector", ("double_exponential_smoothing(", f", {factors})"), (matrix,))

    def _function(self, depth: int) -> Node:
        inner = self.vector(depth)
        roll = self._rng.random()
        if roll < 0.65:
            return Node("vector", (f"{self._rng.choice(OF_VALUES)}(", ")"), (inner,))
        if roll < 0.75:
            name = self._rng.choice(DATES)
            return Node("vector", (f"{name}(", ")"), (inner,)) if roll < 0.74 else leaf("vector", f"{name}()")
        if roll < 0.8:
            return Node("vector", ("clamp(", ", ", ", ", ")"), (inner, self.scalar(depth - 1), self.scalar(depth - 1)))
        name = self._rng.choice(["clamp_min", "clamp_max", "round", "round"])
        return Node("vector", (f"{name}(", ", ", ")"), (inner, self.scalar(depth - 1)))

    def _histogram(self, depth: int) -> Node:
        inner = self._buckets(depth) if self._rng.random() < 0.8 else self.vector(depth)
        roll = self._rng.random()
        if roll < 0.45:
            q = (
                self.scalar(0)
                if self._rng.random() < 0.3
                else leaf("scalar", self._rng.choice(["0.5", "0.9", "0", "1", "0.01", "0.999"]))
            )
            return Node("vector", ("histogram_quantile(", ", ", ")"), (q, inner))
        if roll < 0.65:
            bounds = (self.scalar(0), self.scalar(0))
            return Node("vector", ("histogram_fraction(", ", ", ", ", ")"), (*bounds, inner))
        return Node("vector", (f"{self._rng.choice(OF_HISTOGRAMS)}(", ")"), (inner,))

    def _buckets(self, depth: int) -> Node:
        base = leaf(
            "vector",
            self._rng.choice(
                [
                    "lat_bucket",
                    "h",
                    "hc",
                    "hg",
                    "mix",
                    'lat_bucket{job="a"}',
                    '{__name__=~"lat_bucket|h"}',
                    '{__name__=~"h|hc"}',
                ]
            ),
        )
        if depth > 0 and self._rng.random() < 0.6:
            matrix = leaf("matrix", f"{base}[{self._rng.choice(_RANGES)}]")
            base = Node(
                "vector",
                (self._rng.choice(["rate(", "increase(", "delta(", "sum_over_time(", "irate("]), ")"),
                (matrix,),
            )
        if depth > 0 and self._rng.random() < 0.4:
            by = self._rng.choice([" by (le)", " by (le, job)", " without (instance)", ""])
            base = Node("vector", (f"{self._rng.choice(['sum', 'avg', 'max'])}{by} (", ")"), (base,))
        return base

    def _labels(self, depth: int) -> Node:
        inner = self.vector(depth)
        roll = self._rng.random()
        if roll < 0.6:
            target = self._rng.choice(["job", "x", "instance", "__name__", "l.y", "code"])
            replacement = self._rng.choice(["$1", "v-$1", "", "${1}x", "$1x", "fixed", "$$"])
            source = self._rng.choice(["job", "instance", "code", "nosuch", "__name__", "l.x"])
            pattern = (
                self._rng.choice(["(.*)", "(1)(.*)", "", "(.).*", "a|b", "([a-z]+)_total", "("])
                if self._rng.random() < 0.95
                else "x{1"
            )
            return Node(
                "vector", ("label_replace(", f', "{target}", "{replacement}", "{source}", "{pattern}")'), (inner,)
            )
        if roll < 0.85:
            target, glue = self._rng.choice(["job", "x", "__name__", "instance"]), self._rng.choice([",", "", "-"])
            sources = self._rng.sample(["job", "instance", "code", "nosuch", "__name__"], self._rng.randrange(4))
            listed = "".join(f', "{name}"' for name in sources)
            return Node("vector", ("label_join(", f', "{target}", "{glue}"{listed})'), (inner,))
        names = "".join(f', "{name}"' for name in self._rng.sample(["job", "instance", "code", "nosuch"], 2))
        return Node("vector", (self._rng.choice(["sort_by_label(", "sort_by_label_desc("]), f"{names})"), (inner,))

    def _info(self, depth: int) -> Node:
        base = leaf("vector", self._rng.choice(["c_total", "g", "small", "h", "rate(c_total[5m])"]))
        after = self._rng.choice(
            ["", "", ', {version=~".+"}', ', {sdk="go"}', ', {__name__="build_info"}', ', {version="1",nosuch=""}']
        )
        return Node("vector", ("info(", f"{after})"), (base,))

    def _unary(self, depth: int) -> Node:
        return Node("vector", (self._rng.choice(["-", "+", "-"]), ""), (self.vector(depth),))

    def _paren(self, depth: int) -> Node:
        return Node("vector", ("(", ")"), (self.vector(depth),))

    def _vector_of_scalar(self, depth: int) -> Node:
        return Node("vector", ("vector(", ")"), (self.scalar(depth),))

    # -- aggregations and operators ----------------------------------------------------------------------------

    def _grouping(self) -> str:
        roll = self._rng.random()
        if roll < 0.3:
            return ""
        names = ", ".join(self._rng.sample(_LABELS[:6] if roll < 0.9 else _LABELS, self._rng.choice([0, 1, 1, 2])))
        return f" {'by' if roll < 0.75 else 'without'} ({names}) "

    def _aggregation(self, depth: int) -> Node:
        by = self._grouping()
        inner = self.vector(depth)
        if self._rng.random() < 0.1:
            label = self._rng.choice(["v", "job", "x"])
            return Node(
                "vector", (f'count_values{by}("{label}", ', ")"), (inner,), ((f'count_values("{label}", ', ")"),)
            )
        op = self._rng.choice(AGGREGATIONS)
        if self._rng.random() < 0.2:
            return Node("vector", (f"{op}(", f"){by}"), (inner,), ((f"{op}(", ")"),))
        return Node("vector", (f"{op}{by}(", ")"), (inner,), ((f"{op}(", ")"),))

    def _ranked(self, depth: int) -> Node:
        by = self._grouping()
        op = self._rng.choice(["topk", "bottomk", "quantile", "limitk", "limit_ratio"])
        simple = {
            "quantile": ["0.5", "0.9", "0", "1", "-1", "2"],
            "limit_ratio": ["0.5", "-0.5", "0.1", "1.5", "-2", "0"],
        }
        choices = simple.get(op, ["1", "2", "3", "5", "0", "-1", "2.7"])
        amount = self.scalar(depth - 1) if self._rng.random() < 0.2 else leaf("scalar", self._rng.choice(choices))
        return Node("vector", (f"{op}{by}(", ", ", ")"), (amount, self.vector(depth)), ((f"{op}(", ", ", ")"),))

    def _binary(self, depth: int) -> Node:
        roll = self._rng.random()
        if roll < 0.3:
            return self._with_scalar(depth)
        one, other = self.vector(depth), self.vector(depth - self._rng.choice([0, 0, 1]))
        if self._rng.random() < 0.15:
            other = one
        if roll < 0.5:
            return self._joined(one, self._rng.choice(SETS), self._matching(), other)
        if roll < 0.75:
            op = self._rng.choice(COMPARISONS) + self._rng.choice(["", "", " bool"])
        else:
            op = self._rng.choice(ARITHMETIC)
        matching = self._matching()
        if self._rng.random() < 0.45:
            include = ", ".join(
                self._rng.sample(("env", "version", "code", "nosuch", "instance"), self._rng.choice([0, 0, 1]))
            )
            matching = matching or " on (job, instance)"
            matching += f" {self._rng.choice(['group_left', 'group_right'])} ({include})"
        return self._joined(one, op, matching, other)

    def _matching(self) -> str:
        return self._rng.choice(
            [
                "",
                "",
                " on (job, instance)",
                " on (job, instance)",
                " on (job)",
                " ignoring (code)",
                " ignoring (code, env)",
                " on ()",
                " ignoring ()",
                " ignoring (le, code, version, sdk, env)",
                " on (instance)",
            ]
        )

    def _with_scalar(self, depth: int) -> Node:
        roll = self._rng.random()
        op = (
            self._rng.choice(COMPARISONS) + self._rng.choice(["", " bool"])
            if roll < 0.4
            else self._rng.choice(ARITHMETIC)
        )
        pair = [self.vector(depth), self.scalar(depth - 1)]
        self._rng.shuffle(pair)
        return self._joined(pair[0], op, "", pair[1])

    def _joined(self, one: Node, op: str, matching: str, other: Node) -> Node:
        middle = f" {op}{matching} "
        plain = f" {op} "
        opens = [("(", ")") if self._rng.random() < 0.7 and node.children else ("", "") for node in (one, other)]
        parts = (opens[0][0], f"{opens[0][1]}{middle}{opens[1][0]}", opens[1][1])
        bare = (opens[0][0], f"{opens[0][1]}{plain}{opens[1][0]}", opens[1][1])
        kind: Type = "scalar" if one.type == other.type == "scalar" else "vector"
        return Node(kind, parts, (one, other), () if middle == plain else (bare,))

    # -- scalars and strings -----------------------------------------------------------------------------------

    def scalar(self, depth: int) -> Node:
        """Make a scalar."""
        roll = self._rng.random()
        if depth <= 0 or roll < 0.6:
            return leaf("scalar", self._rng.choice(_NUMBERS) if roll < 0.9 else self._rng.choice(["time()", "pi()"]))
        if roll < 0.75:
            return Node("scalar", ("scalar(", ")"), (self._scalar_source(depth - 1),))
        if roll < 0.8:
            return Node("scalar", (self._rng.choice(["-", "+"]), ""), (self.scalar(depth - 1),))
        if roll < 0.85:
            return Node("scalar", ("(", ")"), (self.scalar(depth - 1),))
        op = f"{self._rng.choice(COMPARISONS)} bool" if roll < 0.9 else self._rng.choice(ARITHMETIC)
        return self._joined(self.scalar(depth - 1), op, "", self.scalar(depth - 1))

    def _scalar_source(self, depth: int) -> Node:
        if self._rng.random() < 0.5:
            return Node("vector", (f"{self._rng.choice(AGGREGATIONS)}(", ")"), (self.vector(depth),))
        return leaf(
            "vector", self._rng.choice(['g{job="a",instance="0"}', "one", "small", 'limit{job="b"}', "vector(5)"])
        )

    def _string(self) -> Node:
        return leaf("string", self._rng.choice(['"a string"', "'it\\'s'", "`raw\\n`", '""', '"\\u2603"']))


# -- making smaller ------------------------------------------------------------------------------------------------

_LEAVES: dict[str, Sequence[str]] = {
    "vector": ("g", "small", "c_total", "h", "one"),
    "scalar": ("1", "0.5"),
    "matrix": ("g[5m]", "c_total[5m]", "h[5m]"),
    "string": ('""',),
}


def smaller(root: Node) -> Iterator[Node]:
    """Yield expressions of the same type that are a step smaller, the smallest first."""
    for node in root.walk():
        below = [other for other in node.walk() if other is not node and other.type == node.type]
        for other in sorted(below, key=lambda one: len(str(one))):
            yield _replaced(root, node, other)
        for parts in node.simpler:
            yield _replaced(root, node, replace(node, parts=parts, simpler=()))
        for text in _LEAVES[node.type]:
            if len(text) < len(str(node)):
                yield _replaced(root, node, leaf(node.type, text))


def _replaced(root: Node, target: Node, other: Node) -> Node:
    if root is target:
        return other
    if not any(target is node for child in root.children for node in child.walk()):
        return root
    return replace(root, children=tuple(_replaced(child, target, other) for child in root.children))
