"""A file that tells each query: a line of JSON with what was asked, by whom, how long it took and how it ended."""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from headrace.store.api.pool import Finished, Watcher

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from headrace.pipeline.http.request import Request
    from headrace.store.api.active_queries import ActiveQueries
    from headrace.store.api.pool import About

_log = logging.getLogger(__name__)


class QueryLog:
    """Appends to the file. One thread.

    Args:
        path: The file; made where it is not there.
        now_s: Unix time in seconds.

    Raises:
        OSError: It cannot be written.
    """

    def __init__(self, path: Path, now_s: Callable[[], float]) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        self._now_s = now_s
        self.failures = 0
        """Lines that could not be written."""

    def write(self, finished: Finished, about: About) -> None:
        """Tell a query."""
        if self._file < 0:
            return
        line = json.dumps(line_of(finished, about, self._now_s()), ensure_ascii=False).encode("utf-8", "replace")
        try:
            # At once, so that lines stay whole whoever else appends.
            os.write(self._file, line + b"\n")
        except OSError as error:
            if not self.failures:
                _log.error("the query log cannot be written: %s", error)
            self.failures += 1

    def close(self) -> None:
        """Close the file; safe twice."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def line_of(finished: Finished, about: About, now_s: float) -> dict[str, Any]:
    """Return what the log says of a query, by Prometheus' names."""
    ticket, request = finished.ticket, finished.request
    line: dict[str, Any] = {
        "ts": _text(now_s),
        "params": {
            "query": about.query,
            "start": _text(about.start_ms / 1000),
            "end": _text(about.end_ms / 1000),
            "step": about.step_ms // 1000 if about.step_ms % 1000 == 0 else about.step_ms / 1000,
        },
        "stats": {
            "timings": {"execQueueTime": ticket.queued_s, "execTotalTime": finished.seconds},
            "samples": {"totalQueryableSamples": ticket.samples},
        },
        "httpRequest": {"clientIP": request.peer.address, "method": request.method, "path": request.path},
        "workspace": request.params.get("id", ""),
    }
    if finished.error is not None:
        line["error"] = finished.error.message
    return line


def _text(time_s: float) -> str:
    moment = datetime.fromtimestamp(time_s, UTC)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


class QueryWatcher(Watcher):
    """Takes note of queries in files.

    Args:
        log: Those that ran; None for none.
    """

    def __init__(self, log: QueryLog | None) -> None:
        self.active: ActiveQueries | None = None
        """Those that run; None before the data directory is open."""
        self.log = log

    def began(self, about: About, request: Request) -> Callable[[], None]:
        """Take note that a query runs."""
        if self.active is None:
            return super().began(about, request)
        return self.active.begin(about, request.params.get("id", ""))

    def ended(self, finished: Finished) -> None:
        """Tell a query that ran."""
        if self.log is not None and finished.about is not None:
            self.log.write(finished, finished.about)

    def close(self) -> None:
        """Close the files; safe twice."""
        if self.active is not None:
            self.active.close()
        if self.log is not None:
            self.log.close()
