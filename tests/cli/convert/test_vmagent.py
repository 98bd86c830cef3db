"""Flags of vmagent become a configuration of ours that loads; what cannot be carried over is named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner

from headrace.cli.main import main
from headrace.cli.registry import ComponentRegistry
from headrace.pipeline.config.load import load_files

if TYPE_CHECKING:
    from pathlib import Path


def converted(*flags: str) -> tuple[dict[str, Any], list[str]]:
    result = CliRunner().invoke(main, ["convert", "vmagent", "--", *flags], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    load_files([f"yaml:{result.stdout}"], ComponentRegistry())
    missing = [line.removeprefix("not carried over: ") for line in result.stderr.splitlines()]
    return yaml.safe_load(result.stdout), missing


def test_scraping_and_two_destinations(tmp_path: Path) -> None:
    """The n-th value of a flag belongs to the n-th destination, a single one to all; common rules come first."""
    (tmp_path / "scrape.yml").write_text("scrape_configs: [{job_name: a, static_configs: [{targets: ['a:1']}]}]\n")
    (tmp_path / "all.yml").write_text("- {regex: pod, action: labeldrop}\n")
    (tmp_path / "second.yml").write_text("- {source_labels: [job], regex: a, action: keep}\n")
    document, missing = converted(
        f"-promscrape.config={tmp_path / 'scrape.yml'}",
        "-remoteWrite.url=http://localhost:1/api/v1/write,https://two.example/api/v1/write",
        f"-remoteWrite.relabelConfig={tmp_path / 'all.yml'}",
        f"-remoteWrite.urlRelabelConfig=,{tmp_path / 'second.yml'}",
        "-remoteWrite.basicAuth.username", ",joe",
        "-remoteWrite.basicAuth.passwordFile", ",/run/password",
        "--remoteWrite.tlsInsecureSkipVerify=false,true",
        "-remoteWrite.sendTimeout=30s",
        "-remoteWrite.headers=a:b^^c:d", "-remoteWrite.label=site=x,rack=7",
        "-remoteWrite.tmpDataPath=/var/lib/vmagent",
        "-remoteWrite.showURL",
    )  # fmt: skip
    one, two = (document["exporters"][f"prometheus_remote_write/{n}"] for n in (1, 2))
    assert one == {
        "endpoint": "http://localhost:1/api/v1/write",
        "timeout": "30s",
        "headers": {"a": "b", "c": "d"},
        "external_labels": {"site": "x", "rack": "7"},
        "send_metadata": True,
    }
    assert (two["auth"], two["tls"]) == ({"authenticator": "basic_auth/2"}, {"insecure_skip_verify": True})
    assert document["extensions"]["basic_auth/2"]["client_auth"]["password_file"] == "/run/password"
    pipelines = document["service"]["pipelines"]
    assert pipelines["metrics/1"]["processors"] == ["relabel/all"]
    assert pipelines["metrics/2"]["processors"] == ["relabel/all", "relabel/2"]
    assert pipelines["metrics/1"]["receivers"] == ["prometheus", "prometheus_remote_write", "otlp"]
    assert [line.partition(": ")[0] for line in missing] == ["-remoteWrite.tmpDataPath", "-remoteWrite.showURL"]


def test_it_listens_where_vmagent_does() -> None:
    """On loopback where vmagent would be open to everybody."""
    document, missing = converted("-remoteWrite.url=http://localhost:1", "-httpListenAddr=:8430")
    assert document["receivers"]["prometheus_remote_write"]["endpoint"] == "127.0.0.1:8430"
    assert document["receivers"]["otlp"]["protocols"]["http"]["metrics_url_path"] == "/opentelemetry/v1/metrics"
    assert "authentication" in missing[0]


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ([], "-remoteWrite.url: is required"),
        (["-remoteWrite.url=http://a", "stray"], "stray: is no flag"),
        (["-remoteWrite.url=http://a", "-promscrape.config=/none.yml"], "cannot be read"),
    ],
)
def test_flags_that_are_wrong(flags: list[str], why: str) -> None:
    """The exit code is 2, and the reason is told."""
    result = CliRunner().invoke(main, ["convert", "vmagent", "--", *flags])
    assert result.exit_code == 2
    assert why in result.stderr
