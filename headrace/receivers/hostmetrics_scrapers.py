"""What the machine says about itself: one function for each scraper, from psutil and /proc."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import psutil

from headrace.pipeline.regex import regex

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_NS = 1_000_000_000
_MS = 1000.0

# Filesystems that hold no data of their own, beside those that psutil already leaves out.
_VIRTUAL = frozenset({"overlay", "squashfs", "tmpfs", "devtmpfs", "ramfs", "proc", "sysfs", "cgroup", "cgroup2"})

_CPU_STATES = (
    ("user", "user"),
    ("system", "system"),
    ("idle", "idle"),
    ("irq", "interrupt"),
    ("nice", "nice"),
    ("softirq", "softirq"),
    ("steal", "steal"),
    ("iowait", "wait"),
)


@dataclass(frozen=True, slots=True)
class Reading:
    """One point.

    Attributes:
        name: Such as ``system.cpu.time``.
        kind: ``sum`` for a counter, ``updown`` for a sum that may fall, ``gauge``.
        unit: UCUM.
        value: An integer stays one.
        attributes: Name and value, in ascending order of names.
        start_ns: When counting began, Unix nanoseconds; 0 for gauges.
    """

    name: str
    kind: Literal["sum", "updown", "gauge"]
    unit: str
    value: float
    attributes: tuple[tuple[str, str], ...] = ()
    start_ns: int = 0


@dataclass(frozen=True, slots=True)
class Filters:
    """What a scraper leaves out.

    Attributes:
        include: Names by kind (``devices``, ``interfaces``, ``mount_points``, ``fs_types``) and ``match_type``.
        exclude: As `include`.
        virtual: Whether virtual filesystems are measured.
        cpu_average: Whether load is divided by the number of CPUs.
    """

    include: Mapping[str, Any] = field(default_factory=dict)
    exclude: Mapping[str, Any] = field(default_factory=dict)
    virtual: bool = False
    cpu_average: bool = False

    def passes(self, kind: str, name: str) -> bool:
        """Return whether the thing of `kind` called `name` is measured."""
        wanted = self.include.get(kind, ())
        if wanted and not _matches(name, wanted, self.include["match_type"]):
            return False
        unwanted = self.exclude.get(kind, ())
        return not (unwanted and _matches(name, unwanted, self.exclude["match_type"]))


def _matches(name: str, patterns: tuple[str, ...], match_type: str) -> bool:
    return name in patterns if match_type == "strict" else any(regex(pattern).fullmatch(name) for pattern in patterns)


def _boot_ns() -> int:
    return int(psutil.boot_time() * _NS)


def _point(
    name: str, kind: Literal["sum", "updown", "gauge"], unit: str, value: float, start_ns: int, **attributes: str
) -> Reading:
    return Reading(name, kind, unit, value, tuple(sorted(attributes.items())), 0 if kind == "gauge" else start_ns)


def cpu(_filters: Filters) -> Iterator[Reading]:
    """Time of each CPU by state."""
    boot = _boot_ns()
    for number, times in enumerate(psutil.cpu_times(percpu=True)):
        for source, state in _CPU_STATES:
            yield _point(
                "system.cpu.time", "sum", "s", float(getattr(times, source, 0.0)), boot, cpu=f"cpu{number}", state=state
            )
    yield _point("system.cpu.logical.count", "updown", "{cpu}", psutil.cpu_count() or 0, boot)
    yield _point("system.cpu.physical.count", "updown", "{cpu}", psutil.cpu_count(logical=False) or 0, boot)


def memory(_filters: Filters) -> Iterator[Reading]:
    """Memory by state."""
    boot = _boot_ns()
    found = psutil.virtual_memory()
    more = _proc_table("meminfo")
    states = {
        "used": found.used,
        "free": found.free,
        "buffered": getattr(found, "buffers", 0),
        "cached": getattr(found, "cached", 0),
        "slab_reclaimable": more.get("SReclaimable:", 0) * 1024,
        "slab_unreclaimable": more.get("SUnreclaim:", 0) * 1024,
    }
    for state, amount in states.items():
        yield _point("system.memory.usage", "updown", "By", amount, boot, state=state)
        yield _point("system.memory.utilization", "gauge", "1", amount / found.total, 0, state=state)
    yield _point("system.memory.limit", "updown", "By", found.total, boot)


def load(filters: Filters) -> Iterator[Reading]:
    """Load averages."""
    divisor = (psutil.cpu_count() or 1) if filters.cpu_average else 1
    for span, value in zip(("1m", "5m", "15m"), os.getloadavg(), strict=True):
        yield _point(f"system.cpu.load_average.{span}", "gauge", "{thread}", value / divisor, 0)


def disk(filters: Filters) -> Iterator[Reading]:
    """Traffic of block devices."""
    boot = _boot_ns()
    in_flight, weighted = _diskstats()
    for device, found in (psutil.disk_io_counters(perdisk=True) or {}).items():
        if not filters.passes("devices", device):
            continue
        for direction in ("read", "write"):
            where = {"device": device, "direction": direction}
            yield _point("system.disk.io", "sum", "By", getattr(found, f"{direction}_bytes"), boot, **where)
            count = getattr(found, f"{direction}_count")
            yield _point("system.disk.operations", "sum", "{operation}", count, boot, **where)
            spent = getattr(found, f"{direction}_time") / _MS
            yield _point("system.disk.operation_time", "sum", "s", spent, boot, **where)
            merged = getattr(found, f"{direction}_merged_count", 0)
            yield _point("system.disk.merged", "sum", "{operation}", merged, boot, **where)
        busy = getattr(found, "busy_time", 0) / _MS
        yield _point("system.disk.io_time", "sum", "s", busy, boot, device=device)
        yield _point("system.disk.weighted_io_time", "sum", "s", weighted.get(device, 0) / _MS, boot, device=device)
        pending = in_flight.get(device, 0)
        yield _point("system.disk.pending_operations", "updown", "{operation}", pending, boot, device=device)


def filesystem(filters: Filters) -> Iterator[Reading]:
    """Space and inodes of filesystems; one that does not answer is left out."""
    boot = _boot_ns()
    seen = set()
    for part in psutil.disk_partitions(all=filters.virtual):
        if part.mountpoint in seen or (part.fstype in _VIRTUAL and not filters.virtual):
            continue
        named = (("devices", part.device), ("mount_points", part.mountpoint), ("fs_types", part.fstype))
        if not all(filters.passes(kind, name) for kind, name in named):
            continue
        seen.add(part.mountpoint)
        try:
            stat = os.statvfs(part.mountpoint)
        except OSError:
            continue
        where = {
            "device": part.device,
            "mode": "ro" if "ro" in part.opts.split(",") else "rw",
            "mountpoint": part.mountpoint,
            "type": part.fstype,
        }
        sizes = {
            "used": (stat.f_blocks - stat.f_bfree) * stat.f_frsize,
            "free": stat.f_bavail * stat.f_frsize,
            "reserved": (stat.f_bfree - stat.f_bavail) * stat.f_frsize,
        }
        for state, amount in sizes.items():
            yield _point("system.filesystem.usage", "updown", "By", amount, boot, state=state, **where)
        whole = stat.f_blocks * stat.f_frsize
        if whole:
            yield _point("system.filesystem.utilization", "gauge", "1", sizes["used"] / whole, 0, **where)
        for state, amount in (("used", stat.f_files - stat.f_ffree), ("free", stat.f_ffree)):
            yield _point("system.filesystem.inodes.usage", "updown", "{inode}", amount, boot, state=state, **where)


def network(filters: Filters) -> Iterator[Reading]:
    """Traffic of network interfaces, and TCP connections by state."""
    boot = _boot_ns()
    for device, found in psutil.net_io_counters(pernic=True).items():
        if not filters.passes("interfaces", device):
            continue
        for direction, short in (("receive", "recv"), ("transmit", "sent")):
            where = {"device": device, "direction": direction}
            side = "in" if direction == "receive" else "out"
            yield _point("system.network.io", "sum", "By", getattr(found, f"bytes_{short}"), boot, **where)
            packets = getattr(found, f"packets_{short}")
            yield _point("system.network.packets", "sum", "{packet}", packets, boot, **where)
            yield _point("system.network.errors", "sum", "{error}", getattr(found, f"err{side}"), boot, **where)
            yield _point("system.network.dropped", "sum", "{packet}", getattr(found, f"drop{side}"), boot, **where)
    states = Counter(_tcp_states())
    for state in _TCP_STATES.values():
        amount = states.get(state, 0)
        yield _point("system.network.connections", "updown", "{connection}", amount, boot, protocol="tcp", state=state)


def paging(_filters: Filters) -> Iterator[Reading]:
    """Swap space, and pages moved and missed."""
    boot = _boot_ns()
    for device, size, used in _swaps():
        for state, amount in (("used", used), ("free", size - used)):
            yield _point("system.paging.usage", "updown", "By", amount, boot, device=device, state=state)
    stat = _proc_table("vmstat")
    operations = (
        ("page_in", "major", "pswpin"),
        ("page_out", "major", "pswpout"),
        ("page_in", "minor", "pgpgin"),
        ("page_out", "minor", "pgpgout"),
    )
    for direction, kind, source in operations:
        yield _point(
            "system.paging.operations",
            "sum",
            "{operation}",
            stat.get(source, 0),
            boot,
            direction=direction,
            type=kind,
        )
    major = stat.get("pgmajfault", 0)
    yield _point("system.paging.faults", "sum", "{fault}", major, boot, type="major")
    yield _point("system.paging.faults", "sum", "{fault}", stat.get("pgfault", 0) - major, boot, type="minor")


def processes(_filters: Filters) -> Iterator[Reading]:
    """How many processes there are, by status, and how many were ever made."""
    boot = _boot_ns()
    found: Counter[str] = Counter()
    for process in psutil.process_iter(["status"]):
        found[_STATUS.get(process.info["status"], "unknown")] += 1
    for status in sorted({*_STATUS.values(), *found}):
        if found[status] or status in {"running", "sleeping", "blocked"}:
            yield _point("system.processes.count", "updown", "{process}", found[status], boot, status=status)
    yield _point("system.processes.created", "sum", "{process}", _proc_table("stat").get("processes", 0), boot)


def system(_filters: Filters) -> Iterator[Reading]:
    """Time since the machine started."""
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    yield _point("system.uptime", "gauge", "s", uptime, 0)


_STATUS = {
    psutil.STATUS_RUNNING: "running",
    psutil.STATUS_SLEEPING: "sleeping",
    psutil.STATUS_DISK_SLEEP: "blocked",
    psutil.STATUS_STOPPED: "stopped",
    psutil.STATUS_TRACING_STOP: "stopped",
    psutil.STATUS_ZOMBIE: "zombies",
    psutil.STATUS_IDLE: "idle",
}

_TCP_STATES = {
    "01": "ESTABLISHED",
    "02": "SYN_SENT",
    "03": "SYN_RECV",
    "04": "FIN_WAIT_1",
    "05": "FIN_WAIT_2",
    "06": "TIME_WAIT",
    "07": "CLOSE",
    "08": "CLOSE_WAIT",
    "09": "LAST_ACK",
    "0A": "LISTEN",
    "0B": "CLOSING",
}


def _tcp_states() -> Iterator[str]:
    # psutil looks up the owner of every socket, which costs seconds on a busy machine.
    for name in ("tcp", "tcp6"):
        path = Path("/proc/net") / name
        if path.exists():
            for line in path.read_text().splitlines()[1:]:
                yield _TCP_STATES.get(line.split()[3], "UNKNOWN")


def _proc_table(name: str) -> dict[str, int]:
    table = {}
    for line in Path("/proc", name).read_text().splitlines():
        parts = line.split()
        if len(parts) > 1 and parts[1].isdigit():
            table[parts[0]] = int(parts[1])
    return table


def _diskstats() -> tuple[dict[str, int], dict[str, int]]:
    """Return operations in flight and weighted milliseconds by device (kernel's admin-guide/iostats)."""
    in_flight, weighted = {}, {}
    for line in Path("/proc/diskstats").read_text().splitlines():
        parts = line.split()
        in_flight[parts[2]], weighted[parts[2]] = int(parts[11]), int(parts[13])
    return in_flight, weighted


def _swaps() -> Iterator[tuple[str, int, int]]:
    for line in Path("/proc/swaps").read_text().splitlines()[1:]:
        parts = line.split()
        yield parts[0], int(parts[2]) * 1024, int(parts[3]) * 1024


SCRAPERS: dict[str, Callable[[Filters], Iterator[Reading]]] = {
    "cpu": cpu,
    "disk": disk,
    "filesystem": filesystem,
    "load": load,
    "memory": memory,
    "network": network,
    "paging": paging,
    "processes": processes,
    "system": system,
}
"""Scrapers by name."""

METRICS: dict[str, frozenset[str]] = {
    "cpu": frozenset({"system.cpu.time", "system.cpu.logical.count", "system.cpu.physical.count"}),
    "disk": frozenset(
        f"system.disk.{one}"
        for one in (
            "io", "operations", "operation_time", "merged", "io_time", "weighted_io_time", "pending_operations",
        )
    ),
    "filesystem": frozenset(f"system.filesystem.{one}" for one in ("usage", "utilization", "inodes.usage")),
    "load": frozenset(f"system.cpu.load_average.{span}" for span in ("1m", "5m", "15m")),
    "memory": frozenset({"system.memory.usage", "system.memory.utilization", "system.memory.limit"}),
    "network": frozenset(f"system.network.{one}" for one in ("io", "packets", "errors", "dropped", "connections")),
    "paging": frozenset(f"system.paging.{one}" for one in ("usage", "operations", "faults")),
    "processes": frozenset({"system.processes.count", "system.processes.created"}),
    "system": frozenset({"system.uptime"}),
}  # fmt: skip
"""Metrics by scraper."""

DEFAULT_OFF = frozenset(
    {
        "system.cpu.logical.count",
        "system.cpu.physical.count",
        "system.memory.utilization",
        "system.memory.limit",
        "system.filesystem.utilization",
    }
)
"""Metrics that have to be turned on."""
