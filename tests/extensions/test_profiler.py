"""The ``profiler`` extension: profiles of this very process, in every format."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from pydantic import ValidationError

from headrace.extensions.profiler import Profiler, ProfilerConfig
from headrace.extensions.profiler_formats import folded, pprof, speedscope
from headrace.extensions.profiler_sampling import MAX_DEPTH, MAX_STACKS, Place, Profile, Sampler
from headrace.pipeline.component import Settings
from headrace.pipeline.host import Host
from http_lab import Lab, body, status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

THREAD = Place("thread main", "", 0)
OUTER, INNER, OTHER = Place("run", "/a.py", 3), Place("Worker.step;x", "/a.py", 9), Place("run", "/a.py", 4)


def example() -> Profile:
    profile = Profile(1_700_000_000_000_000_000, 0.01, 1.5, unit="cpu")
    profile.add((INNER, OUTER, THREAD), 3_000_000)
    profile.add((OTHER, THREAD), 2_000_000)
    profile.add((INNER, OUTER, THREAD), 1_000_000)
    return profile


def test_folded() -> None:
    """A line for each stack, outermost place first; what separates places does not stand in them."""
    assert folded(example()).decode().splitlines() == [
        "thread main;run (/a.py:3);Worker.step:x (/a.py:9) 4000",
        "thread main;run (/a.py:4) 2000",
    ]


def test_speedscope() -> None:
    """Frames by number, outermost first, and their weights."""
    found = json.loads(speedscope(example()))
    frames = [(one["name"], one.get("line")) for one in found["shared"]["frames"]]
    (profile,) = found["profiles"]
    named = [[frames[number] for number in sample] for sample in profile["samples"]]
    assert named == [[("thread main", None), ("run", 3), ("Worker.step;x", 9)], [("thread main", None), ("run", 4)]]
    assert (profile["weights"], profile["endValue"], profile["unit"]) == (
        [4_000_000, 2_000_000],
        6_000_000,
        "nanoseconds",
    )


FIELDS: dict[str, list[tuple[str, int, str, bool]]] = {
    "Profile": [
        ("sample_type", 1, "ValueType", True), ("sample", 2, "Sample", True), ("location", 4, "Location", True),
        ("function", 5, "Function", True), ("string_table", 6, "string", True), ("time_nanos", 9, "int64", False),
        ("duration_nanos", 10, "int64", False), ("period_type", 11, "ValueType", False), ("period", 12, "int64", False),
    ],
    "ValueType": [("type", 1, "int64", False), ("unit", 2, "int64", False)],
    "Sample": [("location_id", 1, "uint64", True), ("value", 2, "int64", True)],
    "Location": [("id", 1, "uint64", False), ("line", 4, "Line", True)],
    "Line": [("function_id", 1, "uint64", False), ("line", 2, "int64", False)],
    "Function": [
        ("id", 1, "uint64", False), ("name", 2, "int64", False), ("system_name", 3, "int64", False),
        ("filename", 4, "int64", False),
    ],
}  # fmt: skip
"""The messages of google/pprof's ``profile.proto``: name, number, type, and whether it is repeated."""


def profile_message() -> Any:
    """Return the class of ``Profile``, made by the protobuf library."""
    types = {"int64": 3, "uint64": 4, "string": 9}
    file = descriptor_pb2.FileDescriptorProto(name="profile.proto", package="pprof", syntax="proto3")
    for name, fields in FIELDS.items():
        message = file.message_type.add(name=name)
        for field, number, type_, repeated in fields:
            made = message.field.add(name=field, number=number, label=3 if repeated else 1, type=types.get(type_, 11))
            if type_ not in types:
                made.type_name = f".pprof.{type_}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("pprof.Profile"))


def read_pprof(data: bytes) -> dict[tuple[str, ...], list[int]]:
    """Return values by stack, innermost first, as a reader of pprof resolves them."""
    message = profile_message().FromString(gzip.decompress(data))
    texts = message.string_table
    assert texts[0] == ""
    assert [(texts[one.type], texts[one.unit]) for one in message.sample_type] == [
        ("samples", "count"), ("cpu", "nanoseconds")
    ]  # fmt: skip
    functions = {one.id: f"{texts[one.name]} {texts[one.filename]}" for one in message.function}
    assert 0 not in functions
    places = {one.id: f"{functions[one.line[0].function_id]}:{one.line[0].line}" for one in message.location}
    assert len(places) == len(message.location)
    return {tuple(places[number] for number in one.location_id): list(one.value) for one in message.sample}


def test_pprof() -> None:
    """The protobuf library reads it by the published message; strings, functions and places are shared."""
    data = pprof(example())
    assert read_pprof(data) == {
        ("Worker.step;x /a.py:9", "run /a.py:3", "thread main :0"): [2, 4_000_000],
        ("run /a.py:4", "thread main :0"): [1, 2_000_000],
    }
    message = profile_message().FromString(gzip.decompress(data))
    assert (message.time_nanos, message.duration_nanos) == (1_700_000_000_000_000_000, 1_500_000_000)
    assert message.period == 10_000_000
    assert len(message.function) == 3


def test_a_profile_is_bounded() -> None:
    """Stacks beyond the limit are added up as one, those known go on; deep stacks are cut off."""
    profile = Profile(0, 0.01)
    for number in range(MAX_STACKS + 10):
        profile.add((Place("f", "", number),), 1)
    profile.add((Place("f", "", 0),), 1)
    assert len(profile.stacks) == MAX_STACKS + 1
    assert profile.stacks[Place("(others)", "", 0),] == (10, 10)
    assert profile.stacks[Place("f", "", 0),] == (2, 2)


class Busy:
    """Two threads of which one computes, far down, and one waits."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._deep, args=(MAX_DEPTH * 2,), name="busy"),
            threading.Thread(target=self._stop.wait, name="idle"),
        ]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _deep(self, depth: int) -> None:
        if depth:
            self._deep(depth - 1)
        else:
            self.compute()

    def compute(self) -> None:
        while not self._stop.is_set():
            sum(range(1000))


def test_time_goes_to_who_computes() -> None:
    """A thread that waits weighs next to nothing, and no thread weighs more than the CPU time that it had."""
    began = time.process_time_ns()
    with Busy():
        sampler = Sampler(0.005, time.time_ns)
        sampler.start()
        while sum(count for count, _ in sampler._profile.stacks.copy().values()) < 20:
            time.sleep(0.01)
        sampler.stop()
        profile = sampler.result()
        used = time.process_time_ns() - began
    weights: Counter[str] = Counter()
    for stack, (_, weight) in profile.stacks.items():
        weights["compute" if any("compute" in place.function for place in stack) else "rest"] += weight
        assert stack[-1].function.startswith("thread ")
        assert len(stack) <= MAX_DEPTH + 1
    assert weights["compute"] > 4 * weights["rest"]
    assert 0 < weights.total() <= used
    idle = sum(weight for stack, (_, weight) in profile.stacks.items() if stack[-1].function == "thread idle")
    assert idle < weights["compute"] / 10


class Profiled:
    """The extension of one test."""

    def __init__(self) -> None:
        self.lab = Lab()
        self.host = Host(counters=self.lab.counters, services={"listeners": self.lab.listeners})
        settings = Settings("extensions", "profiler", self.lab.counters, logging.getLogger("test"))
        self.profiler = Profiler(settings, ProfilerConfig(endpoint="127.0.0.1:0", max_seconds=60))

    async def get(self, path: str) -> tuple[int, bytes]:
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        reply = await self.lab.talk(self.lab.listeners.open[0], request)
        return status(reply), body(reply)


@pytest.fixture
async def profiled() -> AsyncIterator[Profiled]:
    made = Profiled()
    await made.profiler.start(made.host)
    await made.lab.listeners.start()
    yield made
    await made.lab.listeners.shutdown(0.1)
    await made.profiler.shutdown()


async def test_over_http(profiled: Profiled) -> None:
    """Each format by its name, pprof without one."""
    code, data = await profiled.get("/debug/pprof/profile?seconds=0.2&hz=200")
    assert code == 200
    assert all(len(values) == 2 for values in read_pprof(data).values())
    code, data = await profiled.get("/debug/pprof/profile?seconds=0.05&format=speedscope")
    assert (code, json.loads(data)["exporter"]) == (200, "headrace")
    assert (await profiled.get("/debug/pprof/profile?seconds=0.05&format=folded"))[0] == 200


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("seconds=0", b"seconds must be more than 0 and at most 60"),
        ("seconds=61", b"seconds must be"),
        ("seconds=nan", b"seconds must be"),
        ("seconds=long", b"seconds must be a number"),
        ("hz=1e6", b"hz must be more than 0 and at most 1000"),
        ("format=svg", b"format must be one of pprof, folded, speedscope"),
    ],
)
async def test_questions_that_are_refused(profiled: Profiled, query: str, why: bytes) -> None:
    """With the reason."""
    code, text = await profiled.get(f"/debug/pprof/profile?{query}")
    assert code == 400
    assert why in text


async def test_one_at_a_time_and_none_after_the_end(profiled: Profiled) -> None:
    """A second one is told so; the first one ends with the daemon."""
    first = asyncio.create_task(profiled.get("/debug/pprof/profile?seconds=60&format=folded"))
    while profiled.profiler._sampler is None:  # noqa: ASYNC110 -- a request from outside has no event
        await asyncio.sleep(0.01)
    assert await profiled.get("/debug/pprof/profile") == (409, b"another profile is being taken\n")
    profiled.host.readiness.block("daemon", "stopping")
    assert (await first)[0] == 200
    assert "profiler" not in {thread.name for thread in threading.enumerate()}


async def test_stacks(profiled: Profiled) -> None:
    """Threads and tasks with where they are."""
    code, text = await profiled.get("/debug/pprof/stacks")
    assert code == 200
    assert b"thread MainThread\n" in text
    assert b"test_profiler.py" in text
    assert b"\ntask " in text
    assert b"/debug/pprof/profile" in (await profiled.get("/debug/pprof/"))[1]


@pytest.mark.parametrize("option", ["block_profile_fraction", "mutex_profile_fraction", "save_to_file"])
def test_settings_that_are_refused(option: str) -> None:
    """What only Go has, by name; what is off is not minded."""
    with pytest.raises(ValidationError, match=option):
        ProfilerConfig.model_validate({option: 3 if option != "save_to_file" else "x"})
    assert ProfilerConfig.model_validate({option: 0 if option != "save_to_file" else ""}).endpoint == "localhost:1777"
