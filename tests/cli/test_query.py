"""``headrace query`` in this process, against a server that a test makes up."""

from __future__ import annotations

import gzip
import json
import threading
import urllib.parse
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from headrace.cli.main import main
from headrace.cli.query.plot import plot, sparkline
from headrace.cli.query.tables import series_text, table
from headrace.cli.query.times import parse_duration, parse_time
from headrace.pipeline.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

NOW_S = 1_700_000_000.0
VECTOR = {
    "resultType": "vector",
    "result": [
        {"metric": {"__name__": "up", "job": "a"}, "value": [NOW_S, "1"]},
        {"metric": {"__name__": "up", "job": "längst"}, "value": [NOW_S, "12.5"]},
    ],
}


@dataclass
class Asked:
    """One request."""

    path: str
    form: Mapping[str, list[str]]
    headers: Mapping[str, str]


@dataclass
class Fake:
    """A server that gives one answer and remembers what it was asked."""

    url: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    asked: list[Asked] = field(default_factory=list)

    def answers(self, data: object, **more: object) -> None:
        self.body = json.dumps({"status": "success", "data": data, **more}).encode()

    def refuses(self, kind: str, why: str) -> None:
        self.status = 400
        self.body = json.dumps({"status": "error", "errorType": kind, "error": why}).encode()


@contextmanager
def served(fake: Fake) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply("")

        def do_POST(self) -> None:
            self._reply(self.rfile.read(int(self.headers["Content-Length"])).decode())

        def _reply(self, body: str) -> None:
            path, _, query = self.path.partition("?")
            fake.asked.append(Asked(path, urllib.parse.parse_qs(body or query), dict(self.headers)))
            self.send_response(fake.status)
            for name, value in fake.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(fake.body)))
            self.end_headers()
            self.wfile.write(fake.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the parameter of http.server
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    fake.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def fake() -> Iterator[Fake]:
    made = Fake()
    with served(made):
        yield made


def query(*arguments: object, env: Mapping[str, str] | None = None) -> Result:
    return CliRunner(env=env).invoke(main, ["query", *map(str, arguments)])


def test_vector(fake: Fake) -> None:
    """A vector is a table; its time stands above, annotations go to standard error."""
    fake.answers(VECTOR, warnings=["careful"], infos=["by the way"])
    result = query("instant", fake.url, "up", "--time", NOW_S)
    assert result.stdout == (
        "at 2023-11-14T22:13:20Z\n"
        "series            value\n"
        'up{job="a"}           1\n'
        'up{job="längst"}   12.5\n'
    )  # fmt: skip
    assert result.stderr == "warning: careful\ninfo: by the way\n"
    assert fake.asked[0].path == "/api/v1/query"
    assert fake.asked[0].form == {"query": ["up"], "time": ["1700000000"]}


def test_json_and_gzip(fake: Fake) -> None:
    """JSON is the answer's data; answers may be compressed."""
    fake.answers(VECTOR)
    fake.body, fake.headers = gzip.compress(fake.body), {"Content-Encoding": "gzip"}
    result = query("instant", "--url", f"{fake.url}/", "up", "--json")
    assert json.loads(result.stdout) == VECTOR


def test_range(fake: Fake) -> None:
    """A matrix is a table with sparklines; by default the last hour in 250 steps."""
    points = [[NOW_S + 60 * i, str(i)] for i in range(8)]
    fake.answers({"resultType": "matrix", "result": [{"metric": {"a": "b"}, "values": points}]})
    result = query("range", fake.url, "x", "--start", NOW_S, "--end", NOW_S + 420, "--step", "1m")
    head, titles, row = result.stdout.splitlines()
    assert head == "2023-11-14T22:13:20Z to 2023-11-14T22:20:20Z, step 60s"
    assert titles.split() == ["series", "points", "min", "max", "last"]
    assert row.split()[:5] == ['{a="b"}', "8", "0", "7", "7"]
    assert row.endswith("█")
    query("range", fake.url, "x")
    form = fake.asked[1].form
    assert float(form["end"][0]) - float(form["start"][0]) == pytest.approx(3600, abs=0.01)
    assert form["step"] == ["14"]


def test_plot(fake: Fake) -> None:
    """A plot has axes and a legend, and no colors where there is no terminal."""
    rows = [
        {"metric": {"i": str(n)}, "values": [[NOW_S + 60 * i, str(i * n)] for i in range(60)]} for n in (1, 2)
    ]  # fmt: skip
    fake.answers({"resultType": "matrix", "result": rows})
    lines = query(
        "range", fake.url, "x", "--start", NOW_S, "--end", NOW_S + 3600, "--plot", env={"COLUMNS": "60"}
    ).stdout.splitlines()
    assert lines[1].lstrip().startswith("118 ┤")
    assert lines[-3].split() == ["22:13:20", "23:13:20"]
    assert lines[-2:] == ['── {i="1"}', '── {i="2"}']
    assert max(map(len, lines[1:])) == 60
    assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize(
    ("arguments", "code", "wanted"),
    [
        (["instant"], 2, "expected 1 argument besides the URL, got 0"),
        (["instant", "URL", "a", "b"], 2, "expected 1 argument besides the URL, got 2"),
        (["instant", "URL", "a", "--time", "then"], 2, "--time: must be RFC 3339, Unix seconds, now or -1h, got then"),
        (["range", "URL", "a", "--step", "0"], 2, "--step: must be positive, got 0"),
        (["range", "URL", "a", "--start", "5", "--end", "4"], 2, "--end: must not be before --start"),
        (["series", "URL"], 2, "--match: is needed: which series?"),
        (["instant", "-u", "ftp://x", "a"], 2, "--url: must be like http://127.0.0.1:9009, got ftp://x"),
        (["instant", "URL", "a", "--ca-file", "/nonexistent"], 2, "--ca-file: cannot be read"),
        (["instant", "URL", "a", "--bearer-token-file", "/nonexistent"], 2, "--bearer-token-file: cannot be read"),
        (["instant", "http://127.0.0.1:1", "a"], 1, "cannot reach http://127.0.0.1:1: Connection refused"),
    ],
)
def test_wrong_use(arguments: list[str], code: int, wanted: str, fake: Fake) -> None:
    """Wrong options end with 2 and say which; a server that is not there with 1."""
    result = query(*(fake.url if argument == "URL" else argument for argument in arguments))
    assert result.exit_code == code
    assert wanted in result.stderr
    assert fake.asked == []


def test_error_of_the_server(fake: Fake) -> None:
    """An error is shown with its type, and points at the place in the expression."""
    fake.refuses("bad_data", 'invalid parameter "query": 2:3: parse error: unexpected end of input')
    result = query("instant", fake.url, "1 +\n2+")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[1:] == ["  2+", "    ^"]


@pytest.mark.parametrize(
    ("status", "body", "wanted"),
    [
        (404, b"404 page not found", "answered 404: 404 page not found (is this the API of Prometheus?)"),
        (401, b"Unauthorized", "answered 401: Unauthorized (--username, --bearer-token-file and --headers-file"),
        (200, b"<html>", "answered 200: <html>"),
        (200, b"[]", "answered 200: []"),
        (302, b"", "answered 302 (is this the API of Prometheus?)"),
    ],
)
def test_strange_answers(status: int, body: bytes, wanted: str, fake: Fake) -> None:
    """What is no answer of the API is quoted; redirects are not followed."""
    fake.status, fake.body = status, body
    fake.headers = {"Location": "http://127.0.0.1:1/"} if status == 302 else {}
    result = query("instant", fake.url, "a")
    assert result.exit_code == 1
    assert wanted in result.stderr


def test_authentication(fake: Fake, tmp_path: Path) -> None:
    """Secrets come from files or the environment, and headers from a file."""
    fake.answers(VECTOR)
    (tmp_path / "password").write_text("s3cret\n")
    (tmp_path / "headers").write_text("X-Scope-OrgID: tenant\n\nX-Other: a:b\n")
    query("instant", fake.url, "a", "--username", "me", "--password-file", tmp_path / "password")
    query("instant", fake.url, "a", env={"HEADRACE_QUERY_BEARER_TOKEN": "token"})
    query("instant", fake.url, "a", "--headers-file", tmp_path / "headers")
    sent = [asked.headers for asked in fake.asked]
    assert sent[0]["Authorization"] == "Basic bWU6czNjcmV0"
    assert sent[1]["Authorization"] == "Bearer token"
    assert (sent[2]["X-Scope-Orgid"], sent[2]["X-Other"]) == ("tenant", "a:b")
    both = query("instant", fake.url, "a", "--username", "me", env={"HEADRACE_QUERY_BEARER_TOKEN": "token"})
    assert (both.exit_code, both.stderr) == (2, "Error: --username: and a bearer token exclude each other\n")
    (tmp_path / "headers").write_text("Bearer secret\n")
    malformed = query("instant", fake.url, "a", "--headers-file", tmp_path / "headers")
    assert malformed.exit_code == 2
    assert "secret" not in malformed.stderr


def test_label_names_in_paths(fake: Fake) -> None:
    """Names beyond the old alphabet are escaped as Prometheus does."""
    fake.answers(["x"])
    assert query("labels", fake.url, "a.b_c é").stdout == "x\n"
    query("labels", fake.url, "job", "--limit", "3", "--match", "up")
    assert fake.asked[0].path == "/api/v1/label/U__a_2e_b__c_20__e9_/values"
    assert fake.asked[1].path == "/api/v1/label/job/values"
    assert fake.asked[1].form == {"match[]": ["up"], "limit": ["3"]}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("now", NOW_S), ("-90m", NOW_S - 5400), ("1.5", 1.5), ("2023-11-14T22:13:20Z", NOW_S),
        ("2023-11-14T23:13:20.5+01:00", NOW_S + 0.5), ("2023-11-14T22:13:20", NOW_S), ("-5", -5.0),
    ],
)  # fmt: skip
def test_times(text: str, wanted: float) -> None:
    """Times are RFC 3339, Unix seconds, now, or before it."""
    assert parse_time("--time", text, NOW_S) == wanted


@pytest.mark.parametrize("text", ["", "NaN", "-", "-x", "2023", "yesterday"])
def test_no_times(text: str) -> None:
    """A year alone is Unix seconds; other texts are refused."""
    if text == "2023":
        assert parse_time("--time", text, NOW_S) == 2023
        return
    with pytest.raises(ConfigError, match="--time"):
        parse_time("--time", text, NOW_S)


def test_durations() -> None:
    """Durations are numbers of seconds, or have units."""
    assert (parse_duration("--step", "1h30m"), parse_duration("--step", "0.5")) == (5400.0, 0.5)
    for text in ("", "5x", "-1", "inf"):
        with pytest.raises(ConfigError, match="--step"):
            parse_duration("--step", text)


def test_sparkline() -> None:
    """Values rise from the lowest bar to the highest; gaps and values that are none stay blank."""
    rising = [(float(i), float(i)) for i in range(8)]
    assert sparkline(rising, 0, 8, 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([(0, 1.0), (1, float("nan")), (3, 1.0)], 0, 4, 4) == "▁  ▁"
    assert sparkline([], 0, 1, 3) == "   "
    assert sparkline([(5, 1.0)], 5, 5, 2) == "▁ "


def text_of(lines: list[list[tuple[str, int]]]) -> list[str]:
    return ["".join(text for text, _ in line) for line in lines]


def test_plot_of_one_line() -> None:
    """A rising line goes from the lower left to the upper right; axes say where."""
    lines = text_of(plot([[(0.0, 0.0), (100.0, 10.0)]], 0, 100, 24, 3))
    assert lines[0].startswith("10 ┤")
    assert lines[0].endswith("⠉")
    assert lines[2].startswith(" 0 ┤⣀")
    assert lines[3] == "   └" + "─" * 20
    assert lines[4].split() == ["00:00:00", "00:01:40"]


@pytest.mark.parametrize(
    "points",
    [[], [(0.0, float("nan"))], [(0.0, 5.0)], [(0.0, 1e308), (9.0, -1e308)], [(0.0, float("inf")), (5.0, 1.0)]],
)  # fmt: skip
def test_plot_of_odd_values(points: list[tuple[float, float]]) -> None:
    """Any values make a plot of the right size."""
    assert len({len(line) for line in text_of(plot([points], 0, 10, 30, 4))[:5]}) == 1


def test_tables() -> None:
    """Wide characters count twice."""
    assert table(["a", "b"], [["日本", "1"], ["x", "22"]], frozenset({1})) == ["a      b", "日本   1", "x     22"]


@pytest.mark.parametrize(
    ("labels", "wanted"),
    [
        ({}, "{}"),
        ({"__name__": "a:b"}, "a:b"),
        ({"__name__": "a.b", "c d": "e"}, '{"a.b", "c d"="e"}'),
        ({"b": 'x"\n', "a": "é"}, '{a="é", b="x\\"\\n"}'),
    ],
)
def test_series(labels: dict[str, Any], wanted: str) -> None:
    """Labels are written as a selector."""
    assert series_text(labels) == wanted
