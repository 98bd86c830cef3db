"""All of a prometheus.yml is checked before it is converted: what is left out, too."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner

from headrace.cli.main import main
from headrace.cli.registry import ComponentRegistry
from headrace.pipeline.config.load import load_files

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

RUNS = int(os.environ.get("HEADRACE_FUZZ_RUNS", "300"))

NONE = "has no counterpart in the exporter prometheus_remote_write"

WHOLE = """
global: {scrape_interval: 30s, evaluation_interval: 1m, external_labels: {a: b}, rule_query_offset: 1s}
runtime: {gogc: 50}
rule_files: ["rules/*.yml"]
scrape_config_files: ["more/*.yml"]
scrape_configs:
  - job_name: node
    honor_labels: true
    static_configs: [{targets: ["localhost:9100"], labels: {env: prod}}]
    relabel_configs: [{source_labels: [a], regex: 8080, target_label: b, replacement: "$1"}]
    basic_auth: {username: u, password: p}
    consul_sd_configs: [{server: "localhost:8500", tags: [x]}]
    ec2_sd_configs: [{region: eu-central-1, filters: [{name: "tag:x", values: [y]}]}]
alerting:
  alert_relabel_configs: [{regex: pod, action: labeldrop}]
  alertmanagers: [{static_configs: [{targets: ["localhost:9093"]}], timeout: 5s}]
remote_write:
  - url: https://one.example/write
    name: one
    queue_config: {capacity: 100, min_shards: 1, max_shards: 5, min_backoff: 1s, max_backoff: 9s}
    metadata_config: {send: true, send_interval: 1m}
    tls_config: {min_version: TLS12, insecure_skip_verify: false}
    sigv4: {region: eu-central-1}
  - {url: "http://localhost:9009/write", headers: {X-A: b}, write_relabel_configs: [{regex: x, action: labelkeep}]}
remote_read: [{url: "http://localhost:1/read", read_recent: true, required_matchers: {job: a}}]
storage: {tsdb: {out_of_order_time_window: 5m, retention: {time: 30d, size: 5GB}}, exemplars: {max_exemplars: 10}}
tracing: {endpoint: "localhost:4317", sampling_fraction: 0.5, headers: {a: b}}
otlp: {translation_strategy: NoTranslation, promote_resource_attributes: [a]}
"""


def convert(folder: Path, text: str | bytes) -> Result:
    path = folder / "prometheus.yml"
    path.write_bytes(text.encode(errors="surrogatepass") if isinstance(text, str) else text)
    return CliRunner().invoke(main, ["convert", "prometheus", str(path)])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("global: 3", ":1:1: global: must be a mapping, got 3"),
        ("global: {evaluation_interval: 5x}", "global.evaluation_interval: must be a duration"),
        ("global: {rule_query_offset: -1s}", "global.rule_query_offset: must be a duration"),
        ("global: {query_log_file: [a]}", "global.query_log_file: must be a string, got ['a']"),
        ("global: {convert_classic_histograms_to_nhcb: maybe}", "nhcb: must be true or false, got 'maybe'"),
        ("storage: .nan", "storage: must be a mapping, got nan"),
        ("runtime: {gogc: x}", "runtime.gogc: must be a whole number, got 'x'"),
        ("runtime: {gcgo: 1}", "runtime.gcgo: unknown option (there: gogc)"),
        ("rule_files: a.yml", "rule_files: must be a list of paths, got str"),
        ("rule_files: [a/*/b]", "rule_files[0]: must be a path, with a star in its last part at most, got 'a/*/b'"),
        ("rule_files: [[]]", "rule_files[0]: must be a path"),
        ("rule_filez: ", "rule_filez: is no section of a prometheus.yml, did you mean 'rule_files'?"),
        (
            "scrape_configs: [{job_name: a, static_config: }]",
            "scrape_configs[0].static_config: unknown option, did you",
        ),
        ("scrape_config_files: [1, {}]", "scrape_config_files[1]: must be a path"),
        ("scrape_configs: {a: b}", "scrape_configs: must be a list, got dict"),
        ("scrape_configs: [x]", "scrape_configs[0]: must be a mapping, got 'x'"),
        ("scrape_configs: [{job_name: a, scrap_interval: 1s}]", "[0].scrap_interval: unknown option, did you mean"),
        (
            "scrape_configs: [{job_name: a, consul_sd_configs: [{servr: b}]}]",
            "scrape_configs[0].consul_sd_configs[0].servr: unknown option, did you mean 'server'?",
        ),
        ("scrape_configs: [{job_name: a, azure_sd_configs: [{}]}]", "azure_sd_configs[0].subscription_id: is required"),
        ("scrape_configs: [{job_name: a, ec2_sd_configs: [{port: x}]}]", "[0].port: must be a whole number, got 'x'"),
        ("scrape_configs: [{job_name: a, scrape_failure_log_file: {}}]", "scrape_failure_log_file: must be a string"),
        ("scrape_configs: [{job_name: a, tls_config: {min_version: TLS9}}]", "tls_config.min_version: must be ''"),
        ("scrape_configs: [{job_name: a, enable_compression: null}]", "must be true or false, got None"),
        ("alerting: {alertmanager: []}", "alerting.alertmanager: unknown option, did you mean 'alertmanagers'?"),
        ("alerting: {alertmanagers: [{timeout: 1}]}", "alerting.alertmanagers[0].timeout: must be a duration"),
        ("alerting: {alertmanagers: [{sigv4: {}, basic_auth: {username: a}}]}", "alertmanagers[0]: at most one of"),
        ("alerting: {alert_relabel_configs: [{action: x}]}", "alert_relabel_configs[0].action: must be 'replace'"),
        ("remote_write: [{url: 'http://a', queue_config: {max_shardz: 3}}]", "queue_config.max_shardz: unknown option"),
        ("remote_write: [{url: 'http://a', queue_config: {capacity: 0}}]", "capacity: must be greater than or equal"),
        ("remote_write: [{url: 'http://a', queue_config: {min_shards: 99}}]", "min_shards 99 is more than max_shards"),
        ("remote_write: [{url: 'http://a', sigv4: {access_key: a}}]", "access_key and secret_key are set together"),
        ("remote_write: [{url: 'http://a', sigv4: {role: a}}]", "remote_write[0].sigv4.role: unknown option"),
        ("remote_write: [{url: 'http://a', azuread: {}}]", "remote_write[0].azuread: exactly one of"),
        ("remote_write: [{url: 'http://a', azuread: {sdk: {}}, sigv4: {}}]", "more than one kind of credentials"),
        ("remote_write: [{url: 'http://a', headers: {Host: b}}]", "remote_write[0].headers: Host is a reserved header"),
        ("remote_read: [{url: 'http://a', read_recen: true}]", "remote_read[0].read_recen: unknown option"),
        ("storage: {tsdb: {retention: {percentage: 101}}}", "storage.tsdb.retention.percentage: must be less than"),
        ("storage: {tsdb: {retention: {time: 1}}}", "storage.tsdb.retention.time: must be a duration"),
        ("storage: {exemplars: {max_exemplars: x}}", "storage.exemplars.max_exemplars: must be a whole number"),
        ("tracing: {}", "tracing.endpoint: is required"),
        ("tracing: {endpoint: a, client_type: udp}", "tracing.client_type: must be 'http' or 'grpc', got 'udp'"),
        ("otlp: {promote_resource_attributes: [a, a]}", "attribute 'a' stands there twice"),
        ("global: {external_labels: {!!binary '/w==': b}}", "a key must be text"),
        ("global: {external_labels: {a: !!binary '/w=='}}", "global.external_labels.a: is no text"),
        ("global: {scrape_interval: !!int x}", "is no value of the kind int: 'x'"),
        ("a: \x00", "no YAML: unacceptable character"),
    ],
)
def test_mistakes_have_a_place(tmp_path: Path, text: str, why: str) -> None:
    """File, line and column, the path of the option, and the value; there is no configuration."""
    result = convert(tmp_path, text)
    assert isinstance(result.exception, SystemExit)
    assert (result.exit_code, result.stdout) == (2, "")
    assert why in result.stderr
    assert result.stderr.startswith(f"{tmp_path}/prometheus.yml:")


def test_all_mistakes_at_once_and_the_list(tmp_path: Path) -> None:
    """In the order of the file; then what could not be carried over of the rest."""
    text = (
        "global: {scrape_interval: 5x, evaluation_interval: 1m}\n"
        "remote_write:\n"
        "  - {url: 'http://a', queue_config: {max_shardz: 1, capacity: -1}, round_robin_dns: 7x}\n"
        "  - {url: 'http://b', round_robin_dns: true}\n"
        "tracing: {endpoint: a}\n"
        "alertin: {}\n"
    )
    result = convert(tmp_path, text)
    file = f"{tmp_path}/prometheus.yml"
    lines = result.stderr.splitlines()
    assert [line.partition(": must")[0].partition(", did")[0] for line in lines] == [
        f"{file}:1:10: global.scrape_interval",
        f"{file}:3:38: remote_write[0].queue_config.max_shardz: unknown option",
        f"{file}:3:53: remote_write[0].queue_config.capacity",
        f"{file}:3:68: remote_write[0].round_robin_dns",
        f"{file}:6:1: alertin: is no section of a prometheus.yml",
        "not carried over: tracing: the daemon does not send traces",
        f"not carried over: remote_write[1].round_robin_dns: {NONE}",
    ]


def test_the_list_is_told_where_the_result_does_not_load(tmp_path: Path) -> None:
    """With what does not load, which is printed to be mended."""
    text = "remote_write: [{url: 'http://elsewhere', basic_auth: {username: a}}]\nrule_files: [a]\n"
    result = convert(tmp_path, text)
    assert result.exit_code == 2
    assert yaml.safe_load(result.stdout)["exporters"]
    first, *rest = result.stderr.splitlines()
    assert first.startswith("not supported: exporters::prometheus_remote_write/1")
    assert "not carried over: rule_files" in rest[0]


def test_files_with_jobs(tmp_path: Path) -> None:
    """They hold jobs alone, whose names are not taken; their mistakes have their places. None is worth a word."""
    job = "{job_name: %s, static_configs: [{targets: ['a:1']}]}"
    (tmp_path / "a.yml").write_text(f"scrape_configs: [{job % 'one'}, {job % 'two'}]\n")
    (tmp_path / "b.yml").write_text(f"global: {{}}\nscrape_configs: [{job % 'two'}, {{job_nam: x}}]\n")
    (tmp_path / "c.yml").write_bytes(b"\xff")
    (tmp_path / "d.yml").mkdir()
    good = convert(tmp_path, "scrape_config_files: [a.yml, none.yml]\n")
    assert good.exit_code == 0
    assert "scrape_config_files[1]: no file matches 'none.yml'" in good.stderr
    jobs = yaml.safe_load(good.stdout)["receivers"]["prometheus"]["config"]["scrape_configs"]
    assert [one["job_name"] for one in jobs] == ["one", "two"]
    bad = convert(tmp_path, f"scrape_config_files: ['{tmp_path}/?.yml']\n")
    assert bad.exit_code == 2
    lines = [line for line in bad.stderr.splitlines() if not line.startswith("not carried over")]
    assert [line.removeprefix(f"{tmp_path}/")[:40] for line in lines] == [
        "b.yml:1:1: global: is no section of a pr",
        "b.yml:2:19: scrape_configs[0].job_name: ",
        "b.yml:2:73: scrape_configs[1].job_name: ",
        "b.yml:2:74: scrape_configs[1].job_nam: u",
        "c.yml: cannot be read: 'utf-8' codec can",
        "d.yml: cannot be read: Is a directory",
    ]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """The reason of the system is told."""
    result = CliRunner().invoke(main, ["convert", "prometheus", str(tmp_path / "none.yml")])
    assert (result.exit_code, result.stderr) == (
        2,
        f"{tmp_path}/none.yml: cannot be read: No such file or directory\n",
    )


def test_texts_are_as_they_were_written(tmp_path: Path) -> None:
    """A password of digits keeps its zeros, and a label its spelling."""
    text = (
        "global: {external_labels: {a: 007, b: True, c: 1.50}}\n"
        "remote_write: [{url: 'http://localhost:1', name: my own, basic_auth: {username: u, password: 0123}}]\n"
    )
    result = convert(tmp_path, text)
    assert result.exit_code == 0, result.stderr
    loaded = load_files([f"yaml:{result.stdout}"], ComponentRegistry())
    exporter = loaded.components["exporters"]["prometheus_remote_write/my_own"].config
    assert exporter.external_labels == {"a": "007", "b": "True", "c": "1.50"}
    extension = loaded.components["extensions"]["basic_auth/my_own"].config
    assert extension.client_auth.password.reveal() == "0123"


def test_nothing_is_the_default(tmp_path: Path) -> None:
    """Sections and options without a value, as lists are whose entries are comments, say nothing."""
    text = (
        "global:\nrule_files:\nalerting: {alertmanagers: [{static_configs: [{targets: }]}]}\n"
        "scrape_configs: [{job_name: a, scheme: , static_configs: , params: , sample_limit: }]\n"
    )
    result = convert(tmp_path, text)
    assert result.exit_code == 0, result.stderr
    jobs = yaml.safe_load(result.stdout)["receivers"]["prometheus"]["config"]["scrape_configs"]
    assert jobs == [{"job_name": "a"}]


def test_a_secret_is_not_told(tmp_path: Path) -> None:
    """Not even where it is wrong."""
    text = (
        "remote_write: [{url: 'http://u:hunter2@a:1', basic_auth: {password: [hunter2]}, headers: {a: [hunter2]}}]\n"
        "scrape_configs: [{job_name: a, ovhcloud_sd_configs: [{consumer_key: [hunter2]}]}]\n"
    )
    result = convert(tmp_path, text)
    assert result.exit_code == 2
    assert "hunter2" not in result.stderr


def test_a_name_cannot_break_the_list(tmp_path: Path) -> None:
    """What is missing is a comment of one line, whatever a job is called."""
    text = 'scrape_configs: [{job_name: "a\\nb: [", consul_sd_configs: [{}]}]\n'
    result = convert(tmp_path, text)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("# not carried over: job a b: [.consul_sd_configs")


JUNK: list[Any] = [
    None, True, 0, -1, 1.5, float("nan"), 10**30, "", "x", "a/b", "\0", "5m", "${env:X}", "$", "\u00e9", "a\nb",
    b"\xff",
    [], {}, [None], [[]], {"a": None}, {"": 1}, [1, "a", {}], {"a": {"b": [1]}},
]  # fmt: skip
SCRAPS = [
    "[",
    "]",
    "{",
    "}",
    ":",
    ",",
    "\n",
    "- ",
    "&a ",
    "*a",
    "!!binary ",
    "!!int ",
    "'",
    '"',
    "|",
    "#",
    "\t",
    "\0",
    "<<: ",
]


def mutated(node: Any, rng: random.Random) -> Any:
    """Return a tree with one part replaced, left out, renamed or doubled."""
    if not isinstance(node, dict | list) or not node or rng.random() < 0.1:
        return rng.choice(JUNK)
    if isinstance(node, list):
        at = rng.randrange(len(node))
        return rng.choice([node + node, node[:at], [mutated(x, rng) if i == at else x for i, x in enumerate(node)]])
    key = rng.choice(list(node))
    if rng.random() < 0.2:
        return {(f"{name}z" if name == key else name): one for name, one in node.items()}
    return {**node, key: mutated(node[key], rng)}


def damaged(text: str, rng: random.Random) -> str:
    """Return a text with a piece taken out or put in."""
    at = rng.randrange(len(text))
    if rng.random() < 0.5:
        return text[:at] + rng.choice(SCRAPS) + text[at:]
    return text[:at] + text[at + rng.randint(1, 20) :]


@pytest.mark.fuzz
def test_mutated_files(tmp_path: Path) -> None:
    """Each is converted into what loads, or refused with a reason; nothing is a traceback."""
    rng = random.Random(23)
    whole = yaml.safe_load(WHOLE)
    codes = {0: 0, 2: 0}
    for _ in range(RUNS):
        if rng.random() < 0.5:
            text = damaged(WHOLE, rng)
        else:
            text = yaml.safe_dump(mutated(mutated(whole, rng), rng), sort_keys=False)
        result = convert(tmp_path, text)
        assert isinstance(result.exception, SystemExit | None), (text, result.exception)
        assert result.exit_code == 0 or result.stderr, text
        codes[result.exit_code] += 1
        if result.exit_code == 0:
            assert load_files([f"yaml:{result.stdout}"], ComponentRegistry()).pipelines
    assert min(codes.values()) > RUNS // 20, codes
