"""What all endpoints of the HTTP API have in common: readiness, errors as JSON, the workspace, ``match[]``."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headrace.pipeline.errors import StoreError
from headrace.pipeline.http.request import text
from headrace.pipeline.http.routes import Route
from headrace.store.api import params
from headrace.store.api.envelope import failure
from headrace.store.api.errors import ApiError
from headrace.store.api.quoting import go_quote
from headrace.store.api.reply import Reply, respond, send
from headrace.store.api.selectors import parse_selectors
from headrace.store.promql.language.parser import ParserOptions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from aiohttp import web

    from headrace.pipeline.counters import Counters
    from headrace.pipeline.http.form import Form
    from headrace.pipeline.http.request import Request
    from headrace.pipeline.targets import TargetsSource
    from headrace.store.api.admin import StoreAdmin
    from headrace.store.api.backend import Backend, FindBackend, SelectorParser
    from headrace.store.matchers import Matcher

_log = logging.getLogger(__name__)

READ = ("GET", "POST")
GET = ("GET",)


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """What the API is given.

    Attributes:
        parse_selector: Parses ``match[]``.
        default_workspace: Workspace behind ``/api/v1``.
        targets: Who scrapes; None for nobody.
        ready: Whether the daemon is ready; before, queries are answered 503.
        replay: Progress of the log's replay: first, last and present segment.
        config_yaml: The configuration in force, without secrets.
        flags: Command line options by name.
        clock_ns: Unix time in nanoseconds.
        gzip_level: 1 to 9 for answers to clients that accept gzip; 0 for never.
        admin: Does what administrators ask for; None where that is off.
        language: Which parts of PromQL are on.
        external_labels: Labels that ``/federate`` and remote read add to series without them.
        lookback_ms: How far back ``/federate`` looks for the newest sample.
        retention: How long samples are kept, as runtime information tells it.
        switches: Returns which features of the daemon are on, by Prometheus' names; see `features`.
        counters: The daemon's own metrics.
        read_samples: Samples that one remote read may return in one piece; 0 for any number.
        read_frame_bytes: Bytes of a frame of a streamed remote read.
    """

    parse_selector: SelectorParser
    default_workspace: str = "default"
    targets: TargetsSource | None = None
    ready: Callable[[], bool] = lambda: True
    replay: Callable[[], tuple[int, int, int]] = lambda: (0, 0, 0)
    config_yaml: Callable[[], str] = str
    flags: dict[str, str] = field(default_factory=dict)
    clock_ns: Callable[[], int] = time.time_ns
    gzip_level: int = 1
    admin: StoreAdmin | None = None
    language: ParserOptions = field(default_factory=ParserOptions)
    external_labels: Mapping[str, str] = field(default_factory=dict)
    lookback_ms: int = 300_000
    retention: str = ""
    switches: Callable[[], frozenset[str]] = frozenset
    counters: Counters | None = None
    read_samples: int = 50_000_000
    read_frame_bytes: int = 1 << 20


class Answering:
    """Makes routes of handlers.

    Args:
        find: Returns the workspace with an id.
        settings: See there.
    """

    def __init__(self, find: FindBackend, settings: ApiSettings) -> None:
        self._find = find
        self.settings = settings

    def route(
        self,
        path: str,
        methods: tuple[str, ...],
        handler: Callable[[Request], Awaitable[Reply]],
        *,
        before_ready: bool = False,
    ) -> Route:
        """Wrap `handler` into what all of the JSON API has: readiness, errors, compression."""

        async def answer(request: Request) -> web.StreamResponse:
            if not before_ready and not self.settings.ready():
                return unready()
            try:
                reply = await handler(request)
                return await send(request, reply, self.settings.gzip_level)
            except ApiError as error:
                body, status_code = failure(error), error.status
            except StoreError as error:
                _log.error("%s: %s", path, error)
                broken = ApiError("internal", str(error))
                body, status_code = failure(broken), broken.status
            return await respond(request, body, status_code, self.settings.gzip_level)

        return Route(path, methods, answer)

    def plain(
        self, path: str, methods: tuple[str, ...], handler: Callable[[Request], Awaitable[web.StreamResponse]]
    ) -> Route:
        """Wrap a handler that is none of the JSON API: errors are text."""

        async def answer(request: Request) -> web.StreamResponse:
            if not self.settings.ready():
                return unready()
            try:
                return await handler(request)
            except ApiError as error:
                return text(error.message, error.status)
            except StoreError as error:
                _log.error("%s: %s", path, error)
                return text(str(error), 500)

        return Route(path, methods, answer)

    def backend(self, request: Request) -> Backend:
        """Return the workspace that a request is about.

        Raises:
            ApiError: There is none.
        """
        workspace = request.params["id"]
        found = self._find(workspace)
        if found is None:
            raise ApiError("not_found", f"workspace {go_quote(workspace)} does not exist")
        return found

    def selectors(self, form: Form) -> list[Sequence[Matcher]]:
        """Parse the values of ``match[]``.

        Raises:
            ApiError: One does not parse, or would select everything.
        """
        return parse_selectors([params.go_text(one) for one in form.all("match[]")], self.settings.parse_selector)


def unready() -> web.Response:
    """Answer that the daemon is not ready yet."""
    return text("Service Unavailable", 503, {"X-Prometheus-Stopping": "false"})


def parsed(form: Form) -> Form:
    """Return `form`.

    Raises:
        ApiError: A part of it does not decode.
    """
    if form.error:
        raise ApiError("bad_data", f"error parsing form values: {form.error}")
    return form
