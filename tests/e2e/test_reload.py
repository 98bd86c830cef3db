"""Reloads under load: what was accepted is delivered, sums go on, memory stays level.

``HEADRACE_RELOADS=1000`` reloads as often as that; ``-o log_cli=true -o log_cli_level=INFO`` shows the counts.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import socket
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from reload_stand import SERIES, Stand
from running import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from running import Programs

RELOADS = int(os.environ.get("HEADRACE_RELOADS", "20"))


def other_exporter(document: dict[str, Any], _stand: Stand, number: int) -> None:
    document["exporters"]["prometheus_remote_write"]["timeout"] = f"{10 + number}s"


def other_rules(document: dict[str, Any], _stand: Stand, number: int) -> None:
    rule = {"target_label": "reload", "replacement": str(number % 3)}
    document["processors"]["relabel"] = {"relabel_configs": [rule]}
    for pipeline in document["service"]["pipelines"].values():
        pipeline["processors"] = [*pipeline.get("processors", []), "relabel"]


def other_state(document: dict[str, Any], _stand: Stand, number: int) -> None:
    document["processors"]["deltatocumulative"] = {"max_streams": 1000 + number}


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


CHANGES = [
    other_exporter, other_rules, other_state, other_receiver, other_listener, connector, more_parts, nothing,
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


def broken_grpc(document: dict[str, Any], stand: Stand) -> str:
    document["receivers"]["otlp"]["protocols"]["grpc"] = {"endpoint": f"127.0.0.1:{stand.sink.server.server_port}"}
    return json.dumps(document)


BROKEN = [broken_yaml, broken_setting, broken_reference, broken_port, broken_grpc]


def test_accepted_is_delivered(programs: Programs, tmp_path: Path) -> None:
    """Whatever changes, and however often a configuration is broken."""
    stand = Stand(programs, tmp_path)
    stand.start(stand.document())
    plain, deltas = stand.writers()
    early_mib = 0.0
    for number in range(RELOADS):
        document = copy.deepcopy(stand.document())
        CHANGES[number % len(CHANGES)](document, stand, number)
        assert stand.reload(document), stand.daemon.log_tail()
        if number % 4 == 1:
            broken = BROKEN[number // 4 % len(BROKEN)]
            assert not stand.reload(broken(copy.deepcopy(document), stand)), broken.__name__
        if number == RELOADS // 5:
            early_mib = stand.rss_mib()
    for writer in (*plain, deltas):
        writer.stop()
        assert writer.wrong == []
        assert writer.accepted > 5
    accepted = sum(writer.accepted for writer in plain) * SERIES
    wait_until(lambda: len(distinct(stand, "x") | distinct(stand, "y")) >= accepted, "all samples", 60)
    assert len(distinct(stand, "x") | distinct(stand, "y")) == accepted
    (sums,) = stand.sink.of("deltas").values()
    wait_until(lambda: stand.sink.of("deltas")["deltas_total"][-1][1] >= deltas.accepted, "all deltas", 30)
    (sums,) = stand.sink.of("deltas").values()
    assert sorted({value for _, value in sums}) == [float(i + 1) for i in range(deltas.accepted)]
    assert stand.rss_mib() < early_mib * 1.25 + 30
    received = sum(map(len, {**stand.sink.of("x"), **stand.sink.of("y")}.values()))
    repeated = sum(writer.repeated for writer in (*plain, deltas))
    logging.getLogger("reload").info(
        "%d reloads, %s: %d samples and %d deltas accepted and delivered, %d duplicates, %d out of order, "
        "%d requests repeated, memory %.0f MiB after a fifth, %.0f MiB at the end",
        RELOADS, stand.reloads(), accepted, deltas.accepted, received - accepted, out_of_order(stand), repeated,
        early_mib, stand.rss_mib(),
    )  # fmt: skip
    assert stand.daemon.stop() == 0


def distinct(stand: Stand, writer: str) -> set[tuple[str, int]]:
    return {(key, time_ms) for key, samples in stand.sink.of(writer).items() for time_ms, _ in samples}


def out_of_order(stand: Stand) -> int:
    found = {**stand.sink.of("x"), **stand.sink.of("y")}.values()
    return sum(one > other for samples in found for (one, _), (other, _) in pairwise(samples))


def test_a_changed_file_is_noticed(programs: Programs, tmp_path: Path) -> None:
    """With ``--watch``; a broken one is told about, and the old configuration goes on."""
    stand = Stand(programs, tmp_path)
    document = stand.document()
    stand.start(document, "--watch")
    stand.write("receivers: [")
    wait_until(lambda: stand.reloads()["failure"] == 1, "a failure", 20)
    stand.daemon.wait_log("not reloaded: the old configuration goes on", 10)
    document["receivers"]["prometheus_remote_write"]["endpoint"] = f"127.0.0.1:{stand.other_port}"
    stand.write(document)
    wait_until(lambda: stand.reloads()["success"] == 1, "a reload", 20)
    with socket.create_connection(("127.0.0.1", stand.other_port), 5):
        pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", stand.write_port), 5).close()
    assert stand.daemon.stop() == 0


def test_what_needs_a_restart_is_refused(programs: Programs, tmp_path: Path) -> None:
    """By name and with the reason."""
    stand = Stand(programs, tmp_path)
    document = stand.document()
    document["exporters"]["store"] = {
        "endpoint": f"127.0.0.1:{stand.other_port}", "directory": str(tmp_path / "data"),
    }  # fmt: skip
    document["service"]["pipelines"]["metrics/otlp"]["exporters"].append("store")
    stand.start(document)
    document["exporters"]["store"]["retention"] = "1d"
    assert not stand.reload(document)
    assert (
        "exporters.store: cannot change while the daemon runs: the store has its directory" in stand.daemon.log_text()
    )
    assert stand.daemon.stop() == 0
