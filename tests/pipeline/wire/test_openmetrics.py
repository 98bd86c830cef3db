"""The OpenMetrics check, against the published cases and some of our own."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.wire.openmetrics import validate
from headrace.pipeline.wire.text import read_page

RUNS = int(os.environ.get("HEADRACE_FUZZ_RUNS", "300"))
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


@pytest.mark.fuzz
def test_mutated_pages() -> None:
    """A damaged page is valid or refused, never a crash; what is valid is read by a scrape, too."""
    rng = random.Random(13)
    seeds = [
        b'# TYPE a histogram\n# HELP a x\na_bucket{le="1"} 1 1 # {t="1"} 1 1\na_bucket{le="+Inf"} 2 1\n# EOF\n',
        b"# TYPE b counter\nb_total 1\nb_created 2\n# TYPE c gauge\nc -1\n# EOF\n",
        b'# TYPE s summary\ns{quantile="0.5"} 1\ns_count 1\ns_sum 1\n# TYPE e stateset\ne{e="x"} 1\n# EOF\n',
    ]
    verdicts = {True: 0, False: 0}
    for _ in range(RUNS):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(data))
            if rng.random() < 0.5:
                data[at] = rng.choice(b'"\\{}=,# \n\x00\xff01.eE+-_aNIf')
            else:
                del data[at : at + rng.randint(1, 12)]
        try:
            validate(bytes(data))
        except InvalidInput:
            verdicts[False] += 1
            continue
        verdicts[True] += 1
        read_page(bytes(data), openmetrics=True)
    assert verdicts[True] or RUNS < 100, "none of so many is valid"
    assert verdicts[False]
