"""``headrace promql`` in this process."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from headrace.cli.main import main
from headrace.store.promql.features import FEATURES

PAGE = Path(__file__).parents[2] / "docs" / "promql.md"
LONG = 'sum by(job)(rate(http_requests_total{code=~"5..",job="a long name of a job that fills up the line"}[5m]))>0'
PRETTY = """\
  sum by (job) (
    rate(http_requests_total{code=~"5..",job="a long name of a job that fills up the line"}[5m])
  )
>
  0
"""


def promql(*arguments: object, text: str = "") -> Result:
    return CliRunner().invoke(main, ["promql", *map(str, arguments)], input=text)


def test_format(tmp_path: Path) -> None:
    """A text, a file and standard input are formatted alike; on one line where that is asked for."""
    (tmp_path / "query.promql").write_text(LONG)
    for result in (promql("fmt", LONG), promql("fmt", tmp_path / "query.promql"), promql("fmt", text=LONG)):
        assert (result.exit_code, result.stdout) == (0, PRETTY)
    assert promql("fmt", "--one-line", PRETTY).stdout.count("\n") == 1
    assert promql("fmt", "a+fill(0)b[step()]").exit_code == 1
    assert promql("fmt", "rate(a[5m]smoothed)").stdout == "rate(a[5m] smoothed)\n"


def test_check() -> None:
    """Checking prints nothing, and says by its exit code whether anything is to be done."""
    for text, code in (("a + b", 0), ("a+b", 1), (PRETTY, 0)):
        result = promql("fmt", "--check", "-", text=text)
        assert (result.exit_code, result.output) == (code, "")


def test_errors() -> None:
    """A fault is shown under its line."""
    result = promql("fmt", "a +\n\tsum(é b)")
    assert result.exit_code == 1
    assert result.stderr == (
        "2:6: parse error: unexpected character: 'é'\n"
        "  \tsum(é b)\n"
        "  \t    ^\n"
    )  # fmt: skip
    assert promql("parse", "").stderr == "unknown position: parse error: no expression found in input\n"


def test_tree() -> None:
    """A tree has one line for each part, with its type."""
    result = promql("parse", "topk(3, -a) > bool on (x) (b[5m:] offset 1h)")
    assert result.exit_code == 1
    assert promql("parse", "topk(3, -a) > bool on (x) max_over_time(b[5m:] offset 1h)").stdout == (
        "> bool on (x)  (Binary, instant vector)\n"
        "├─ topk  (Aggregate, instant vector)\n"
        "│  ├─ 3  (NumberLiteral, scalar)\n"
        "│  └─ -  (Unary, instant vector)\n"
        "│     └─ a  (VectorSelector, instant vector)\n"
        "└─ max_over_time()  (Call, instant vector)\n"
        "   └─ [5m:] offset 1h  (Subquery, range vector)\n"
        "      └─ b  (VectorSelector, instant vector)\n"
    )
    assert promql("parse", "(a[5m])").stdout.splitlines()[1] == "└─ a[5m]  (MatrixSelector, range vector)"


def examples() -> list[tuple[str, str]]:
    """Return commands of the page about PromQL, and what it says that they print; plans depend on what is stored."""
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL)
    found = [part.partition("\n") for block in blocks for part in block.split("$ ")[1:]]
    return [
        (command, shown)
        for command, _, shown in found
        if command.startswith("headrace promql ") and "||" not in command and " explain " not in command
    ]


@pytest.mark.parametrize(("command", "shown"), examples())
def test_examples(command: str, shown: str) -> None:
    """The page shows what the commands print."""
    assert CliRunner().invoke(main, shlex.split(command)[1:]).output == shown


def test_examples_are_found() -> None:
    """The page has some."""
    assert len(examples()) > 2


def test_switches_are_explained() -> None:
    """The page has every switch of the language."""
    page = PAGE.read_text().partition("\n## Limits\n")[0]
    assert set(re.findall(r"^\| `([a-z][a-z-]+)` \|", page, re.MULTILINE)) == FEATURES


@pytest.mark.parametrize("query", ["a", "sum(b)", '"x"', "1", "rate(a[5m])"])
def test_json(query: str) -> None:
    """JSON is what parse_query answers."""
    assert json.loads(promql("parse", "--json", query).stdout)["type"]
