"""A prometheus.yml becomes a configuration of ours that loads; what cannot be carried over is named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner

from headrace.cli.main import main
from headrace.cli.registry import ComponentRegistry
from headrace.pipeline.config.load import load_files
from headrace.pipeline.config.substitution import Substitution

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.pipeline.config.load import LoadedConfig

WHOLE = r"""
global:
  scrape_interval: 30s
  evaluation_interval: 1m
  external_labels: {cluster: "a$${b}", site: "${HEADRACE_TEST_SITE}", zone: $HEADRACE_TEST_SITE}
scrape_configs:
  - job_name: node
    static_configs: [{targets: ["localhost:9100"]}]
    metric_relabel_configs:
      - {source_labels: [__name__], regex: "go_(.*)", replacement: "$${1}_x$$", target_label: __name__}
  - job_name: cloud
    consul_sd_configs: [{server: "localhost:8500"}]
    tls_config: {min_version: TLS10}
remote_write:
  - url: https://one.example/api/v1/write
    name: one
    remote_timeout: 7s
    proxy_url: http://localhost:3128
    protobuf_message: io.prometheus.write.v2.Request
    headers: {X-Scope: a}
    basic_auth: {username: joe, password: s3cret}
    tls_config: {ca_file: ca.pem, server_name: one, min_version: TLS13, key: inline, cert_file: c.pem}
    write_relabel_configs: [{regex: pod, action: labeldrop}]
    queue_config: {min_backoff: 1s, max_backoff: 9s, max_shards: 7, capacity: 100}
  - url: localhost:9009/api/v1/write
    authorization: {type: Token, credentials_file: token}
    round_robin_dns: true
    metadata_config: {send: false}
    tls_config: {insecure_skip_verify: true}
  - url: https://aps.example/api/v1/remote_write
    sigv4: {region: eu-central-1, access_key: AK, secret_key: SK, role_arn: "arn:aws:iam::1:role/r", external_id: e}
rule_files: [rules.yml]
alerting: {alertmanagers: [{static_configs: [{targets: ["localhost:9093"]}]}]}
storage: {tsdb: {out_of_order_time_window: 5m}}
"""


def converted(path: Path, *options: str) -> tuple[dict[str, Any], list[str], LoadedConfig]:
    """Return what was printed, what was not carried over, and what our loader makes of it."""
    result = CliRunner().invoke(main, ["convert", "prometheus", *options, str(path)], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    environment = {"HEADRACE_TEST_SITE": "here"}
    loaded = load_files(
        [f"yaml:{result.stdout}"], ComponentRegistry(), substitution=Substitution(environment)
    )  # fmt: skip
    missing = [line.partition(": ")[2] for line in result.stderr.splitlines()]
    assert missing == [line.partition(": ")[2] for line in result.stdout.splitlines() if line.startswith("# ")]
    return yaml.safe_load(result.stdout), missing, loaded


def write(folder: Path, text: str) -> Path:
    path = folder / "prometheus.yml"
    path.write_text(text)
    return path


def test_jobs_and_destinations(tmp_path: Path) -> None:
    """Each destination has an exporter and a pipeline, with its credentials, rules and limits."""
    document, _, loaded = converted(write(tmp_path, WHOLE))
    one = document["exporters"]["prometheus_remote_write/one"]
    assert one == {
        "endpoint": "https://one.example/api/v1/write",
        "timeout": "7s",
        "headers": {"X-Scope": "a"},
        "proxy_url": "http://localhost:3128",
        "protobuf_message": "io.prometheus.write.v2.Request",
        "external_labels": {
            "cluster": "a$${b}",
            "site": "${env:HEADRACE_TEST_SITE}",
            "zone": "${env:HEADRACE_TEST_SITE}",
        },
        "auth": {"authenticator": "basic_auth/one"},
        "tls": {
            "ca_file": "ca.pem",
            "server_name_override": "one",
            "min_version": "1.3",
            "key_pem": "inline",
            "cert_file": "c.pem",
        },
        "retry_on_failure": {"initial_interval": "1s", "max_interval": "9s"},
        "sending_queue": {"num_consumers": 7},
    }
    assert document["extensions"]["basic_auth/one"] == {"client_auth": {"username": "joe", "password": "s3cret"}}
    role = {"arn": "arn:aws:iam::1:role/r"}
    assert document["extensions"]["sigv4_auth/3"] == {
        "region": "eu-central-1", "access_key_id": "AK", "secret_access_key": "SK", "assume_role": role,
    }  # fmt: skip
    second = document["exporters"]["prometheus_remote_write/2"]
    assert second["endpoint"] == "http://localhost:9009/api/v1/write"
    assert "send_metadata" not in second
    assert document["exporters"]["prometheus_remote_write/3"]["send_metadata"] is True
    assert document["service"]["pipelines"]["metrics/one"] == {
        "receivers": ["prometheus"], "processors": ["relabel/one"], "exporters": ["prometheus_remote_write/one"],
    }  # fmt: skip
    assert set(document["exporters"]) == {f"prometheus_remote_write/{name}" for name in ("one", "2", "3")}
    jobs = loaded.components["receivers"]["prometheus"].config.config.scrape_configs
    assert [job.job_name for job in jobs] == ["node", "cloud"]
    assert jobs[0].metric_relabel_configs[0].replacement == "$${1}_x$$"
    labels = loaded.components["exporters"]["prometheus_remote_write/one"].config.external_labels
    assert labels == {"cluster": "a${b}", "site": "here", "zone": "here"}


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    """On standard error, and above the configuration."""
    _, missing, _ = converted(write(tmp_path, WHOLE))
    assert [line.partition(": ")[0] for line in missing] == [
        "rule_files",
        "alerting",
        "global.evaluation_interval",
        "job cloud.consul_sd_configs",
        "job cloud.tls_config.min_version",
        "remote_write[0].queue_config.capacity",
        "remote_write[1].url",
        "remote_write[1].tls_config",
        "remote_write[1].round_robin_dns",
        "remote_write[2].sigv4.external_id",
        "storage",
    ]


def test_samples_stay_here_where_they_go_nowhere(tmp_path: Path) -> None:
    """In a store with Prometheus' retention; or in addition, where it is asked for."""
    storage = "storage: {tsdb: {retention: {time: 30d, size: 5GB}, out_of_order_time_window: 5m}}\n"
    document, missing, loaded = converted(write(tmp_path, storage))
    assert document["exporters"]["store"] == {
        "directory": "./data", "retention": "30d", "retention_size": 5 << 30, "out_of_order_time_window": "5m",
    }  # fmt: skip
    assert set(loaded.components["receivers"]) == {"prometheus_remote_write", "otlp"}
    assert missing == ["scrape_configs: there are no jobs: remote write and OTLP are taken at 127.0.0.1:9090"]
    document, _, _ = converted(write(tmp_path, WHOLE), "--store", "/var/lib/metrics")
    assert document["exporters"]["store"]["directory"] == "/var/lib/metrics"
    assert document["service"]["pipelines"]["metrics/store"]["exporters"] == ["store"]


def test_names_of_otlp(tmp_path: Path) -> None:
    """The translation goes to the exporters; attributes that would be promoted are named."""
    text = (
        "otlp: {translation_strategy: NoTranslation, promote_resource_attributes: [a]}\n"
        "remote_write: [{url: 'http://localhost:1'}]\n"
        "scrape_configs: [{job_name: a, static_configs: [{targets: ['a:1']}]}]\n"
    )
    document, missing, _ = converted(write(tmp_path, text))
    assert document["exporters"]["prometheus_remote_write/1"]["translation_strategy"] == "NoTranslation"
    assert list(document["receivers"]) == ["prometheus", "otlp"]
    assert [line.partition(": ")[0] for line in missing] == ["otlp.promote_resource_attributes"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("- a\n", "must be a mapping"),
        ("receivers: {}\n", "is no section of a prometheus.yml"),
        ("remote_write: [{name: a}]\n", "remote_write[0].url: is required"),
        ("remote_write: [null]\n", "remote_write[0]: is empty"),
        ("global: {scrape_intervall: 1s}\n", "global.scrape_intervall"),
        ("remote_write: [{url: 'http://a', name: x}, {url: 'http://b', name: x}]\n", "is the name of another one"),
        (
            "remote_write: [{url: 'http://a', basic_auth: {username: a}, sigv4: {}, bearer_token: b}]\n",
            "at most one of",
        ),
        ("scrape_configs: [{job_name: a, scrape_timeout: 5m}]\n", "scrape timeout greater than scrape interval"),
        ("a: [\n", "no YAML"),
    ],
)
def test_files_that_are_wrong(tmp_path: Path, text: str, why: str) -> None:
    """The exit code is 2, and the reason is told."""
    result = CliRunner().invoke(main, ["convert", "prometheus", str(write(tmp_path, text))])
    assert result.exit_code == 2
    assert why in result.stderr
