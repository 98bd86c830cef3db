"""Many reloads under load, and what became of everything that was sent meanwhile."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import psutil

from reload_changes import BROKEN, CHANGES
from reload_stand import LIMIT, SERIES
from running import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from reload_stand import Stand, Writers

_BROKEN_EVERY = 4


@dataclass
class Outcome:
    """What was counted.

    Attributes:
        reloads: Reloads that were taken.
        refused: Configurations that were refused, as they had to be.
        seconds: How long all of it took.
        accepted: Samples of gauges that writers were told are taken.
        delivered: Distinct ones of them that came to the sink.
        duplicates: Those that came again.
        out_of_order: Those that came behind a later one of their series.
        deltas_accepted: Deltas of 1 that were taken.
        deltas_last: The cumulative sum at the end.
        deltas_falls: How often that sum fell; never, if the state was handed on.
        clicks_accepted: Growth of counters that was taken.
        clicks_last: Their aggregated total at the end.
        clicks_falls: How often it fell.
        many_series: Series that came through a limit.
        shut_out: Connections that were refused.
        repeated: Requests that had to be sent again.
        wrong: Answers that said never to send again.
        memory_mib: Resident memory at each tenth.
        open_files: Open files and sockets at each tenth.
        threads: Threads at each tenth.
    """

    reloads: int = 0
    refused: int = 0
    seconds: float = 0.0
    accepted: int = 0
    delivered: int = 0
    duplicates: int = 0
    out_of_order: int = 0
    deltas_accepted: int = 0
    deltas_last: float = 0.0
    deltas_falls: int = 0
    clicks_accepted: int = 0
    clicks_last: float = 0.0
    clicks_falls: int = 0
    many_series: int = 0
    shut_out: int = 0
    repeated: int = 0
    wrong: list[str] = field(default_factory=list)
    memory_mib: list[float] = field(default_factory=list)
    open_files: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)

    def faults(self) -> list[str]:
        """Return what is not as it has to be, in words."""
        tenth = self.memory_mib[1] if len(self.memory_mib) > 1 else self.memory_mib[-1]
        found = {
            f"accepted {self.accepted}, delivered {self.delivered}": self.accepted != self.delivered,
            f"{self.duplicates} samples came twice": self.duplicates > 0,
            f"{self.out_of_order} samples came out of order": self.out_of_order > 0,
            f"{self.deltas_accepted} deltas add up to {self.deltas_last}": self.deltas_last != self.deltas_accepted,
            f"the sum of deltas fell {self.deltas_falls} times": self.deltas_falls > 0,
            f"counters grew by {self.clicks_accepted}, the total is {self.clicks_last}": (
                self.clicks_last != self.clicks_accepted
            ),
            f"the total of counters fell {self.clicks_falls} times": self.clicks_falls > 0,
            f"{self.many_series} series came through a limit of {LIMIT}": self.many_series != LIMIT,
            f"{self.shut_out} connections were refused": self.shut_out > 0,
            f"answers: {self.wrong}": bool(self.wrong),
            f"memory grew: {self.memory_mib}": self.memory_mib[-1] > tenth * 1.25 + 20,
            f"files stay open: {self.open_files}": self.open_files[-1] > max(self.open_files[:2]) + 15,
            f"threads stay: {self.threads}": self.threads[-1] > max(self.threads[:2]) + 4,
        }
        return [text for text, wrong in found.items() if wrong]


def run(stand: Stand, reloads: int, pause_s: float = 0.005, tell: Callable[[str], None] = lambda _: None) -> Outcome:
    """Reload a daemon that was started with the stand's document, again and again.

    Args:
        stand: The daemon.
        reloads: How many configurations it takes; a broken one comes after each fourth.
        pause_s: Between two batches of a writer.
        tell: Called with the state at each tenth.
    """
    outcome, began_s = Outcome(), time.monotonic()
    process = psutil.Process(stand.daemon.pid)
    writers = stand.writers(pause_s)
    for number in range(reloads):
        if number % max(1, reloads // 10) == 0:
            _look(outcome, process)
            tell(f"{number} reloads, {outcome.memory_mib[-1]:.0f} MiB, {outcome.open_files[-1]} files")
        _reload(outcome, stand, number)
    for writer in writers:
        writer.stop()
    _look(outcome, process)
    _judge(outcome, stand, writers)
    outcome.seconds = time.monotonic() - began_s
    return outcome


def _reload(outcome: Outcome, stand: Stand, number: int) -> None:
    document = stand.document()
    CHANGES[number % len(CHANGES)](document, stand, number)
    assert stand.reload(document), stand.daemon.log_tail()
    outcome.reloads += 1
    if number % _BROKEN_EVERY == 1:
        broken = BROKEN[number // _BROKEN_EVERY % len(BROKEN)]
        assert not stand.reload(broken(copy.deepcopy(document), stand)), broken.__name__
        outcome.refused += 1


def _look(outcome: Outcome, process: psutil.Process) -> None:
    outcome.memory_mib.append(round(process.memory_info().rss / (1 << 20), 1))
    outcome.open_files.append(process.num_fds())
    outcome.threads.append(process.num_threads())


def _judge(outcome: Outcome, stand: Stand, writers: Writers) -> None:
    """Wait for the rest to arrive, and count."""
    outcome.wrong = [text for writer in writers for text in writer.wrong]
    outcome.shut_out = sum(writer.shut_out for writer in writers)
    outcome.repeated = sum(writer.repeated for writer in writers)
    outcome.accepted = (writers.x.accepted + writers.y.accepted) * SERIES
    outcome.deltas_accepted = writers.deltas.accepted
    outcome.clicks_accepted = (writers.counters.accepted - 1) * SERIES
    _wait(lambda: _distinct(stand) >= outcome.accepted)
    _wait(lambda: _last(stand, "deltas") >= outcome.deltas_accepted)
    _wait(lambda: _last(stand, "clicks") >= outcome.clicks_accepted)
    found = [*stand.sink.of("x").values(), *stand.sink.of("y").values()]
    outcome.delivered = _distinct(stand)
    outcome.duplicates = sum(map(len, found)) - outcome.delivered
    outcome.out_of_order = sum(one > other for samples in found for (one, _), (other, _) in pairwise(samples))
    outcome.deltas_last, outcome.deltas_falls = _last(stand, "deltas"), _falls(stand, "deltas")
    outcome.clicks_last, outcome.clicks_falls = _last(stand, "clicks"), _falls(stand, "clicks")
    outcome.many_series = len({key.partition("|")[0] for key in stand.sink.of("many")})


def _wait(arrived: Callable[[], bool]) -> None:
    """Wait until everything is there, or give up: what is missing shows in the counts."""
    try:
        wait_until(arrived, "the rest", 20)
    except AssertionError:
        return


def _distinct(stand: Stand) -> int:
    """Return how many samples came, whatever was added to their series."""
    found = {**stand.sink.of("x"), **stand.sink.of("y")}
    return len({(key.partition("|")[0], time_ms) for key, samples in found.items() for time_ms, _ in samples})


def _last(stand: Stand, prefix: str) -> float:
    return max((value for samples in stand.sink.of(prefix).values() for _, value in samples), default=0.0)


def _falls(stand: Stand, prefix: str) -> int:
    """Return how often the value of a series fell: requests with different series may overtake each other."""
    found = stand.sink.of(prefix).values()
    return sum(one > other for samples in found for (_, one), (_, other) in pairwise(samples))
