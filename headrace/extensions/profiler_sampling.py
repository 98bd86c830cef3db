"""Samples the stacks of the threads of this process, from a thread of its own, and adds up what they weigh."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

MAX_STACKS = 20_000
"""Different stacks that a profile holds; what comes after those is added up as one."""

MAX_DEPTH = 128
"""Frames of a stack, from the innermost on."""

_HAS_CPU_CLOCKS = sys.platform == "linux"
_THREAD_CPU_CLOCK = 6
"""Low bits of the id of a clock that counts the CPU time of one thread."""


class Place(NamedTuple):
    """A line that was being executed."""

    function: str
    file: str
    line: int


Stack = tuple[Place, ...]
"""Places from the innermost to the outermost; the last one names the thread."""

_OTHERS: Stack = (Place("(others)", "", 0),)


@dataclass(slots=True)
class Profile:
    """What was sampled.

    Attributes:
        started_ns: Unix time of the begin.
        interval_s: Time between samples, as it was asked for.
        duration_s: How long it was sampled.
        stacks: By stack, how many samples saw it, and how many nanoseconds they weigh.
        unit: What the weights are: ``cpu``, or ``wall`` where threads have no clock.
    """

    started_ns: int
    interval_s: float
    duration_s: float = 0.0
    stacks: dict[Stack, tuple[int, int]] = field(default_factory=dict)
    unit: str = "cpu" if _HAS_CPU_CLOCKS else "wall"

    def add(self, stack: Stack, weight_ns: int) -> None:
        """Count a sample."""
        if stack not in self.stacks and len(self.stacks) >= MAX_STACKS:
            stack = _OTHERS
        samples, weight = self.stacks.get(stack, (0, 0))
        self.stacks[stack] = (samples + 1, weight + weight_ns)


class Sampler:
    """Takes one profile.

    Args:
        interval_s: Time between samples.
        clock_ns: Unix time in nanoseconds.
    """

    def __init__(self, interval_s: float, clock_ns: Callable[[], int]) -> None:
        self._interval_s = interval_s
        self._profile = Profile(clock_ns(), interval_s)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="profiler", daemon=True)
        self._used_ns: dict[int, int] = {}

    def start(self) -> None:
        """Begin to sample."""
        self._thread.start()

    def stop(self) -> None:
        """Sample no more; `result` waits for the end."""
        self._stopped.set()

    def result(self) -> Profile:
        """Wait until sampling has stopped, and return what was found."""
        self._thread.join()
        return self._profile

    def _run(self) -> None:
        began = before = time.monotonic()
        self._used_ns = _cpu_times()
        while not self._stopped.wait(self._interval_s):
            now = time.monotonic()
            self._sample(round((now - before) * 1e9))
            before = now
        self._profile.duration_s = time.monotonic() - began

    def _sample(self, passed_ns: int) -> None:
        """Take the stacks of all threads but this one."""
        used = _cpu_times()
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        own = threading.get_ident()
        for ident, frame in sys._current_frames().items():  # noqa: SLF001 -- documented, only its name is private
            if ident == own or ident not in names:
                continue
            weight = used.get(ident, 0) - self._used_ns.get(ident, 0) if _HAS_CPU_CLOCKS else passed_ns
            if weight > 0:
                self._profile.add(_stack_of(frame, names[ident]), weight)
        self._used_ns = used


def _cpu_times() -> dict[int, int]:
    """Return the CPU time of each thread in nanoseconds, by its identity; nothing where there are no such clocks."""
    found: dict[int, int] = {}
    for thread in threading.enumerate() if _HAS_CPU_CLOCKS else ():
        if thread.ident is not None and thread.native_id is not None:
            try:
                # The id that pthread_getcpuclockid makes, which must not be asked about a thread that has ended: the
                # kernel may be, and then says so.
                clock = ~thread.native_id << 3 | _THREAD_CPU_CLOCK
                found[thread.ident] = time.clock_gettime_ns(clock)
            except OSError:
                continue
    return found


def _stack_of(frame: FrameType | None, thread: str) -> Stack:
    places: list[Place] = []
    while frame is not None and len(places) < MAX_DEPTH:
        places.append(_place(frame.f_code, frame.f_lineno))
        frame = frame.f_back
    places.append(Place(f"thread {thread}", "", 0))
    return tuple(places)


def _place(code: CodeType, line: int | None) -> Place:
    return Place(code.co_qualname, code.co_filename, line or code.co_firstlineno)
