"""The parser against a real Prometheus: verdict, error text and place, formatted text and tree are equal.

Random texts, most of them damaged; HEADRACE_FUZZ_RUNS says how many. What differs because the parser follows a newer
Prometheus than the peer is in `newer`, each with its reason.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import urllib.parse
from typing import TYPE_CHECKING, Any

import pytest

from headrace.store.promql.errors import ParseError
from headrace.store.promql.language.ast import Aggregate, Binary, Card, DurationExpression, Expr, walk
from headrace.store.promql.language.ast_json import as_json
from headrace.store.promql.language.parser import ParserOptions, parse
from headrace.store.promql.language.printer import pretty
from promql_texts import Texts
from running import Programs, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.peer

RUNS = int(os.environ.get("HEADRACE_FUZZ_RUNS", "1500"))
SEED = int(os.environ.get("HEADRACE_FUZZ_SEED", "1"))
FEATURES = "--enable-feature=promql-experimental-functions,promql-duration-expr"
PREFIX = 'invalid parameter "query": '
NEWER_FIELDS = {"rangeExpr", "offsetExpr", "stepExpr", "anchored", "smoothed", "fillValues"}
RENAMED = (
    ("subquery or range selector, expected number, duration", "subquery selector, expected number, duration"),
    ('number, duration, step(), range(), or "]"', 'number or duration or "]"'),
    ("number, duration, step(), or range()", "number or duration"),
)
UNNAMED_TOKEN = re.compile(r'"<Item \d+>" (<op:@>)')
GAP = r"(?:\s|#.*\n)*"
PLAIN_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


class Peer:
    """A running Prometheus, asked over one connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def ask(self, path: str, query: str) -> tuple[Any, str]:
        """Return the answer's data, or None and the error without what comes before it."""
        body = urllib.parse.urlencode({"query": query})
        self._connection.request("POST", f"/api/v1/{path}", body, {"Content-Type": "application/x-www-form-urlencoded"})
        answer = json.loads(self._connection.getresponse().read())
        return answer.get("data"), answer.get("error", "").removeprefix(PREFIX)


@pytest.fixture(scope="module")
def started(peers: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[bool, Peer]]:
    """Start Prometheus with its features and without."""
    folder = tmp_path_factory.mktemp("parsers")
    (folder / "prometheus.yml").write_text("global: {}\n")
    with Programs(folder) as programs:
        found = {}
        for enabled in (True, False):
            port = free_port()
            arguments: list[str | Path] = [
                peers / "prometheus",
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data-{enabled}",
                f"--web.listen-address=127.0.0.1:{port}",
                *([FEATURES] if enabled else []),
            ]
            programs.start(f"prometheus-{enabled}", arguments).wait_http(f"http://127.0.0.1:{port}/-/ready")
            found[enabled] = Peer(port)
        yield found
        for peer in found.values():
            peer.close()


def as_older(text: str) -> str:
    """Put the words of Prometheus 3.5 for those of 3.14."""
    for new, old in RENAMED:
        text = text.replace(new, old)
    return UNNAMED_TOKEN.sub(r"\1", text)


def durations(expr: Expr) -> Iterator[DurationExpression]:
    """Yield all computed durations."""
    parts = [getattr(node, f"{name}_expr", None) for node in walk(expr) for name in ("range", "step", "offset")]
    while parts:
        part = parts.pop()
        if isinstance(part, DurationExpression):
            yield part
            parts += [part.lhs, part.rhs]


def newer_error(query: str, ours: str, theirs: str) -> str:
    """Say why the newer Prometheus, which we follow, errs in another way than the peer; nothing where it does not."""
    if theirs == "unexpected error":
        return "info() with a second argument that is no selector ended in a panic"
    if re.search("[<>]/", query):
        return "</ and >/ are operators"
    if "expected ':'" in ours:
        return "a letter in a range stood for a colon"
    if "duration expression: ','" in theirs:
        return "a comma is part of durations, for min_of() and max_of()"
    if 'unexpected "("' in theirs and re.search(rf"(?i)\b(start|end){GAP}\(", query):
        return "start() and end() are functions, too"
    if re.search(rf"(?i)offset{GAP}[-+]{GAP}\(", query):
        return "parentheses after a sign end the offset, and do not need the feature"
    if "no @ modifiers allowed before range" in ours:
        return "start() and end() count as modifiers there, too"
    if re.search("duration must be greater than 0|(division|modulo) by zero", theirs) and re.search(
        rf"[-(%/]{GAP}[-+(0.]", query
    ):
        return "a number in parentheses is an expression, which is not looked into before it is evaluated"
    if "offset may not be set multiple times" in theirs and "0.0004" in query:
        return "not newer: an offset of less than a millisecond is none"
    if "duration out of range" in ours and re.search(rf"(?i)offset(?:{GAP}[-+])*{GAP}nan", query):
        return "not newer: NaN is refused as an offset, where it was the longest negative one"
    if "invalid UTF-8" in ours:
        return "not newer: literal patterns that are not UTF-8, which match nothing"
    return ""


def newer_text(expr: Expr) -> str:
    """Say why the newer Prometheus prints another text, or nothing."""
    if any(part.op == "+" and part.lhs is None for part in durations(expr)):
        return "parentheses around a number in a duration are kept"
    for node in walk(expr):
        if isinstance(node, Aggregate) and any(":" in name for name in node.grouping):
            return "names of labels with colons are quoted"
        matching = node.matching if isinstance(node, Binary) else None
        if matching is None:
            continue
        if not all(map(PLAIN_NAME.fullmatch, (*matching.labels, *matching.include))):
            return "names of labels in on() and its like are quoted"
        if matching.card in {Card.MANY_TO_ONE, Card.ONE_TO_MANY} and not matching.labels:
            return "an empty ignoring () before a group is printed"
    return ""


def older_tree(tree: Any) -> Any:
    """Take out what is new in 3.14."""
    if isinstance(tree, dict):
        return {key: older_tree(value) for key, value in tree.items() if key not in NEWER_FIELDS}
    return [older_tree(item) for item in tree] if isinstance(tree, list) else tree


def difference(query: str, peer: Peer, *, enabled: bool) -> str:
    """Say how the parser differs from the peer; nothing where it does not."""
    theirs, error = peer.ask("format_query", query)
    try:
        expr = parse(query, ParserOptions(experimental_functions=enabled, duration_expressions=enabled))
    except ParseError as mine:
        if as_older(str(mine)) == as_older(error) or newer_error(query, str(mine), error):
            return ""
        return f"{query!r}: {error or theirs!r} wanted, got {mine}"
    if error:
        return "" if newer_error(query, "", error) else f"{query!r}: {error} wanted, got an expression"
    if newer_text(expr):
        return ""
    if pretty(expr) != theirs:
        return f"{query!r}: {theirs!r} wanted, got {pretty(expr)!r}"
    tree = peer.ask("parse_query", query)[0]
    ours = older_tree(as_json(expr))
    return "" if ours == tree else f"{query!r}: {tree} wanted, got {ours}"


def test_random_texts(started: dict[bool, Peer]) -> None:
    """Whole and damaged texts give the same tree, the same formatted text, or the same error at the same place."""
    found = []
    for i in range(RUNS):
        texts = Texts(SEED * 1_000_003 + i)
        enabled = i % 3 != 2
        query = texts.query() if i % 2 else texts.damaged()
        if why := difference(query, started[enabled], enabled=enabled):
            found.append(why)
    assert not found, f"{len(found)} of {RUNS}:\n" + "\n".join(found[:20])


@pytest.mark.parametrize(
    "query",
    [
        "", " ", "# nothing\n", "foo)", "(foo", "foo[5m", "foo{", 'foo{a="b"', "foo[]", "foo[:]", "foo[5m:",
        "foo[5m:]]", "1 +",
        "sum", "sum(", "sum by", "sum by (", "sum by (a", "sum by (a,", "sum(a,)", "sum(a b)",
        "rate(foo[5m],)", "foo offset",
        "foo offset 5m offset 5m", "foo @", "foo @ 1e300", "foo @ Inf", "foo @ nan", "1 offset 5m", "1[5m]",
        "(1)[5m:]",
        "foo offset 5m [5m]", "foo @ 5 [5m]", "foo and 1", "1 and 1", "1 == 1", "1 + bool 1",
        "foo + on(a) group_left(a) bar",
        "foo and on(a) group_left bar", "1 + on(a) foo", '-"a"', '"a" + 1', "rate(foo)", "rate(foo[5m:5m])", "abs(1)",
        "abs()", "abs(a, b)", "round()", "round(a, 1, 2)", "label_join(a)", "nothing(a)", "topk(a)",
        "topk(1, 2)", "topk(a, b)",
        "count_values(1, a)", "sum()", "sum(1)", 'quantile("a", b)', "{}", '{a=""}', '{a=~".*"}', 'foo{__name__="b"}',
        'foo{"b"}', '{"a", "b"}', 'foo{a="b" c="d"}', "foo{a}", "foo{a=}", "foo{a=b}", "foo{=}", "foo{,}", "foo{{",
        'foo{a="b",,}',
        "0x", "1e", "1__0", "0b11", "0o17", "0xbF", "0x_b1f", "0x10E", "0x1e+5", "0xe", "0b", "0o", "0_7",
        "09", "1.2.3", "1_.5", "5mm", "5m1h", "1y1y", "300y",
        "99999999999999999999s", "1h 30m",
        '"\\', '"a\nb"', "`a", "'\\q'", '"\\x4"', '"\\ud800"', '"\\777"', '"\\U00110000"', "a$b", "é",
        "a =~ b", "a !~ b", "a ! b",
        "a = b", "$", "foo }", "foo ]", "bool", "on", "on(a)", "inf{}", "NaN[5m]", "start", "end{}", "by{}",
        "and and and", "or or or",
        "offset offset 5m", "sum sum", "sum{}", "atan2", "a atan2 b", 'info(a, {b="c"})', "info(a, b)",
        "info(a, 1)", "info(a, {})",
        "foo offset -2^2", "foo offset 2^2", "-1^2", "2^-1^3", "a - -b", "- - 1", "foo[5m] offset 1m @ 5",
        "foo @ start() @ end()",
        "(((((1)))))", "a + # x\n b", "a#", "foo[5m:1m] offset 0", "foo[-5m]", "foo[0]", "foo[5m:-1m]",
        "foo[5m:0]", "a[1m:1m][2m:]",
    ],
)  # fmt: skip
@pytest.mark.parametrize("enabled", [True, False])
def test_chosen_texts(query: str, enabled: bool, started: dict[bool, Peer]) -> None:
    """Each rule of the grammar and of types, broken or just kept, gives what Prometheus gives."""
    assert not difference(query, started[enabled], enabled=enabled)
