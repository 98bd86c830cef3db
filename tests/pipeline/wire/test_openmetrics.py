"""The OpenMetrics check, against the published cases and some of our own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.wire.openmetrics import validate
from headrace.pipeline.wire.text import read_page

SUITE = Path(__file__).parents[3].parent / "shared" / "conformance" / "openmetrics"
CASES = sorted(path.parent.name for path in SUITE.glob("*/test.json")) or ["absent"]


@pytest.mark.conformance("openmetrics")
@pytest.mark.parametrize("name", CASES)
def test_published_case(name: str) -> None:
    """A valid page passes, and is read by a scrape as well; an invalid one is refused with its line."""
    folder = SUITE / name
    if not folder.is_dir():
        pytest.skip(f"{SUITE} is not there")
    data = (folder / "metrics").read_bytes()
    if json.loads((folder / "test.json").read_text())["shouldParse"]:
        validate(data)
        read_page(data, openmetrics=True)
    else:
        with pytest.raises(InvalidInput, match=r"line \d+|at the end"):
            validate(data)


@pytest.mark.parametrize(
    ("page", "why"),
    [
        ('a{b="1",} 1', "line 1: a comma"),
        ('{"a"} 1', "line 1: the metric name"),
        ('a{"b.c"="1"} 1', "line 1: the label name 'b.c'"),
        ("a 1\na 1", "line 2: a sample is repeated"),
        ("a 1 1\na 1 1", "line 2: a sample is repeated"),
        ("# TYPE a counter\na_total 1\n# TYPE a_total gauge", "line 3: the name a_total clashes"),
        ("# TYPE a_total gauge\na_total 1\n# TYPE a counter\na_total 1", "line 4|the end: the name a_total clashes"),
        ("# TYPE a counter\na 1", "line 2: the name a clashes"),
        ('# TYPE a stateset\na{x="y"} 1', "line 2: a state needs the label a"),
        ('# TYPE a histogram\na_bucket{le="NaN"} 1', "line 2: a bucket needs"),
        ('# TYPE a histogram\na_bucket{le="+Inf"} 1\na_count 2\na_sum 1', "count of a is not"),
        ('# TYPE a histogram\na_bucket{le="+Inf"} 1\na_count 1\nb 1', "line 4: a has one of sum and count"),
        ('# TYPE a histogram\na_bucket{x="1",le="+Inf"} 1\na_bucket{x="2",le="1"} 1\n# EOF', "last bucket"),
        ("# TYPE a summary\na 1", "line 2: a quantile needs"),
        ('# TYPE a summary\na{quantile="1"} -1', "line 2: a quantile must not"),
        ("# UNIT a_x x\n# TYPE a_x stateset", "line 2: a metric of type stateset has no unit"),
        ("a 1\nb 1\na 2", "line 3: the name a clashes"),
        ('a{x="1"} 1\na{x="2"} 1\na{x="1"} 2 5', "line 3: the samples of a metric do not stand together"),
        ('# TYPE a counter\na_total 1 # {b="1",b="2"} 1', "line 2: the label b is repeated"),
    ],
)  # fmt: skip
def test_more_pages_that_break_rules(page: str, why: str) -> None:
    """What the published cases leave out."""
    with pytest.raises(InvalidInput, match=why):
        validate((page if page.endswith("# EOF") else page + "\n# EOF").encode())


@pytest.mark.parametrize(
    "page",
    [
        "# EOF\n",
        "a 1\nb 2\n# EOF\n",
        '# TYPE a gaugehistogram\na_bucket{le="-1"} 1\na_bucket{le="+Inf"} 2\na_gcount 2\na_gsum -5\n# EOF',
        '# TYPE a histogram\na_bucket{le="-1"} 1\na_bucket{le="+Inf"} 2\na_count 2\n# EOF',
        '# TYPE a histogram\na_bucket{le="+Inf"} 2 1\na_bucket{le="+Inf"} 1 2\n# EOF',
        '# TYPE a stateset\na{a="x"} 1\na{a="y"} 0\n# EOF',
        '# TYPE a info\na_info{v="1"} 1\n# EOF',
        "# TYPE a counter\na_total 1\na_created 5\n# TYPE b unknown\nb -1\n# EOF",
    ],
)  # fmt: skip
def test_more_pages_that_keep_them(page: str) -> None:
    """Rare but valid."""
    validate(page.encode())
