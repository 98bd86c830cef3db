"""Settings that other collectors have: refused with the reason, let pass where they say nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headrace.cli.registry import ComponentRegistry
from headrace.pipeline.config.faults import ConfigFaults
from headrace.pipeline.config.load import LoadedConfig, load_files


def load(receiver: str, body: Any) -> LoadedConfig:
    text = {
        "receivers": {receiver: body},
        "exporters": {"nop": None},
        "service": {"pipelines": {"metrics": {"receivers": [receiver], "exporters": ["nop"]}}},
    }
    return load_files([f"yaml:{json.dumps(text)}"], ComponentRegistry())


def test_a_reason_is_given_at_the_place_of_the_setting() -> None:
    """Whether a component refuses it itself or it is among those that many have; each of several on its own."""
    with pytest.raises(ConfigFaults) as caught:
        load(
            "otlp/a",
            {
                "protocols": {
                    "http": {"middlewares": [{"id": "a"}], "traces_url_path": "/t", "logs_url_path": "/l"},
                    "grpc": {"tls": {"tpm": {"enabled": True}}},
                }
            },
        )
    lines = {fault.key.removeprefix("receivers::otlp/a::protocols::"): fault.why for fault in caught.value.faults}
    assert lines == {
        "http::middlewares": "not supported: extensions cannot be put around requests",
        "http::traces_url_path": "not supported: there are metrics alone",
        "http::logs_url_path": "not supported: there are metrics alone",
        "grpc::tls::tpm": "not supported: keys are read from files or from the configuration",
    }


def test_what_says_nothing_passes() -> None:
    """A default that somebody wrote down does not keep the daemon from starting; other settings stay."""
    http = {"middlewares": [], "include_metadata": 0, "transport": "tcp", "keep_alives_enabled": True}
    loaded = load("otlp", {"protocols": {"http": {**http, "endpoint": "127.0.0.1:4999"}}})
    assert loaded.components["receivers"]["otlp"].config.protocols.http.endpoint == "127.0.0.1:4999"


def test_a_setting_nobody_knows_is_a_mistake() -> None:
    """Even one that is off: it may be a setting of ours, misspelt."""
    with pytest.raises(ConfigFaults, match="unknown setting, did you mean 'endpoint'"):
        load("otlp", {"protocols": {"http": {"endpiont": ""}}})


def test_a_list_is_not_called_too_short_for_what_is_wrong_in_it() -> None:
    """One mistake is told once."""
    processor = {"actions": [{"key": "a", "action": "insert", "from_context": "metadata.x"}]}
    text = {
        "receivers": {"otlp": {}},
        "processors": {"attributes": processor},
        "exporters": {"nop": {}},
        "service": {
            "pipelines": {"metrics": {"receivers": ["otlp"], "processors": ["attributes"], "exporters": ["nop"]}}
        },
    }
    with pytest.raises(ConfigFaults) as caught:
        load_files([f"yaml:{json.dumps(text)}"], ComponentRegistry())
    assert [fault.key for fault in caught.value.faults] == ["processors::attributes::actions::0::from_context"]
