"""Files for ``promtool test rules``, replayed as requests to a server: series are written, rules asked as queries.

A rule is one range query over all times at which it is evaluated, whose answer is written back; so a rule sees what
the rules before it gave at the same time, as in a group. Alerts become ``ALERTS`` and are then asked for.

Source:
    Prometheus, "Unit testing for rules"; "Defining recording rules"; "Alerting rules".
"""

from __future__ import annotations

import math
import urllib.request
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import yaml

from headrace.testing.promql_script_reading import Load, ScriptError, read_script
from headrace.testing.promql_script_values import STALE, duration_ms
from prometheus_oracle import Series, request_of, seconds
from remote_write_messages import packed
from two_servers import ask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from headrace.testing.promql_script_histograms import Histogram

_STEPS = 100
"""Of one query: a subquery goes through all the time between them, which may be days."""

Labels = tuple[tuple[str, str], ...]
_EXPECTED = "expected_by_the_test"
"""Series of histograms that a test expects: they are read back as the server writes any."""


class ReplayError(Exception):
    """A server refused a request, or a file cannot be read."""


@dataclass(frozen=True)
class RuleTest:
    """One test of a file.

    Attributes:
        number: Its place among those of the file, from 0.
        content: As the file has it.
        rules: Of all rule files, in order.
        step_ms: Between two evaluations of the rules.
        fuzzy: Whether a number may be the one next to it.
    """

    file: Path
    number: int
    content: Mapping[str, Any]
    rules: list[dict[str, Any]]
    step_ms: int
    fuzzy: bool

    def __str__(self) -> str:
        return f"{self.file.name}:{self.content.get('name') or self.number}"

    @property
    def start_ms(self) -> int:
        """Time of the first sample."""
        given = self.content.get("start_timestamp", 0)
        return round((given if isinstance(given, int) else _read_time(given)) * 1000)

    @property
    def expressions(self) -> list[dict[str, Any]]:
        """Queries with the samples expected of them."""
        return list(self.content.get("promql_expr_test", ()))

    @property
    def alerts(self) -> list[dict[str, Any]]:
        """Times with the alerts that fire then."""
        return list(self.content.get("alert_rule_test", ()))


def _read_time(text: str | datetime) -> float:
    return (text if isinstance(text, datetime) else datetime.fromisoformat(text)).astimezone(UTC).timestamp()


def read_tests(path: Path) -> list[RuleTest]:
    """Read a file and those with its rules."""
    content = yaml.safe_load(path.read_text())
    rules = [
        rule
        for name in content.get("rule_files", ())
        for group in yaml.safe_load((path.parent / name).read_text())["groups"]
        for rule in group["rules"]
    ]
    step_ms = _duration(content.get("evaluation_interval", "1m"))
    fuzzy = bool(content.get("fuzzy_compare", False))
    return [RuleTest(path, i, one, rules, step_ms, fuzzy) for i, one in enumerate(content["tests"])]


def _duration(text: Any) -> int:
    return duration_ms(str(text))


def _loaded(interval: Any, series: str, values: Any) -> Load:
    """Read one series in the notation that it shares with test scripts."""
    try:
        (command,) = read_script(f"load {interval}\n  {series} {values}\n")
    except (ScriptError, ValueError) as error:
        raise ReplayError(str(error)) from error
    assert isinstance(command, Load)
    return command


@dataclass
class Replay:
    """One test against one server.

    Attributes:
        base: Address of the server, or of a workspace of it, which is empty.
        failures: What does not come out as the test says.
        asked: How many expectations were asked for.
    """

    base: str
    test: RuleTest
    failures: list[str] = field(default_factory=list)
    asked: int = 0

    def run(self) -> list[str]:
        """Load, evaluate, compare; return the failures."""
        try:
            self._load()
            for rule in self.test.rules:
                self._evaluate(rule)
        except ReplayError as error:
            return [str(error)]
        for one in self.test.expressions:
            self._check(one["expr"], self._compare, one)
        for one in self.test.alerts:
            self._check(one["alertname"], self._compare_alerts, one)
        return self.failures

    def _check(self, what: str, compare: Callable[[dict[str, Any]], str], expectation: dict[str, Any]) -> None:
        self.asked += 1
        try:
            difference = compare(expectation)
        except ReplayError as error:
            difference = str(error)
        if difference:
            self.failures.append(f"{what}: {difference}")

    def _load(self) -> None:
        written = []
        for one in self.test.content.get("input_series", ()):
            load = _loaded(self.test.content.get("interval", "1m"), one["series"], one["values"])
            for series in load.series:
                points = [
                    (self.test.start_ms + i * load.step_ms, item)
                    for i, item in enumerate(series.items)
                    if item is not None
                ]
                written.append(Series(series.labels, points))
        self._write(written)

    def _write(self, series: list[Series]) -> None:
        if not series:
            return
        headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
        request = urllib.request.Request(f"{self.base}/api/v1/remote_write", packed(request_of(series)), headers)
        with urllib.request.urlopen(request, timeout=60) as reply:
            assert reply.status == 204

    def _ask(self, path: str, **form: str) -> Any:
        answer = ask(self.base, path, form, method="POST").json
        if answer["status"] != "success":
            raise ReplayError(answer["error"])
        return answer["data"]

    def _evaluation_times(self) -> range:
        offsets = [_duration(one["eval_time"]) for one in (*self.test.expressions, *self.test.alerts)]
        return range(self.test.start_ms, self.test.start_ms + max(offsets, default=0) + 1, self.test.step_ms)

    def _evaluate(self, rule: dict[str, Any]) -> None:
        times = self._evaluation_times()
        found: defaultdict[Labels, dict[int, float]] = defaultdict(dict)
        for i in range(0, len(times), _STEPS):
            part = times[i : i + _STEPS]
            window = {"start": seconds(part[0]), "end": seconds(part[-1]), "step": seconds(self.test.step_ms)}
            for one in self._ask("query_range", query=str(rule["expr"]), **window)["result"]:
                found[_labels(one["metric"])].update((round(at * 1000), float(text)) for at, text in one["values"])
        rows = [(dict(labels), points) for labels, points in found.items()]
        made = _recorded(rule, rows) if "record" in rule else _alerting(rule, rows, times)
        self._write([Series(dict(labels), _with_ends(points, times)) for labels, points in made])

    def _at(self, offset: Any) -> str:
        return seconds(self.test.start_ms + _duration(offset))

    def _compare(self, expression: dict[str, Any]) -> str:
        at = self._at(expression["eval_time"]) if "eval_time" in expression else self._at(0)
        wanted = dict(self._wanted(one, at) for one in expression.get("exp_samples") or ())
        data = self._ask("query", query=expression["expr"], time=at)
        found = dict(_samples(data))
        if found.keys() == wanted.keys() and all(self._same(found[key], wanted[key]) for key in wanted):
            return ""
        return f"got {found}, wanted {wanted}"

    def _wanted(self, sample: dict[str, Any], at: str) -> tuple[Labels, Any]:
        """Return labels and value of an expected sample; a histogram as the server writes it."""
        (series,) = _loaded("1m", sample.get("labels") or "{}", sample.get("histogram", 0)).series
        labels = tuple(sorted(series.labels.items()))
        if "histogram" not in sample:
            return labels, float(sample["value"])
        (item,) = series.items
        return labels, self._as_written(item, at)

    def _as_written(self, histogram: float | Histogram | None, at: str) -> Any:
        assert histogram is not None
        name = f"{_EXPECTED}_{self.asked}"
        self._write([Series({"__name__": name}, [(round(float(at) * 1000), histogram)])])
        (row,) = self._ask("query", query=name, time=at)["result"]
        return row["histogram"][1]

    def _same(self, found: Any, wanted: Any) -> bool:
        if isinstance(found, dict) or isinstance(wanted, dict):
            return bool(found == wanted)
        if self.test.fuzzy and wanted in {math.nextafter(found, -math.inf), math.nextafter(found, math.inf)}:
            return True
        return bool(found == wanted) or (math.isnan(found) and math.isnan(wanted))

    def _compare_alerts(self, alert: dict[str, Any]) -> str:
        name = alert["alertname"]
        selector = f'ALERTS{{alertname="{name}",alertstate="firing"}}'
        data = self._ask("query", query=selector, time=self._at(alert["eval_time"]))
        hidden = {"__name__", "alertstate"}
        found = sorted(_labels(row["metric"], without=hidden) for row in data["result"])
        wanted = sorted(_labels({**one.get("exp_labels", {}), "alertname": name}) for one in alert["exp_alerts"])
        return "" if found == wanted else f"got {found}, wanted {wanted}"


def _labels(labels: Mapping[str, str], without: Iterable[str] = ()) -> Labels:
    return tuple(sorted((name, text) for name, text in labels.items() if name not in without))


def _samples(data: dict[str, Any]) -> Iterator[tuple[Labels, Any]]:
    """Yield labels and value of each sample of an instant query."""
    if data["resultType"] == "scalar":
        yield (), float(data["result"][1])
        return
    for row in data["result"]:
        yield _labels(row["metric"]), float(row["value"][1]) if "value" in row else row["histogram"][1]


Made = list[tuple[Labels, dict[int, float]]]


def _recorded(rule: Mapping[str, Any], rows: list[tuple[dict[str, str], dict[int, float]]]) -> Made:
    added = {**rule.get("labels", {}), "__name__": rule["record"]}
    return [(_labels({**labels, **added}), points) for labels, points in rows]


def _alerting(rule: Mapping[str, Any], rows: list[tuple[dict[str, str], dict[int, float]]], times: range) -> Made:
    """Return ``ALERTS``: pending for as long as the rule says, then firing."""
    made: defaultdict[Labels, dict[int, float]] = defaultdict(dict)
    for labels, points in rows:
        added = {**rule.get("labels", {}), "__name__": "ALERTS", "alertname": rule["alert"]}
        since = None
        for at in times:
            since = None if at not in points else at if since is None else since
            if since is not None:
                state = "firing" if at - since >= _duration(rule.get("for", "0s")) else "pending"
                made[_labels({**labels, **added, "alertstate": state})][at] = 1.0
    return list(made.items())


def _with_ends(points: dict[int, float], times: range) -> list[tuple[int, float | Histogram]]:
    """Return the points with a mark of staleness at each evaluation that had none after one that had."""
    ended = {at: STALE for at in times if at not in points and at - times.step in points}
    return sorted((points | ended).items())
