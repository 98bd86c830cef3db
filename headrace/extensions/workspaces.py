"""Serve the control plane of Amazon Managed Service for Prometheus: workspaces made and removed by AWS' clients.

The workspaces lie in a SQLite database beside the data. The ``store`` exporter keeps their data, and receivers take
requests for them, as soon as they are ACTIVE. Who may call what is for the ``access`` extension to say.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

from aiohttp import web
from pydantic import Field, model_validator

from headrace.extensions.workspaces_data import DataPlane
from headrace.pipeline.component import ExtensionFactory, Settings
from headrace.pipeline.config import (  # noqa: TC001 -- pydantic reads them
    ByteSize,
    NonNegativeDuration,
    PositiveDuration,
)
from headrace.pipeline.errors import ConfigError
from headrace.pipeline.http.config import MIB, ServerConfig
from headrace.pipeline.http.form import parse_form
from headrace.pipeline.http.listeners import Listeners
from headrace.pipeline.http.routes import Route
from headrace.store.access.policy import parse_policy
from headrace.store.workspaces.control import ControlPlane, Limits
from headrace.store.workspaces.errors import AmpError, InternalServerException, ThrottlingException
from headrace.store.workspaces.operations import OPERATIONS, find
from headrace.store.workspaces.registry import Registry
from headrace.store.workspaces.validation import MAX_OUT_OF_ORDER_S, MAX_RETENTION_DAYS

if TYPE_CHECKING:
    from headrace.pipeline.host import Host
    from headrace.pipeline.http.listener import Listener
    from headrace.pipeline.http.request import Request
    from headrace.store.workspaces.operations import Operation


class WorkspacesConfig(ServerConfig):
    """Settings of the ``workspaces`` extension."""

    endpoint: str = "127.0.0.1:9009"
    """Where the control plane is served; components that name the same endpoint share it."""

    account: Annotated[str, Field(pattern=r"^[0-9]{12}$")]
    """AWS account id that the workspaces' ARNs carry, twelve digits; any that you like."""

    region: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")]
    """Region that the ARNs carry."""

    directory: str = "./data"
    """Where the database lies, in the folder ``control``; that of the store is a good choice."""

    public_url: str = ""
    """URL that clients reach the daemon by, for ``prometheusEndpoint``; without it, that of the endpoint."""

    max_workspaces: Annotated[int, Field(ge=1)] = 25
    """Workspaces that there may be; more are answered ServiceQuotaExceededException."""

    retention: PositiveDuration = timedelta(days=150)
    """How long new workspaces keep samples, in whole days up to 1095; UpdateWorkspaceConfiguration changes it for one
    of them."""

    out_of_order_time_window: NonNegativeDuration = timedelta(seconds=60)
    """How far behind the newest sample a late one may be in new workspaces, in whole seconds; at most 10 minutes."""

    max_request_body_size: Annotated[ByteSize, Field(ge=1)] = MIB
    """Bytes of a request body; longer ones are refused with 413."""

    @model_validator(mode="after")
    def _check_defaults(self) -> Self:
        if self.retention % timedelta(days=1) or self.retention > timedelta(days=MAX_RETENTION_DAYS):
            raise ValueError(f"retention must be whole days, at most {MAX_RETENTION_DAYS}")
        window = self.out_of_order_time_window
        if window % timedelta(seconds=1) or window > timedelta(seconds=MAX_OUT_OF_ORDER_S):
            raise ValueError(f"out_of_order_time_window must be whole seconds, at most {MAX_OUT_OF_ORDER_S}")
        return self


class WorkspacesExtension:
    """Answers the operations of the control plane."""

    needs_restart = "everything that knows workspaces relies on it"

    def __init__(self, settings: Settings, config: WorkspacesConfig) -> None:
        self._settings = settings
        self._config = config
        self._thread: ThreadPoolExecutor | None = None
        self._registry: Registry | None = None
        self._listener: Listener | None = None
        self._data: DataPlane | None = None
        self._control: ControlPlane | None = None

    async def start(self, host: Host) -> None:
        """Open the database and the routes.

        Raises:
            ConfigError: The access extension speaks of another account or region.
            Locked: Another process has the database open.
            StoreFailed: It cannot be read.
        """
        config = self._config
        self._check_account(host)
        folder = Path(config.directory) / "control"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"extensions.{self._settings.id}.directory", f"cannot be written: {error}") from None
        self._registry = Registry(folder / "workspaces.db")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="control")
        self._data = DataPlane(self._registry, host, self._thread)
        self._control = ControlPlane(
            self._registry,
            config.account,
            config.region,
            self._endpoint_of,
            self._settings.clock_ns,
            self._data,
            parse_policy=lambda document: parse_policy(document, resource_policy=True),
            limits=Limits(
                max_workspaces=config.max_workspaces,
                retention_days=config.retention.days,
                out_of_order_s=round(config.out_of_order_time_window.total_seconds()),
            ),
        )
        self._data.control = self._control
        host.services["workspaces"] = self._data
        owner = f"extensions.{self._settings.id}"
        self._listener = host.service("listeners", Listeners).add(config, self._routes(), owner)

    async def shutdown(self) -> None:
        """Let removals under way be, they go on at the next start; close the database."""
        if self._data is not None:
            await self._data.shutdown()
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None
        if self._registry is not None:
            self._registry.close()
            self._registry = None

    def _check_account(self, host: Host) -> None:
        theirs = host.services.get("account")
        ours = (self._config.account, self._config.region)
        if theirs is not None and theirs != ours:
            why = f"account and region {'/'.join(ours)} differ from those of the access extension, {'/'.join(theirs)}"
            raise ConfigError(f"extensions.{self._settings.id}.account", why)

    def _endpoint_of(self, workspace: str) -> str:
        base = self._config.public_url.rstrip("/") or (self._listener.url if self._listener is not None else "")
        return f"{base}/workspaces/{workspace}/"

    def _routes(self) -> list[Route]:
        methods: dict[str, list[str]] = {}
        for operation in OPERATIONS:
            methods.setdefault(operation.uri, []).append(operation.method)
        # An ARN may come with its slashes plain.
        for uri in ("/tags/{a}/{b}", "/tags/{a}/{b}/{c}"):
            methods[uri] = methods["/tags/{resourceArn}"]
        # One pattern a path, whatever its parts are called.
        return [Route(uri, tuple(sorted(set(found))), self._answer) for uri, found in methods.items()]

    async def _answer(self, request: Request) -> web.StreamResponse:
        request_id = request.principal.attributes.get("request_id") or str(uuid.uuid4())
        found = find(request.method, request.path)
        if found is None:
            return _json(404, {"message": "Unknown operation"}, request_id, "UnknownOperationException")
        try:
            status, answer = await self._call(request, *found)
        except AmpError as error:
            request.failure = (error.name, error.message)
            response = _json(error.status, error.body(), request_id, error.name)
            if isinstance(error, ThrottlingException | InternalServerException):
                response.headers["Retry-After"] = str(error.retry_after_s)
            return response
        return _json(status, answer, request_id)

    async def _call(
        self, request: Request, operation: Operation, params: dict[str, str]
    ) -> tuple[int, dict[str, object] | None]:
        if self._control is None:
            raise AssertionError("bug: a request before start")
        body = await request.body()
        query = parse_form(request.query_string).pairs
        caller = request.principal.attributes.get("arn") or f"arn:aws:iam::{self._config.account}:root"
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._control.call, operation, params, query, body, caller)


def _json(status: int, answer: object, request_id: str, error: str = "") -> web.Response:
    headers = {"x-amzn-RequestId": request_id}
    if error:
        headers["x-amzn-ErrorType"] = error
    if answer is None:
        return web.Response(status=status, headers=headers)
    return web.Response(
        status=status, body=json.dumps(answer).encode(), content_type="application/json", headers=headers
    )


FACTORY = ExtensionFactory(name="workspaces", config=WorkspacesConfig, create=WorkspacesExtension)
