"""Settings that other collectors have: refused with the reason, let pass where they say nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headrace.cli.registry import ComponentRegistry
from headrace.pipeline.config.faults import ConfigFaults
from headrace.pipeline.config.load import LoadedConfig, load_files


def load(receiver: str, body: Any, exporters: dict[str, Any] | None = None) -> LoadedConfig:
    exporters = exporters or {"nop": None}
    text = {
        "receivers": {receiver: body},
        "exporters": exporters,
        "service": {"pipelines": {"metrics": {"receivers": [receiver], "exporters": list(exporters)}}},
    }
    return load_files([f"yaml:{json.dumps(text)}"], ComponentRegistry())


def refused(receiver: str, body: Any, exporters: dict[str, Any] | None = None) -> dict[str, str]:
    """Return what is not supported, by place, and why."""
    with pytest.raises(ConfigFaults) as caught:
        load(receiver, body, exporters)
    told = "not supported: "
    return {one.key: one.why.removeprefix(told) for one in caught.value.faults if one.why.startswith(told)}


_AROUND = "extensions cannot be put around requests"
_KEYS = "keys are read from files or from the configuration"


def test_a_reason_is_given_at_the_place_of_the_setting() -> None:
    """By the name of a setting of a block that many components share, wherever it lies; all of them at once."""
    block = {"middlewares": [{"id": "a"}], "tls": {"tpm": {"enabled": True}}}
    found = refused("otlp/a", {"protocols": {"http": block, "grpc": block}})
    place = "receivers::otlp/a::protocols::"
    assert found == {
        f"{place}{protocol}::{name}": why
        for protocol in ("http", "grpc")
        for name, why in (("middlewares", _AROUND), ("tls::tpm", _KEYS))
    }


def test_settings_of_clients() -> None:
    """What the clients of the exporters do not have."""
    http = {"endpoint": "https://a", "middlewares": ["a"], "http2_ping_timeout": "1s", "http2_read_idle_timeout": "1s"}
    grpc = {"endpoint": "a:1", "middlewares": ["a"], "compression_params": {"level": 3}, "tls": {"tpm": {"x": 1}}}
    found = refused("otlp", {}, {"otlp_http": http, "otlp": grpc})
    assert found == {
        "exporters::otlp_http::middlewares": _AROUND,
        "exporters::otlp_http::http2_ping_timeout": "HTTP/1.1 is spoken",
        "exporters::otlp_http::http2_read_idle_timeout": "HTTP/1.1 is spoken",
        "exporters::otlp::middlewares": _AROUND,
        "exporters::otlp::compression_params": "gRPC compresses by itself, at a level of its own",
        "exporters::otlp::tls::tpm": _KEYS,
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
    assert len(caught.value.faults) == 1
    assert "from_context" in caught.value.faults[0].why
