"""Whole configurations: what is told of those that are wrong, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from headrace.cli.registry import ComponentRegistry
from headrace.pipeline.config.faults import ConfigFaults
from headrace.pipeline.config.load import LoadedConfig, load_files
from headrace.pipeline.config.substitution import Substitution

if TYPE_CHECKING:
    from pathlib import Path

RIGHT = """\
receivers: {otlp: }
exporters:
  otlp_http: {endpoint: "http://localhost:4318"}
service:
  pipelines:
    metrics: {receivers: [otlp], exporters: [otlp_http]}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(*texts: str, settings: tuple[str, ...] = (), **environment: str) -> LoadedConfig:
    sources = [f"yaml:{text}" for text in texts]
    return load_files(sources, ComponentRegistry(), settings, Substitution(environment))


def faults(*texts: str, **more: Any) -> list[str]:
    with pytest.raises(ConfigFaults) as caught:
        load(*texts, **more)
    return [str(fault) for fault in caught.value.faults]


def headers(loaded: LoadedConfig) -> dict[str, str]:
    found = loaded.components["exporters"]["otlp_http"].config.headers
    return {name: value.reveal() for name, value in found.items()}


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("[otlp]", "otlp", "service::pipelines::metrics::receivers: must be a list, got 'otlp'"),
        ("{receivers: [otlp], exporters: [otlp_http]}", "", "service::pipelines::metrics: must be a mapping, got None"),
        ("metrics:", "metrics/:", "service::pipelines::metrics/: must be metrics or metrics/name"),
        ("metrics:", "metric:", "service::pipelines::metric: must be metrics or metrics/name, did you mean 'metrics'?"),
        ("metrics:", "traces:", "service::pipelines::traces: pipelines of traces are not supported"),
        ("{otlp: }", "{otlp: {protocols: {http: 7}}}", "receivers::otlp::protocols::http: must be a mapping, got 7"),
        ("[otlp]", "[oltp]", "receivers::0: receiver 'oltp' is not configured, did you mean 'otlp'?"),
    ],
)
def test_a_mistake_is_told_once_in_words_of_ours(old: str, new: str, why: str) -> None:
    """With its place, and nothing that merely follows from it."""
    (fault,) = faults(RIGHT.replace(old, new))
    assert fault.startswith("yaml:")
    assert why in fault


def test_all_sources_that_cannot_be_read_are_told() -> None:
    """Together with settings that are none."""
    with pytest.raises(ConfigFaults) as caught:
        load_files(["nope.yaml", "file:none.yaml", "https://a/b", "env:1"], ComponentRegistry(), ["a"])
    assert [str(fault) for fault in caught.value.faults] == [
        "--set a: must be key=value",
        "env:1: environment variable '1' has an invalid name (write $${1} where the text is meant)",
        "https://a/b: is not supported (there: file, env, yaml)",
        "none.yaml: cannot be read: No such file or directory",
        "nope.yaml: cannot be read: No such file or directory",
    ]


def test_a_mistake_in_a_file_that_is_named_is_told_there(folder: Path) -> None:
    """By the line of that file, and with the whole path of the setting."""
    (folder / "jobs.yml").write_text("scrape_configs:\n- job_name: a\n  bogus: 1\nremote_write: [{url: b}]\n")
    found = faults(RIGHT.replace("{otlp: }", "{otlp: , prometheus: {config: '${file:jobs.yml}'}}"))
    assert found[0].startswith("jobs.yml:3:3: receivers::prometheus::config::scrape_configs::0::bogus: unknown setting")
    assert found[1].startswith("jobs.yml:4:1: receivers::prometheus::config::remote_write: not supported: ")
    (folder / "jobs.yml").write_text("scrape_configs: [")
    (unread,) = faults(RIGHT.replace("{otlp: }", "{otlp: , prometheus: {config: '${file:jobs.yml}'}}"))
    assert unread.startswith("jobs.yml:1:18: no YAML: ")


def test_a_mistake_in_a_variable_is_told_where_it_is_used() -> None:
    """A variable has no lines that anybody could look at."""
    (found,) = faults(RIGHT.replace("{otlp: }", "{otlp: '${env:BODY}'}"), BODY="{protocols: {htpt: }}")
    assert found.startswith("yaml:1:13: receivers::otlp::protocols::htpt: unknown setting, did you mean 'http'?")


@pytest.mark.parametrize(
    "value", ["0123", "1e5", "true", "null", "ab # no comment", "'quoted'", "a: b", "[x", " padded ", "2026-11-26", ""]
)
def test_text_out_of_the_environment_is_text(value: str) -> None:
    """Whatever it would be in YAML: a password may look like anything."""
    text = RIGHT.replace('4318"', '4318", headers: {A: "${env:VALUE}"}')
    assert headers(load(text, VALUE=value)) == {"A": value}


def test_text_out_of_a_file_ends_without_the_line_feed(folder: Path) -> None:
    """Which editors put there."""
    (folder / "password").write_text("0123\n")
    assert headers(load(RIGHT.replace('4318"', '4318", headers: {A: "${file:password}"}'))) == {"A": "0123"}


def test_numbers_and_booleans_are_text_where_text_is_wanted() -> None:
    """As they were written, in the file, in a file over it and by --set."""
    text = RIGHT.replace('4318"', '4318", headers: {A: 010, B: 1.50, C: yes, D: True}')
    over = "exporters: {otlp_http: {headers: {D: 0x1F}}}"
    loaded = load(text, over, settings=("exporters.otlp_http.headers.E=007",))
    assert headers(loaded) == {"A": "010", "B": "1.50", "C": "yes", "D": "0x1F", "E": "007"}


def test_a_later_file_replaces_what_was_written_before() -> None:
    """Nothing of the value below is left, neither its place nor what was written."""
    text = RIGHT.replace('4318"', '4318", headers: {A: 010}')
    assert headers(load(text, "exporters: {otlp_http: {headers: {A: b}}}")) == {"A": "b"}
    (fault,) = faults(text, "exporters: {otlp_http: {headers: [c]}}")
    assert fault.startswith("yaml:1:25: exporters::otlp_http::headers: must be a mapping")


def test_a_variable_that_is_not_set_is_told_beside_the_mistakes() -> None:
    """It is the reason more often than not."""
    with pytest.raises(ConfigFaults, match="must be host:port") as caught:
        load(RIGHT.replace("{otlp: }", "{otlp: {protocols: {http: {endpoint: '${env:GONE}'}}}}"))
    assert caught.value.warnings == ("environment variable GONE is not set and has no default; it is empty",)
    assert str(caught.value).endswith("warning: environment variable GONE is not set and has no default; it is empty")


def test_settings_of_the_collector_s_telemetry_have_their_reasons() -> None:
    """Each at its place."""
    telemetry = "{resource: {a: b}, metrics: {address: ':8888'}, logs: {output_paths: [a], sampling: {enabled: true}}}"
    found = faults(f"{RIGHT}  telemetry: {telemetry}\n")
    assert [one.split(": ")[1].rpartition("::")[2] for one in found] == [
        "resource",
        "address",
        "output_paths",
        "sampling",
    ]
    assert all("not supported: " in one for one in found)
