"""``headrace relabel``: what each rule of a configuration makes of a label set."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from headrace.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

RULES = """
      relabel_configs:
      - {source_labels: [__meta_role], regex: db, action: drop}
      - {source_labels: [__address__], regex: '(.*):.*', target_label: host}
      metric_relabel_configs:
      - {regex: tmp_.*, action: labeldrop}
      - {source_labels: [path], regex: '/api/([^/]+)/.*', target_label: api}
      - {source_labels: [code], regex: 5.., action: drop}
"""
PROMETHEUS_YML = "global: {scrape_interval: 15s}\nscrape_configs:\n    - job_name: web\n" + RULES
DAEMON = f"""
receivers:
  prometheus:
    config:
      scrape_configs:
      - job_name: web
        scheme: https
{"".join("  " + line for line in RULES.splitlines(keepends=True))}
processors:
  relabel/last:
    relabel_configs:
    - {{source_labels: [a], target_label: b, replacement: '$${{1}}-$$$$1'}}
exporters: {{nop: }}
service:
  pipelines:
    metrics: {{receivers: [prometheus], processors: [relabel/last], exporters: [nop]}}
"""


def relabel(file: Path, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["relabel", "--config", str(file), *arguments])
    return done.exit_code, done.output


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "prometheus.yml"
    file.write_text(PROMETHEUS_YML)
    return file


def test_the_steps_of_a_series(file: Path) -> None:
    """What each rule takes away, adds and changes, and what remains."""
    code, output = relabel(file, "--labels", 'http_requests{path="/api/users/1",tmp_a="x",code="200"}')
    assert code == 0
    assert output.splitlines() == [
        'http_requests{code="200", path="/api/users/1", tmp_a="x"}',
        '  1. labeldrop regex: "tmp_.*"',
        '     - tmp_a="x"',
        '  2. replace source_labels: [path] target_label: "api" regex: "/api/([^/]+)/.*"',
        '     + api="users"',
        '  3. drop source_labels: [code] regex: "5.."',
        "     no change",
        'http_requests{api="users", code="200", path="/api/users/1"}',
    ]


def test_a_series_that_is_dropped(file: Path) -> None:
    """The rule that drops it is the last line."""
    code, output = relabel(file, "--labels", "__name__=up,code=503")
    assert code == 0
    assert output.splitlines()[-1] == "dropped by rule 3"


def test_the_steps_of_a_target(file: Path) -> None:
    """Labels with an address are a target's: they begin with the job's settings and end with the URL."""
    code, output = relabel(file, "--labels", '{"__address__": "a:1", "__meta_role": "web"}')
    lines = output.splitlines()
    assert code == 0
    assert '__scrape_interval__="15s"' in lines[0]
    assert lines[-1] == 'http://a:1/metrics {host="a", instance="a:1", job="web"}'
    code, output = relabel(file, "--labels", '{"__address__": "a:1", "__meta_role": "db"}')
    assert output.splitlines()[-1] == "dropped by rule 1"


def test_json(file: Path) -> None:
    """The same for programs."""
    code, output = relabel(file, "--json", "--labels", 'up{code="500"}')
    found = json.loads(output)
    assert code == 0
    assert (found["rules"], found["keep"], [step["keep"] for step in found["steps"]]) == (
        "web", False, [True, True, False],
    )  # fmt: skip


def test_a_configuration_of_the_daemon(tmp_path: Path) -> None:
    """Jobs and relabel processors are chosen by name; the environment and ``$$`` are what they are for the daemon."""
    file = tmp_path / "headrace.yaml"
    file.write_text(DAEMON)
    code, output = relabel(file, "--labels", "up")
    assert (code, output) == (2, "--job: choose one of web, relabel/last\n")
    code, output = relabel(file, "--job", "relabel/last", "--labels", "a=x")
    assert (code, output.splitlines()[-1]) == (0, '{a="x", b="x-$1"}') or output
    code, output = relabel(file, "--job", "web", "--labels", '{"__address__": "a:1"}')
    assert output.splitlines()[-1].startswith("https://a:1/metrics ")


def test_a_list_of_rules(tmp_path: Path) -> None:
    """A file that is a list is a list of rules."""
    file = tmp_path / "rules.yml"
    file.write_text("- {target_label: env, replacement: prod}\n")
    assert relabel(file, "--labels", "up")[1].splitlines()[-1] == 'up{env="prod"}'


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--labels", 'up{a=~"x"}'], "labels are given with =, not with other matchers"),
        (["--labels", '{"a": 1}'], "a JSON object whose values are texts is asked for"),
        (["--labels", "up{"], "--labels: "),
        (["--labels", "up", "--job", "none"], "--job: there is no 'none', but web"),
    ],
)
def test_what_is_refused(file: Path, arguments: list[str], why: str) -> None:
    """The message names the option."""
    code, output = relabel(file, *arguments)
    assert code == 2
    assert why in output


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("5", "neither a configuration nor a list of rules"),
        ("- {action: hashmod, target_label: a}", "requires non-zero modulus"),
        ("scrape_configs: [{job_name: a, relabel_configs: [{regex: '('}]}]", "regex"),
        ("a: [", "expected"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, content: str, why: str) -> None:
    """The message says what is wrong with the file."""
    file = tmp_path / "wrong.yml"
    file.write_text(content)
    code, output = relabel(file, "--labels", "up")
    assert code == 2
    assert why in output
