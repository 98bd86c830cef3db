"""Two hundred workspaces in one daemon: what an idle one costs, and what quiet ones feel of a noisy neighbour."""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from lab_daemon import LabDaemon, Sent, query_request, write_request
from remote_write_messages import packed, request_v1
from running import Programs

if TYPE_CHECKING:
    from collections.abc import Callable

WORKSPACES = 200
QUIET = 20
ROUNDS = 15
MB = 1e6


def _resident(lab: LabDaemon) -> float:
    """Return the resident bytes of the daemon, after what it does each second has been done."""
    assert lab.program is not None
    time.sleep(2.5)
    text = Path(f"/proc/{lab.program.pid}/status").read_text()
    return float(next(line.split()[1] for line in text.splitlines() if line.startswith("VmRSS"))) * 1024


def _noise(lab: LabDaemon, workspace: str, stop: threading.Event, sent: list[int]) -> None:
    """Write 2,000 series that nobody has seen in each request, and query them all now and then."""
    number = 0
    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
    path = f"/workspaces/{workspace}/api/v1/"
    while not stop.is_set():
        now = int(time.time() * 1000)
        rows = [({"__name__": "noise", "n": str(number), "i": str(i)}, [(now, 1.0)]) for i in range(2000)]
        lab.ask(Sent("POST", f"{path}remote_write", "", headers, packed(request_v1(rows))))
        number += 1
        sent[0] += 2000
        if number % 10 == 0:
            lab.ask(Sent("GET", f"{path}query", "query=count(noise)"))


def _timed(work: Callable[[], int], expected: int) -> float:
    began = time.perf_counter()
    status = work()
    if status != expected:
        raise AssertionError(f"answered {status}, not {expected}")
    return (time.perf_counter() - began) * 1000


def _quiet(lab: LabDaemon, workspaces: list[str], first: int) -> dict[str, list[float]]:
    """Write to each quiet workspace and query it, in turns; return the milliseconds."""
    spent: dict[str, list[float]] = {"write": [], "query": []}
    for n in range(first, first + ROUNDS):
        for workspace in workspaces:
            write = write_request(workspace, n, 10)
            spent["write"].append(_timed(lambda one=write: lab.ask(one).status, 204))  # type: ignore[misc]
            query = query_request(workspace)
            spent["query"].append(_timed(lambda one=query: lab.ask(one).status, 200))  # type: ignore[misc]
    return spent


def _strangers_and_losses(lab: LabDaemon, workspaces: list[str], rounds: int) -> tuple[int, int]:
    """Return the series in quiet workspaces that are not theirs, and the samples that they miss."""
    strangers = lost = 0
    for workspace in workspaces:
        reply = lab.ask(query_request(workspace, "%7B__name__%3D~%22.%2B%22%7D%5B10m%5D"))
        found = reply.json["data"]["result"]
        strangers += sum(one["metric"]["__name__"] != "lab_sample" for one in found)
        own = [one for one in found if one["metric"]["__name__"] == "lab_sample"]
        lost += rounds * 10 - sum(len(one["values"]) for one in own)
    return strangers, lost


def _percentile(values: list[float], share: float) -> float:
    return round(sorted(values)[min(len(values) - 1, int(len(values) * share))], 2)


def run() -> dict[str, float]:
    """Measure memory and isolation; resident megabytes a workspace, milliseconds a request."""
    with tempfile.TemporaryDirectory() as name, Programs(Path(name)) as programs:
        lab = LabDaemon(programs, Path(name), ("extensions.workspaces.max_workspaces=1000",)).start()
        first = lab.create_workspace("warm")
        lab.ask(write_request(first, 0, 10))
        lab.ask(query_request(first))
        empty = _resident(lab)
        ids = [lab.create_workspace(f"number-{n}", env="bench") for n in range(WORKSPACES)]
        made = _resident(lab)
        for workspace in ids:
            lab.ask(write_request(workspace, 0, 10))
            lab.ask(query_request(workspace))
        touched = _resident(lab)
        assert lab.program is not None
        lab.program.stop()
        lab.start()
        lab.ask(query_request(first))
        again = _resident(lab)
        quiet = ids[:QUIET]
        alone = _quiet(lab, quiet, 1)
        stop, sent = threading.Event(), [0]
        noise = threading.Thread(target=_noise, args=(lab, ids[-1], stop, sent))
        noise.start()
        beside = _quiet(lab, quiet, 1 + ROUNDS)
        stop.set()
        noise.join()
        strangers, lost = _strangers_and_losses(lab, quiet, 1 + 2 * ROUNDS)
    out = {
        "idle_mb_per_workspace": round((made - empty) / MB / WORKSPACES, 3),
        "used_mb_per_workspace": round((touched - empty) / MB / WORKSPACES, 3),
        "restarted_mb_per_workspace": round((again - empty) / MB / WORKSPACES, 3),
        "noise_samples": float(sent[0]),
        "strangers": float(strangers),
        "lost": float(lost),
    }
    for which in ("write", "query"):
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            out[f"{which}_{name}_alone_ms"] = _percentile(alone[which], share)
            out[f"{which}_{name}_beside_noise_ms"] = _percentile(beside[which], share)
    return out
