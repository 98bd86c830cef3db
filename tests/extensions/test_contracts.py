"""The extensions keep their contract."""

from __future__ import annotations

from typing import Any, ClassVar

from headrace.extensions.access import FACTORY as ACCESS
from headrace.extensions.basic_auth import FACTORY as BASIC
from headrace.extensions.bearer_token_auth import FACTORY as BEARER
from headrace.extensions.headers_setter import FACTORY as HEADERS
from headrace.extensions.health_check import FACTORY as HEALTH
from headrace.extensions.profiler import FACTORY as PROFILER
from headrace.extensions.sigv4_auth import FACTORY as SIGV4
from headrace.extensions.workspaces import FACTORY as WORKSPACES
from headrace.extensions.zpages import FACTORY as ZPAGES
from headrace.pipeline.http.auth import Authenticator, ClientAuthenticator, HeaderEditor, RequestSigner
from headrace.testing.extensions import ExtensionContract

ACCOUNT = {"account": "111111111111", "region": "eu-west-1"}


class TestBasicAuth(ExtensionContract):
    """With a password of its own."""

    factory = BASIC
    config: ClassVar[dict[str, Any]] = {
        "htpasswd": {"inline": "me:$2y$05$rvYTbUYZ3EEUmBJsyKLYF.iNUHZmBhmcmrnS2h3KqmUSk5wsn5vAm"}
    }
    fulfils = (Authenticator,)


class TestBearerTokenAuth(ExtensionContract):
    """With a token of its own."""

    factory = BEARER
    config: ClassVar[dict[str, Any]] = {"token": "secret"}
    fulfils = (Authenticator,)


class TestHealthCheck(ExtensionContract):
    """On a port that is free."""

    factory = HEALTH
    config: ClassVar[dict[str, Any]] = {"endpoint": "127.0.0.1:0"}


class TestSigv4Auth(ExtensionContract):
    """With keys of its own."""

    factory = SIGV4
    fulfils = (ClientAuthenticator, RequestSigner)
    config: ClassVar[dict[str, Any]] = {
        "region": "eu-west-1", "access_key_id": "AKIDEXAMPLE", "secret_access_key": "secret"
    }  # fmt: skip


class TestHeadersSetter(ExtensionContract):
    """With one header."""

    factory = HEADERS
    fulfils = (ClientAuthenticator, HeaderEditor)
    config: ClassVar[dict[str, Any]] = {"headers": [{"key": "X-Team", "value": "lake"}]}


class TestZpages(ExtensionContract):
    """On a port that is free."""

    factory = ZPAGES
    config: ClassVar[dict[str, Any]] = {"endpoint": "127.0.0.1:0"}


class TestProfiler(ExtensionContract):
    """On a port that is free."""

    factory = PROFILER
    config: ClassVar[dict[str, Any]] = {"endpoint": "127.0.0.1:0"}


class TestWorkspaces(ExtensionContract):
    """With a database of each test."""

    factory = WORKSPACES

    def configuration(self) -> dict[str, Any]:
        return {**ACCOUNT, "endpoint": "127.0.0.1:0", "directory": str(self.directory)}


class TestAccess(ExtensionContract):
    """With an audit log of each test."""

    factory = ACCESS
    fulfils = (Authenticator,)

    def configuration(self) -> dict[str, Any]:
        return {**ACCOUNT, "audit": {"directory": str(self.directory)}}
