"""Settings of the ``prometheus`` receiver, against prometheus.yml files good and bad."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from headrace.pipeline.prometheus_values import format_duration, parse_duration, parse_size
from headrace.receivers.prometheus import unsupported
from headrace.receivers.prometheus.config import PrometheusConfig, PrometheusYml
from headrace.receivers.prometheus.job import Job, jobs_of
from headrace.receivers.prometheus.protocols import default_protocols

SUITE = Path(__file__).parents[2].parent / "shared" / "conformance" / "config"
FILES = sorted(path.name for path in SUITE.glob("*.y*ml")) or ["absent.good.yml"]
KNOWN = {*unsupported.SECTIONS, *unsupported.GLOBAL, *unsupported.JOB}

# Files that hold something else than a whole configuration, or that another file of the suite is about.
TAKEN_ALTHOUGH_BAD = {
    "section_key_dup.bad.yml",  # the YAML itself is wrong: the loader of configuration files says so
}
NOT_A_CONFIGURATION = {"url_in_targetgroup.bad.yml", "static_config.bad.yml"}

# What of the suite this receiver has: these files load as they are.
SUPPORTED = {
    "external_labels.good.yml", "global_disable_always_scrape_classic_hist.good.yml",
    "global_disable_extra_scrape_metrics.good.yml", "global_enable_extra_scrape_metrics.good.yml",
    "global_timeout.good.yml", "local_disable_extra_scrape_metrics.good.yml",
    "local_enable_extra_scrape_metrics.good.yml", "scrape_config_default_validation_mode.yml",
    "scrape_config_disable_compression.good.yml", "scrape_config_files.good.yml", "scrape_config_files2.good.yml",
    "scrape_config_global_validation_mode.yml", "scrape_config_local_global_validation_mode.yml",
    "scrape_config_local_infer_escaping.yml", "scrape_config_local_validation_mode.yml",
    "kubernetes_empty_apiserver.good.yml", "kubernetes_kubeconfig_without_apiserver.good.yml",
    "kubernetes_selectors_endpoints.good.yml", "kubernetes_selectors_ingress.good.yml",
    "kubernetes_selectors_node.good.yml", "kubernetes_selectors_pod.good.yml",
    "kubernetes_selectors_service.good.yml",
}  # fmt: skip


def load(name: str) -> Any:
    path = SUITE / name
    if not path.is_file():
        pytest.skip(f"{SUITE} is not there")
    return yaml.safe_load(path.read_text())


def faults(content: Any) -> list[str]:
    try:
        PrometheusYml.model_validate({} if content is None else content)
    except ValidationError as error:
        return [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
    return []


@pytest.mark.conformance("config")
@pytest.mark.parametrize("name", [name for name in FILES if ".bad." in name])
def test_a_bad_file_is_refused(name: str) -> None:
    """Whatever Prometheus refuses is refused, by its fault or because its section is not for the receiver."""
    content = load(name)
    if name in TAKEN_ALTHOUGH_BAD:
        pytest.skip("a fault of the YAML, which the loader finds")
    if name in NOT_A_CONFIGURATION:
        content = {"scrape_configs": [{"job_name": "a", "static_configs": [content]}]}
    assert faults(content)


@pytest.mark.conformance("config")
@pytest.mark.parametrize("name", [name for name in FILES if ".bad." not in name])
def test_a_good_file_loads_or_names_what_is_not_supported(name: str) -> None:
    """What Prometheus takes is never called unknown or wrong: it is supported, or refused by name."""
    found = faults(load(name))
    if name in SUPPORTED:
        assert found == []
    for fault in found:
        assert "not supported" in fault, fault
        if "not supported: " in fault:
            assert any(f"{known} (" in fault for known in KNOWN), fault


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("bearertoken.bad.yml", "at most one of bearer_token"),
        ("bearertoken_basicauth.bad.yml", "at most one of basic_auth"),
        ("dropequal1.bad.yml", "dropequal action requires only"),
        ("empty_metric_relabel_config.bad.yml", "metric_relabel_configs.0"),
        ("empty_scrape_config.bad.yml", "scrape_configs.0"),
        ("empty_static_config.bad.yml", "static_configs.0"),
        ("empty_target_relabel_config.bad.yml", "relabel_configs.0"),
        ("jobname.bad.yml", "job_name"),
        ("jobname_dup.bad.yml", 'found multiple scrape configs with job name "prometheus"'),
        ("labelname.bad.yml", "external_labels"),
        ("labelvalue.bad.yml", "external_labels.name"),
        ("metric_name_validation_scheme.bad.yml", "metric_name_validation_scheme: "),
        ("modulus_missing.bad.yml", "modulus"),
        ("regex.bad.yml", "abc(def"),
        ("rules.bad.yml", "rule_files (rules are evaluated by the store"),
        ("empty_alert_relabel_config.bad.yml", "alerting (alerts are sent"),
        ("scrape_body_size_limit.bad.yml", "must be a size with a unit such as 10MB, got 100"),
        ("scrape_config_files_fallback_scrape_protocol1.bad.yml", "fallback_scrape_protocol"),
        ("scrape_config_utf8_conflicting.bad.yml", "utf8 metric names requested but validation scheme is legacy"),
        ("scrape_interval.bad.yml", "scrape timeout greater than scrape interval"),
        ("target_label_missing.bad.yml", "target_label"),
        ("unknown_attr.bad.yml", "rule_files"),
        ("unknown_global_attr.bad.yml", "global.nonexistent_field"),
        ("http_token_file.bad.yml", "at most one of bearer_token"),
        ("http_url_bad_scheme.bad.yml", "URL scheme must be 'http' or 'https'"),
        ("http_url_no_host.bad.yml", "host is missing in URL"),
        ("kubernetes_api_server_with_own_namespace.bad.yml", "'api_server' and 'namespaces.own_namespace'"),
        ("kubernetes_authorization_basicauth.bad.yml", "at most one of basic_auth"),
        ("kubernetes_http_config_without_api_server.bad.yml", "provide the 'api_server' URL explicitly"),
        ("kubernetes_kubeconfig_with_apiserver.bad.yml", "'kubeconfig_file' and 'api_server'"),
        ("kubernetes_kubeconfig_with_http_config.bad.yml", "together with 'kubeconfig_file'"),
        ("kubernetes_kubeconfig_with_own_namespace.bad.yml", "'kubeconfig_file' and 'namespaces.own_namespace'"),
        ("kubernetes_namespace_discovery.bad.yml", "kubernetes_sd_configs.0.namespaces.foo"),
        ("kubernetes_role.bad.yml", "kubernetes_sd_configs.0.role"),
        ("kubernetes_selectors_duplicated_role.bad.yml", "duplicated selector role: pod"),
        ("kubernetes_selectors_endpoints.bad.yml", "endpoints role supports only pod, service, endpoints"),
        ("kubernetes_selectors_incorrect_selector.bad.yml", "invalid selector"),
        ("kubernetes_selectors_pod.bad.yml", "pod role supports only pod, node selectors"),
        ("eureka_no_server.bad.yml", "eureka_sd_configs (there is no such discovery"),
    ],
)
def test_the_fault_is_named(name: str, why: str) -> None:
    """Not just any fault: the one the file is about."""
    assert why in "\n".join(faults(load(name)))


def test_the_published_example_with_everything_names_all_sections() -> None:
    """All that is not supported is told in one go, and what is supported is not among it."""
    text = "\n".join(faults(load("conf.good.yml")))
    for section in ("rule_files", "alerting", "remote_write", "remote_read", "storage", "tracing", "otlp", "runtime"):
        assert f"{section} (" in text


def job(**options: Any) -> Job:
    shared = options.pop("shared", {})
    config = {"config": {"global": shared, "scrape_configs": [{"job_name": "a", **options}]}}
    return next(iter(jobs_of(PrometheusConfig.model_validate(config))))


def test_defaults() -> None:
    """Those of Prometheus."""
    found = job()
    assert (found.interval, found.timeout) == (timedelta(minutes=1), timedelta(seconds=10))
    assert found.protocols == default_protocols(native=False)
    assert found.config.metrics_path == "/metrics"
    assert found.config.honor_timestamps
    assert not found.config.honor_labels
    assert found.escaping == "allow-utf-8"


def test_jobs_take_what_they_lack_from_global() -> None:
    """Limits of zero, too, as in Prometheus; and keep what they have."""
    shared = {"scrape_interval": "30s", "scrape_timeout": "20s", "sample_limit": 5, "label_limit": 3,
              "body_size_limit": "1KB", "scrape_protocols": ["PrometheusText0.0.4"],
              "external_labels": {"b": "2", "a": 1}}  # fmt: skip
    found = job(shared=shared, sample_limit=0, label_limit=9)
    assert (found.sample_limit, found.label_limit, found.body_size_limit) == (5, 9, 1024)
    assert found.protocols == ("PrometheusText0.0.4",)
    assert found.external_labels == (("a", "1"), ("b", "2"))
    assert found.timeout == timedelta(seconds=20)
    assert job(shared=shared, scrape_interval="5s").timeout == timedelta(seconds=5)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"scrape_intervall": "1s"}, "scrape_intervall"),
        ({"scrape_interval": "1.5s"}, "must be a duration such as 15s or 1m30s"),
        ({"scrape_interval": 15}, "must be a duration"),
        ({"static_configs": [{"targets": ["http://a:1/x"]}]}, "is not a valid hostname"),
        ({"static_configs": [{"targets": ["a:1"], "labels": {"": "x"}}]}, "not a valid label name"),
        ({"file_sd_configs": [{"files": ["a/*/b.json"]}]}, "not valid for file discovery"),
        ({"file_sd_configs": [{"files": ["a.txt"]}]}, "not valid for file discovery"),
        ({"file_sd_configs": [{"files": []}]}, "at least 1 item"),
        ({"consul_sd_configs": [{"server": "a"}]}, "consul_sd_configs (there is no such discovery"),
        ({"other_sd_configs": {"file": []}}, "not supported: other_sd_configs"),
        ({"http_sd_configs": [{"url": "ftp://a"}]}, "URL scheme must be 'http' or 'https'"),
        ({"convert_classic_histograms_to_nhcb": True}, "classic histograms stay as they are"),
        ({"authorization": {"type": "Basic"}}, 'use "basic_auth"'),
        ({"basic_auth": {"username": "a", "password": "b", "password_file": "c"}}, "at most one of password"),
        ({"tls_config": {"cert_file": "x"}}, "set together"),
        ({"scheme": "ftp"}, "'http' or 'https'"),
        ({"scrape_protocols": []}, "must not be empty"),
        ({"sample_limit": -1}, "greater than or equal to 0"),
    ],
)
def test_options_that_are_refused(options: dict[str, Any], why: str) -> None:
    """The message names the option and what is wrong with it."""
    with pytest.raises(ValidationError) as caught:
        job(**options)
    assert why in str(caught.value)


def test_a_secret_is_not_shown() -> None:
    """Neither by the model nor by the error about it."""
    found = job(basic_auth={"username": "u", "password": "hunter2"})
    assert "hunter2" not in repr(found) + found.config.model_dump_json()
    with pytest.raises(ValidationError) as caught:
        job(basic_auth={"username": "u", "password": ["hunter2"]})
    assert "must be a string" in str(caught.value)


def test_at_least_one_job() -> None:
    """A receiver without jobs is a mistake."""
    with pytest.raises(ValidationError, match="at least one job"):
        PrometheusConfig.model_validate({"config": {"scrape_configs": []}})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("15s", 15), ("1m30s", 90), ("1h", 3600), ("1d", 86400), ("2w", 1209600), ("1y", 31536000),
     ("500ms", 0.5), ("1h30m", 5400)],
)  # fmt: skip
def test_durations(text: str, seconds: float) -> None:
    """Prometheus' spelling, there and back."""
    value = parse_duration(text)
    assert value == timedelta(seconds=seconds)
    assert parse_duration(format_duration(value)) == value
    assert format_duration(value) == ("0s" if text == "0" else text)


@pytest.mark.parametrize("text", ["", "1", "s", "1s1m", "-1s", "1 s", "1.5h", "1us", "400y", None, True, "\u0661s"])
def test_what_is_no_duration(text: Any) -> None:
    """The value is quoted."""
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize(("text", "size"), [("15MB", 15 << 20), ("1KiB", 1024), ("7B", 7), (0, 0), ("1.5GB", 3 << 29)])
def test_sizes(text: Any, size: int) -> None:
    """Units are powers of 1024."""
    assert parse_size(text) == size
