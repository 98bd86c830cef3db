"""Texts for a parser of PromQL: random expressions of the whole language, and damaged ones.

What Prometheus 3.5 does not know yet can be left out, so that it can be asked for the right answer.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = [
    "up", "foo", "http_requests_total", "job:rate5m", "sum", "by", "offset", "and", "start", "bottomk", "without",
    "count_values", "quantile", "limitk",
]  # fmt: skip
LABELS = ["job", "le", "by", "on", "and", "__name__", "bool", "group_left", '"a.b"', "'x y'", "`é`", "sum"]
MATCH_LABELS = ["job", "le", "by", "sum", '"a.b"', "'x y'", "bool"]
STRINGS = [
    '"x"',
    '""',
    "'a\\'b'",
    '"\\n\\t\\""',
    "`raw\\n`",
    '"é"',
    '"\\u00e9\\x41\\101"',
    '".*"',
    '"a|b"',
    '"x\\xc3\\xa9"',
]
NUMBERS = [
    "0", "1", "2.5", ".5", "1e3", "0x1F", "0x_1f", "1_000",
    "Inf", "nAn", "010", "08", "1e-7", "5m", "1h30m", "0s", "1e21",
    "123456789012345678901234567890", "1_0.5", "5.", "3ms", "0.1", "1w2d", "1y",
]  # fmt: skip
DURATIONS = ["5m", "1h30m", "30", "1.5", "1d", "300ms", "0x10", "1w", "2y", "90s", "0.0004", "1e3"]
OPERATORS = ["+", "-", "*", "/", "%", "^", "==", "!=", "<", "<=", ">", ">=", "and", "or", "unless", "atan2", "AND"]
NEW_OPERATORS = ["</", ">/"]
AGGREGATIONS = ["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar", "SUM"]
WITH_PARAMETER = ["topk", "bottomk", "quantile", "limitk", "limit_ratio"]
VECTOR_CALLS = [
    "abs",
    "ceil",
    "timestamp",
    "absent",
    "scalar",
    "histogram_sum",
    "nothing",
    "sort_desc",
    "vector",
    "day_of_week",
]
RANGE_CALLS = ["rate", "avg_over_time", "increase", "changes", "absent_over_time", "mad_over_time"]
DAMAGES = [
    "(", ")", "{", "}", "[", "]", ",", "=", "!=", "=~", "!~",
    "!", ":", "@", "#", "# x\n", "\n", "\\", '"', "'", "`", ";", "$",
    "~", "<", ">", "_", "é", "\u2028", "1e", "5mm",
    "1_", "0x", "..", "1.2.3", "5m3y", "1e1e1", "0b1", "1e999", "99999y",
    '"\\q"', '"\\xz1"', '"\\ud800"', '"\\400"', "on", "ignoring", "group_left", "group_right", "bool", "by", "without",
    "offset", "atan2", "start()", "end", "inf", "foo", "rate", "5m",
    "-", "+", "*", "^", "\t", "sum(", "foo{", "\x00", "\x7f",
]  # fmt: skip


class Texts:
    """Makes queries.

    Args:
        seed: Equal seeds make equal texts.
        newest: Whether what Prometheus 3.5 does not know may occur.
    """

    def __init__(self, seed: int, *, newest: bool = False) -> None:
        self._rng = random.Random(seed)
        self._newest = newest
        self._makers: list[Callable[[int], list[str]]] = [
            self._selector, self._selector, self._number, self._string,
            self._binary, self._binary, self._paren, self._unary,
            self._aggregate, self._aggregate, self._call,
            self._range_call, self._other_call, self._subquery, self._postfixed,
        ]  # fmt: skip

    def query(self) -> str:
        """Return an expression that keeps the grammar, though not always the rules of types."""
        return self._joined(self._expression(self._rng.randint(1, 4)))

    def damaged(self) -> str:
        """Return an expression with one to three tokens or characters changed."""
        tokens = self._expression(self._rng.randint(1, 3))
        for _ in range(self._rng.randint(0, 2)):
            self._damage(tokens, DAMAGES)
        text = self._joined(tokens)
        if self._rng.random() < 0.4 or text == "":
            characters = list(text)
            self._damage(characters, [*"(){}[]\"'`\\:=~!@#, \n0123456789.eExXmhsdwy_abrt-+*", "é", "\ufffd"])
            text = "".join(characters)
        return text

    def _damage(self, parts: list[str], others: list[str]) -> None:
        at = self._rng.randrange(len(parts) + 1)
        kind = self._rng.randrange(4)
        if kind == 0:
            parts.insert(at, self._rng.choice(others))
        elif parts and at < len(parts):
            if kind == 1:
                del parts[at]
            elif kind == 2:
                parts[at] = self._rng.choice(others)
            else:
                other = self._rng.randrange(len(parts))
                parts[at], parts[other] = parts[other], parts[at]

    def _joined(self, tokens: list[str]) -> str:
        out = ""
        for token in tokens:
            separate = (
                bool(out) and (out[-1].isalnum() or out[-1] in "_.:") and (token[:1].isalnum() or token[:1] in "_.:")
            )
            out += self._rng.choice([" ", " ", "  ", "\n", " # c\n"] if separate else ["", "", " "]) + token
        return out

    def _one_of(self, *choices: list[str]) -> list[str]:
        return [self._rng.choice(self._rng.choice(choices))]

    def _expression(self, depth: int) -> list[str]:
        if depth <= 0:
            return self._rng.choice([self._selector, self._selector, self._number])(0)
        return self._rng.choice(self._makers)(depth - 1)

    def _number(self, _depth: int) -> list[str]:
        return self._one_of(NUMBERS) if self._rng.random() < 0.95 else [self._odd_number()]

    def _odd_number(self) -> str:
        """Return what looks like a number or a duration and may be none."""
        alphabets = ("0123456789", "0123456789abcdefxX_", ".eE+-_", "smhdwy")
        tail = [self._rng.choice(self._rng.choice(alphabets)) for _ in range(self._rng.randint(0, 6))]
        return self._rng.choice(["0x", "0", "1", "."]) + "".join(tail)

    def _string(self, _depth: int) -> list[str]:
        return self._one_of(STRINGS)

    def _selector(self, _depth: int) -> list[str]:
        rng = self._rng
        if rng.random() < 0.5:
            return self._one_of(NAMES)
        matchers: list[str] = []
        for _ in range(rng.randint(0, 3)):
            if rng.random() < 0.1:
                matchers += [*self._one_of(STRINGS), ","]
                continue
            operator = rng.choice(["=", "!=", "=~", "!~"])
            matchers += [rng.choice(MATCH_LABELS), operator, rng.choice(STRINGS), ","]
        if matchers and rng.random() < 0.8:
            matchers.pop()
        return [*(self._one_of(NAMES) if rng.random() < 0.7 else []), "{", *matchers, "}"]

    def _duration(self) -> list[str]:
        rng = self._rng
        if rng.random() < 0.7:
            return self._one_of(DURATIONS)
        return self._arithmetic(2)

    def _arithmetic(self, depth: int) -> list[str]:
        rng = self._rng
        if depth == 0 or rng.random() < 0.3:
            return self._one_of(DURATIONS)
        kind = rng.randrange(4 if self._newest else 3)
        if kind == 0:
            return [rng.choice("+-"), *self._arithmetic(depth - 1)]
        if kind == 1:
            return [*self._arithmetic(depth - 1), rng.choice("+-*/%^"), *self._arithmetic(depth - 1)]
        if kind == 2:
            return ["(", *self._arithmetic(depth - 1), ")"]
        if rng.random() < 0.5:
            return [rng.choice(["step", "range", "STEP"]), "(", ")"]
        return [
            rng.choice(["min_of", "max_of"]),
            "(",
            *self._arithmetic(depth - 1),
            ",",
            *self._arithmetic(depth - 1),
            ")",
        ]

    def _modifiers(self) -> list[str]:
        rng = self._rng
        out: list[str] = []
        while rng.random() < 0.35:
            kind = rng.randrange(6 if self._newest else 5)
            if kind < 3:
                signed = [rng.choice("+-")] if rng.random() < 0.4 else []
                # Less than a millisecond is no offset here, but one of no length in Prometheus.
                out += ["offset", *signed, *["1ms" if part == "0.0004" else part for part in self._duration()]]
            elif kind == 3:
                out += ["@", *([rng.choice("+-")] if rng.random() < 0.3 else []), *self._one_of(NUMBERS)]
            elif kind == 4:
                out += ["@", rng.choice(["start", "end"]), "(", ")"]
            else:
                out += [rng.choice(["anchored", "smoothed"])]
        return out

    def _postfixed(self, depth: int) -> list[str]:
        inner = self._selector(depth) if self._rng.random() < 0.9 else self._expression(depth)
        return [*inner, *self._modifiers()]

    def _range(self, depth: int) -> list[str]:
        inner = self._selector(depth) if self._rng.random() < 0.95 else self._expression(depth)
        return [*inner, "[", *self._duration(), "]", *self._modifiers()]

    def _subquery(self, depth: int) -> list[str]:
        step = self._duration() if self._rng.random() < 0.6 else []
        return [*self._expression(depth), "[", *self._duration(), ":", *step, "]", *self._modifiers()]

    def _paren(self, depth: int) -> list[str]:
        return ["(", *self._expression(depth), ")"]

    def _unary(self, depth: int) -> list[str]:
        return [self._rng.choice("+-"), *self._expression(depth)]

    def _labels(self) -> list[str]:
        labels: list[str] = []
        for _ in range(self._rng.randint(0, 3)):
            labels += [self._rng.choice(LABELS), ","]
        if labels and self._rng.random() < 0.8:
            labels.pop()
        return ["(", *labels, ")"]

    def _matching(self) -> list[str]:
        rng = self._rng
        out = ["bool"] if rng.random() < 0.15 else []
        if rng.random() < 0.3:
            out += [rng.choice(["on", "ignoring"]), *self._labels()]
            if rng.random() < 0.4:
                out += [rng.choice(["group_left", "group_right"]), *(self._labels() if rng.random() < 0.7 else [])]
        if self._newest and rng.random() < 0.2:
            for word in rng.choice([["fill"], ["fill_left"], ["fill_right", "fill_left"], ["fill_left", "fill_right"]]):
                out += [word, "(", *([rng.choice("+-")] if rng.random() < 0.3 else []), *self._one_of(NUMBERS), ")"]
        return out

    def _binary(self, depth: int) -> list[str]:
        operator = self._rng.choice(OPERATORS + (NEW_OPERATORS if self._newest else []))
        return [*self._expression(depth), operator, *self._matching(), *self._expression(depth)]

    def _aggregate(self, depth: int) -> list[str]:
        rng = self._rng
        grouping = [rng.choice(["by", "without", "BY"]), *self._labels()] if rng.random() < 0.6 else []
        kind = rng.randrange(10)
        if kind == 0:
            head, args = "count_values", [*self._one_of(STRINGS), ",", *self._expression(depth)]
        elif kind < 4:
            head, args = rng.choice(WITH_PARAMETER), [*self._number(0), ",", *self._expression(depth)]
        else:
            head, args = rng.choice(AGGREGATIONS), self._expression(depth)
        body = ["(", *args, ")"]
        return [head, *grouping, *body] if rng.random() < 0.6 else [head, *body, *grouping]

    def _call(self, depth: int) -> list[str]:
        return [self._rng.choice(VECTOR_CALLS), "(", *self._expression(depth), ")"]

    def _range_call(self, depth: int) -> list[str]:
        argument = self._range(depth) if self._rng.random() < 0.7 else self._subquery(depth)
        return [self._rng.choice(RANGE_CALLS), "(", *argument, ")"]

    def _other_call(self, depth: int) -> list[str]:
        rng = self._rng
        name = rng.choice(
            [
                "label_replace",
                "label_join",
                "round",
                "clamp",
                "time",
                "pi",
                "hour",
                "info",
                "sort_by_label",
                "predict_linear",
            ]
            + (["start", "step", "max_of", "histogram_quantiles"] if self._newest else [])
        )
        args: list[str] = []
        for i in range(rng.randint(0, 4)):
            args += [*([","] if i else []), *rng.choice([self._expression, self._string, self._range])(depth)]
        return [name, "(", *args, ")"]
