"""Changes of a running configuration, right ones and broken ones, for tests of reloads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reload_stand import Stand


def other_exporter(document: dict[str, Any], _stand: Stand, number: int) -> None:
    document["exporters"]["prometheus_remote_write"]["timeout"] = f"{10 + number}s"


def other_rules(document: dict[str, Any], _stand: Stand, number: int) -> None:
    rule = {"target_label": "reload", "replacement": str(number % 3)}
    document["processors"]["relabel"] = {"relabel_configs": [rule]}
    for pipeline in document["service"]["pipelines"].values():
        pipeline["processors"] = [*pipeline.get("processors", []), "relabel"]


def other_state(document: dict[str, Any], _stand: Stand, number: int) -> None:
    document["processors"]["deltatocumulative"] = {"max_streams": 1000 + number}
    document["processors"]["stream_aggregate"]["rules"][0]["max_quantile_samples"] = 1000 + number
    document["processors"]["cardinality_limit"]["report_interval"] = f"{60 + number}s"


def other_receiver(document: dict[str, Any], _stand: Stand, number: int) -> None:
    document["receivers"]["prometheus_remote_write"]["max_request_body_size"] = 1_000_000 + number


def other_listener(document: dict[str, Any], _stand: Stand, number: int) -> None:
    document["receivers"]["prometheus_remote_write"]["max_connections"] = 100 + number


def connector(document: dict[str, Any], _stand: Stand, _number: int) -> None:
    pipelines = document["service"]["pipelines"]
    document["connectors"] = {"forward": None}
    pipelines["metrics/write"]["exporters"] = ["forward"]
    pipelines["metrics/behind"] = {"receivers": ["forward"], "exporters": ["prometheus_remote_write"]}


def more_parts(document: dict[str, Any], stand: Stand, _number: int) -> None:
    document["extensions"] = {"health_check": {"endpoint": f"127.0.0.1:{stand.other_port}"}}
    document["service"]["extensions"] = ["health_check"]
    document["exporters"]["debug"] = {"verbosity": "basic"}
    for pipeline in document["service"]["pipelines"].values():
        pipeline["exporters"] = [*pipeline["exporters"], "debug"]


def nothing(_document: dict[str, Any], _stand: Stand, _number: int) -> None:
    pass


def other_grpc(document: dict[str, Any], _stand: Stand, number: int) -> None:
    document["receivers"]["otlp"]["protocols"]["grpc"]["max_concurrent_streams"] = 100 + number


def other_calls(document: dict[str, Any], _stand: Stand, number: int) -> None:
    document["receivers"]["otlp"]["protocols"]["grpc"]["include_metadata"] = bool(number % 2)


CHANGES = [
    other_exporter, other_rules, other_state, other_receiver, other_listener, connector, more_parts, other_grpc,
    other_calls, nothing,
]  # fmt: skip


def broken_yaml(_document: dict[str, Any], _stand: Stand) -> str:
    return "receivers: ["


def broken_setting(document: dict[str, Any], _stand: Stand) -> str:
    document["exporters"]["prometheus_remote_write"]["no_such"] = 1
    return json.dumps(document)


def broken_reference(document: dict[str, Any], _stand: Stand) -> str:
    document["exporters"]["prometheus_remote_write"]["auth"] = {"authenticator": "bearer_token_auth"}
    return json.dumps(document)


def broken_port(document: dict[str, Any], stand: Stand) -> str:
    document["receivers"]["prometheus_remote_write"]["endpoint"] = f"127.0.0.1:{stand.sink.server.server_port}"
    return json.dumps(document)


def broken_tls(document: dict[str, Any], stand: Stand) -> str:
    document["receivers"]["otlp"]["protocols"]["http"]["tls"] = {"cert_file": str(stand.file), "key_file": "none"}
    return json.dumps(document)


def broken_grpc(document: dict[str, Any], stand: Stand) -> str:
    document["receivers"]["otlp"]["protocols"]["grpc"] = {"endpoint": f"127.0.0.1:{stand.sink.server.server_port}"}
    return json.dumps(document)


BROKEN = [broken_yaml, broken_setting, broken_reference, broken_port, broken_tls, broken_grpc]
