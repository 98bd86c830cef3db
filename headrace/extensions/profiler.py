"""Show where the daemon's time goes, on demand; stands in for the Collector's ``pprof``.

``/debug/pprof/profile?seconds=30`` samples the stacks of all threads that Python knows, for as long as it is asked, and
answers in the format of Go's pprof, so that ``go tool pprof`` reads it; ``format=folded`` makes lines for flame graphs,
``format=speedscope`` a file for speedscope. ``/debug/pprof/stacks`` shows what threads and tasks are doing now.

On Linux a sample weighs the CPU time that its thread has used since the one before; elsewhere it weighs the time that
passed. Compiled kernels have no frames of their own: their time is that of the line that called them. A stack is taken
when its thread gives up the interpreter's lock, which it does at the latest every 5 ms.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Annotated, Any

from aiohttp import web
from pydantic import Field, model_validator

from headrace.extensions.profiler_formats import FORMATS
from headrace.extensions.profiler_sampling import Sampler
from headrace.pipeline.component import ExtensionFactory, Settings
from headrace.pipeline.config.refusal import refuse
from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.http.config import ServerConfig
from headrace.pipeline.http.form import parse_form
from headrace.pipeline.http.listeners import Listeners
from headrace.pipeline.http.request import text
from headrace.pipeline.http.routes import Route

if TYPE_CHECKING:
    from headrace.pipeline.host import Host
    from headrace.pipeline.http.form import Form
    from headrace.pipeline.http.request import Request

_DEFAULT_SECONDS = 30.0
_DEFAULT_HZ = 100
_MAX_HZ = 1000
_REFUSED = {
    "block_profile_fraction": "Python does not record where goroutines block: see /debug/pprof/stacks",
    "mutex_profile_fraction": "Python does not record who waits for locks",
    "save_to_file": "profiles are asked for over HTTP: GET /debug/pprof/profile",
}
_CONFLICT = 409
_LOOK_S = 0.25


class ProfilerConfig(ServerConfig):
    """Settings of the ``profiler`` extension."""

    endpoint: str = "localhost:1777"
    """Where to listen."""

    max_seconds: Annotated[float, Field(gt=0, le=3600)] = 300.0
    """Longest profile that may be asked for."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_profiles(cls, given: Any) -> Any:
        return refuse(given, _REFUSED)


class Profiler:
    """Answers with profiles, one at a time."""

    def __init__(self, settings: Settings, config: ProfilerConfig) -> None:
        self._settings = settings
        self._config = config
        self._sampler: Sampler | None = None
        self._host: Host | None = None

    async def start(self, host: Host) -> None:
        """Open the paths."""
        self._host = host
        routes = [
            Route("/debug/pprof/profile", ("GET",), self._profile),
            Route("/debug/pprof/stacks", ("GET",), _stacks),
            Route("/debug/pprof/", ("GET",), _index),
        ]
        host.service("listeners", Listeners).add(self._config, routes, f"{self._settings.kind}.{self._settings.id}")

    async def shutdown(self) -> None:
        """End the profile that is under way; who asked for it gets what there is."""
        self._host = None

    async def _profile(self, request: Request) -> web.StreamResponse:
        form = parse_form(request.query_string)
        seconds = _number(form, "seconds", _DEFAULT_SECONDS, self._config.max_seconds)
        hz = _number(form, "hz", _DEFAULT_HZ, _MAX_HZ)
        name = form.get("format") or "pprof"
        if name not in FORMATS:
            raise InvalidInput(f"format must be one of {', '.join(FORMATS)}")
        if self._sampler is not None:
            return text("another profile is being taken", _CONFLICT)
        sampler = self._sampler = Sampler(1 / hz, self._settings.clock_ns)
        sampler.start()
        try:
            await self._wait(seconds)
        finally:
            self._sampler = None
            sampler.stop()
        chosen = FORMATS[name]
        profile = await asyncio.to_thread(sampler.result)
        body = await asyncio.to_thread(chosen.write, profile)
        disposition = f'attachment; filename="headrace.{chosen.suffix}"'
        return web.Response(body=body, headers={"Content-Type": chosen.type, "Content-Disposition": disposition})

    async def _wait(self, seconds: float) -> None:
        """Wait for the end of a profile, or of the daemon, which waits for requests before it ends this extension."""
        end_s = self._settings.monotonic_s() + seconds
        while (left := end_s - self._settings.monotonic_s()) > 0 and not self._is_stopping:  # noqa: ASYNC110 -- readiness has no event
            await asyncio.sleep(min(left, _LOOK_S))

    @property
    def _is_stopping(self) -> bool:
        return self._host is None or "daemon" in self._host.readiness.blockers


def _number(form: Form, name: str, default: float, limit: float) -> float:
    given = form.get(name)
    try:
        value = float(given) if given else default
    except ValueError:
        raise InvalidInput(f"{name} must be a number") from None
    if not 0 < value <= limit:
        raise InvalidInput(f"{name} must be more than 0 and at most {limit:g}")
    return value


async def _index(request: Request) -> web.StreamResponse:
    del request
    lines = [
        f"/debug/pprof/profile?seconds=30&format={'|'.join(FORMATS)}&hz={_DEFAULT_HZ}: where CPU time goes",
        "/debug/pprof/stacks: what threads and tasks are doing now",
    ]
    return text("\n".join(lines) + "\n")


async def _stacks(request: Request) -> web.StreamResponse:
    del request
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = []
    for ident, frame in sys._current_frames().items():  # noqa: SLF001 -- documented, only its name is private
        stack = "".join(traceback.format_stack(frame))
        parts.append(f"thread {names.get(ident, ident)}\n{stack}")
    for task in asyncio.all_tasks():
        places = (f'  File "{frame.f_code.co_filename}", line {frame.f_lineno}\n' for frame in task.get_stack())
        parts.append(f"task {task.get_name()}\n{''.join(places)}")
    return text("\n".join(parts))


FACTORY = ExtensionFactory(name="profiler", config=ProfilerConfig, create=Profiler, aliases=("pprof",))
