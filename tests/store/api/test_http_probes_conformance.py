"""Requests and answers recorded from a real Prometheus: the daemon gives the same answers.

Where an answer tells what is stored, or the time, its shape is compared. What differs on purpose is in DIFFERENT, with
what the daemon answers instead.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from one_daemon import OneDaemon
from running import Programs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

PROBES = Path(__file__).parents[4] / "shared" / "conformance" / "http_api" / "probes_prometheus_3.5.3.txt"
BARE_PORT = ":19781/"
"""Recorded from one without writers and administration."""

SHAPES = ("status/tsdb?limit=1", "/labels?", "__name__/values", "/metadata?", "snapshot", "-d query=")
"""Parts of requests whose answers tell what is stored, or the time."""

OTLP_KIND = "unsupported content type 'application/x-www-form-urlencoded'"
SNAPPY = "gzip encoding (compression) is not accepted by this server; only snappy is acceptable"
DIFFERENT: dict[str, tuple[int, str]] = {
    "-X POST 127.0.0.1:19090/-/reload": (403, "Lifecycle API is not enabled."),
    "127.0.0.1:19090/": (200, "<!doctype html>"),
    "-X POST -d x http://127.0.0.1:19781/api/v1/write": (404, "404 page not found"),
    # Debian's Prometheus has no OTLP.
    "-X POST -d x 127.0.0.1:19090/api/v1/otlp/v1/metrics": (415, OTLP_KIND),
    # Prometheus goes on after the error and appends the next one.
    "-X POST -H Content-Encoding: gzip -H Content-Type: application/x-protobuf -d x 127.0.0.1:19090/api/v1/write": (
        415,
        f"{SNAPPY}\n",
    ),
}
"""Requests that the daemon answers otherwise: status, and how the text begins."""


@dataclass(frozen=True)
class Probe:
    """A request as curl was given it, and the recorded answer."""

    command: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def request(self) -> tuple[str, str, bytes | None, dict[str, str]]:
        """Method, target, body and headers."""
        words = shlex.split(self.command, posix=True) if " " in self.command else [self.command]
        if not self.command.startswith("-"):
            words = [self.command]
        method, body, headers = "GET", None, {}
        while words[0].startswith("-"):
            option, value = words[0], words[1]
            if option == "-H":  # recorded without quotes: a name, then the value
                headers[value.removesuffix(":")] = words[2]
                words = words[3:]
                continue
            method = value if option == "-X" else method
            body = value.encode() if option == "-d" else body
            words = words[2:]
        if body is not None and "Content-Type" not in headers:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        url = " ".join(words)
        target = "/" + url.removeprefix("http://").partition("/")[2]
        return method, target.replace('"', "%22").replace("{", "%7B").replace("}", "%7D"), body, headers


def read_probes() -> list[Probe]:
    """Read the file; nothing where it is absent."""
    if not PROBES.exists():
        return []
    found = []
    for part in re.split(r"^### ", PROBES.read_text(), flags=re.MULTILINE)[1:]:
        command, _, answer = part.partition("\n")
        head, _, body = answer.partition("\n\n")
        status, *lines = head.split("\n")
        headers = dict(line.split(": ", 1) for line in lines if ": " in line)
        found.append(Probe(command, int(status.split()[1]), headers, body.strip().encode()))
    return found


@pytest.fixture(scope="module")
def daemons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[OneDaemon, OneDaemon]]:
    """One with everything, and one without writers and administration."""
    folder = tmp_path_factory.mktemp("probes")
    with Programs(folder) as programs:
        full = OneDaemon(programs, folder / "full", full=True)
        full.write_some()
        yield full, OneDaemon(programs, folder / "bare", full=False)


def shape(value: Any) -> Any:
    """Return what kind of value it is, down to the members; of a list its first element."""
    if isinstance(value, dict):
        return {key: shape(member) for key, member in value.items()}
    if isinstance(value, list):
        return [shape(one) for one in value[:1]]
    return "number" if isinstance(value, int | float) else type(value).__name__


def stored_shape(probe: Probe, body: bytes) -> Any:
    """Return the shape of an answer whose names are those of what is stored."""
    found = json.loads(body)
    if "/metadata?" in probe.command:
        found["data"] = list(found["data"].values())
    return shape(found)


@pytest.mark.skipif(not PROBES.exists(), reason="needs the probes in ../shared/conformance")
@pytest.mark.parametrize("probe", read_probes(), ids=lambda probe: probe.command.replace(":", " "))
def test_answer(daemons: tuple[OneDaemon, OneDaemon], probe: Probe, record_property: Callable[..., None]) -> None:
    """Status, type, allowed methods and text are those that were recorded."""
    daemon = daemons[BARE_PORT in probe.command]
    method, target, body, headers = probe.request
    told = daemon.ask(method, target, body, headers)

    if probe.command in DIFFERENT:
        status, start = DIFFERENT[probe.command]
        record_property("judged", f"{probe.command}: {status} {start!r} on purpose")
        assert (told.status, told.body.decode()[: len(start)]) == (status, start)
        return
    assert told.status == probe.status, told.body
    assert told.headers.get("Allow") == probe.headers.get("Allow")
    if probe.body:
        assert told.headers.get("Content-Type") == probe.headers.get("Content-Type")
    if any(part in probe.command for part in SHAPES):
        assert stored_shape(probe, told.body) == stored_shape(probe, probe.body)
    else:
        assert told.body.strip() == probe.body


def test_what_differs_was_recorded() -> None:
    """No line of DIFFERENT is left over."""
    if PROBES.exists():
        assert set(DIFFERENT) <= {probe.command for probe in read_probes()}
