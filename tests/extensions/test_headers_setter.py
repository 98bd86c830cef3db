"""The ``headers_setter`` extension: what becomes of the headers of a request."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import pytest
from pydantic import ValidationError

from headrace.extensions.bearer_token_auth import BearerTokenAuth, BearerTokenAuthConfig
from headrace.extensions.file_storage import FileStorage, FileStorageConfig
from headrace.extensions.headers_setter import HeadersSetter, HeadersSetterConfig
from headrace.extensions.sigv4_auth import Sigv4Auth, Sigv4AuthConfig
from headrace.pipeline.batch import BatchContext
from headrace.pipeline.component import Settings
from headrace.pipeline.counters import Counters
from headrace.pipeline.errors import ConfigError
from headrace.pipeline.host import Host
from headrace.pipeline.http.auth import ClientAuthenticator, HeaderEditor, RequestSigner, with_credentials
from headrace.pipeline.sending import Permanent, Sender, SendingConfig
from headrace.pipeline.sending.metadata import ClientMetadata, sending
from headrace.pipeline.series import SeriesTable
from headrace.testing.batches import make_batch, make_settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.component import Component


def settings(name: str) -> Settings:
    return Settings("extensions", name, Counters(), logging.getLogger("test"))


async def started(headers: list[dict[str, Any]], other: Component | None = None) -> HeadersSetter:
    config = HeadersSetterConfig.model_validate({"headers": headers, "additional_auth": "other" if other else ""})
    made = HeadersSetter(settings("headers_setter"), config)
    host = Host(extensions={"other": other} if other else {})
    if other is not None:
        await other.start(host)
    await made.start(host)
    HOSTS[made] = host
    return made


HOSTS: WeakKeyDictionary[HeadersSetter, Host] = WeakKeyDictionary()


def made_host(made: HeadersSetter) -> Host:
    """Return the host that an extension was started with."""
    return HOSTS[made]


@pytest.mark.parametrize(
    ("action", "there", "absent"),
    [("insert", "old", "new"), ("update", "new", None), ("upsert", "new", "new"), ("delete", None, None)],
)
async def test_actions(action: str, there: str | None, absent: str | None) -> None:
    """Each does what it says to a header that is there, in whatever case, and to one that is not."""
    header = {"key": "X-Team", "action": action} | ({} if action == "delete" else {"value": "new"})
    made = await started([header])
    for before, expected in (({"x-team": "old", "Other": "1"}, there), ({"Other": "1"}, absent)):
        sent = made.edit_headers(before)
        assert {name.lower(): value for name, value in sent.items()} == (
            {"other": "1"} | ({} if expected is None else {"x-team": expected})
        )
        assert len(before) == len({"x-team", "Other"} & set(before))


async def test_several_in_order(tmp_path: Path) -> None:
    """Later ones see what earlier ones did; a value may be in a file."""
    file = tmp_path / "value"
    file.write_text("of a file\n")
    made = await started(
        [
            {"key": "a", "value": "1"},
            {"key": "A", "action": "insert", "value": "2"},
            {"key": "b", "value_file": str(file)},
        ]
    )
    assert dict(made.client_headers()) == {"a": "1", "b": "of a file"}


def of_client(principal: str = "", /, **headers: str) -> MetricBatch:
    """Return a batch of a client with these headers; several values of one stand behind each other."""
    metadata = {name: tuple(value.split()) for name, value in headers.items()}
    return make_batch(["m"], context=BatchContext("default", "otlp", principal, 0, metadata))


async def test_values_of_clients() -> None:
    """Of the header or the name that the client had; without it the default, or nothing is done."""
    made = await started(
        [
            {"key": "X-Scope", "from_context": "X-Tenant", "default_value": "nobody"},
            {"key": "X-Other", "action": "update", "from_context": "other"},
            {"key": "X-User", "from_attribute": "subject"},
        ]
    )
    kept = ClientMetadata(())
    kept.find(made_host(made))

    def sent(batch: MetricBatch) -> dict[str, str]:
        with sending(kept.narrowed(batch)):
            return made.edit_headers({"x-other": "old"})

    assert sent(of_client("me", **{"x-tenant": "a", "other": "b", "authorization": "secret"})) == {
        "X-Scope": "a", "X-Other": "b", "X-User": "me"
    }  # fmt: skip
    assert sent(of_client()) == {"X-Scope": "nobody", "x-other": "old"}
    assert made.edit_headers({}) == {"X-Scope": "nobody"}
    with pytest.raises(Permanent, match="2 values of X-Tenant"):
        sent(of_client(**{"x-tenant": "a b"}))
    assert "authorization" not in kept.narrowed(of_client(authorization="secret", other="b")).context.metadata


@pytest.mark.parametrize("ordered", [True, False])
async def test_clients_are_not_mixed(ordered: bool) -> None:
    """Requests carry points of one tenant each, in order, though the queue joins what waits."""
    made = await started([{"key": "X-Scope", "from_context": "x-tenant"}])
    requests: list[tuple[str | None, int]] = []

    async def send(batches: Sequence[MetricBatch]) -> None:
        await asyncio.sleep(0)
        requests.append((made.edit_headers({}).get("X-Scope"), len(batches)))

    config = SendingConfig.model_validate({"sending_queue": {"num_consumers": 1, "batch": {"flush_timeout": "20ms"}}})
    sender = Sender(make_settings("out", kind="exporters"), config, send, ordered=ordered)
    await sender.start(made_host(made))
    table = SeriesTable()
    for tenant in ("a", "a", "b", "b", "b", None, "a"):
        # The length of a request differs with each, and keeps nothing apart: nobody asked for it.
        headers = {"content-length": (str(len(requests)),)} | ({"x-tenant": (tenant,)} if tenant else {})
        await sender.deliver(make_batch(["m"], table=table, context=BatchContext("default", "otlp", "", 0, headers)))
    await sender.shutdown()
    assert requests == [("a", 2), ("b", 3), (None, 1), ("a", 1)]


async def test_a_queue_on_disk_keeps_what_is_wanted(tmp_path: Path) -> None:
    """And nothing else of what clients sent, such as their passwords."""
    made = await started([{"key": "X-Scope", "from_context": "x-tenant"}])
    host = made_host(made)
    storage = FileStorage(settings("file_storage"), FileStorageConfig(directory=str(tmp_path)))
    await storage.start(host)
    host.extensions["file_storage"] = storage
    scopes: list[str | None] = []
    down = asyncio.Event()

    async def refuse(batches: Sequence[MetricBatch]) -> None:
        down.set()
        raise ConnectionError("down")

    async def send(batches: Sequence[MetricBatch]) -> None:
        scopes.append(made.edit_headers({}).get("X-Scope"))
        assert set(batches[0].context.metadata) == {"x-tenant"}

    config = SendingConfig.model_validate({"sending_queue": {"storage": "file_storage"}})
    for target in (refuse, send):
        sender = Sender(make_settings("out", kind="exporters"), config, target)
        await sender.start(host)
        if target is refuse:
            await sender.deliver(of_client(**{"x-tenant": "a", "authorization": "hunter2"}))
            await down.wait()
        while target is send and not scopes:  # noqa: ASYNC110 -- a list has no event
            await asyncio.sleep(0.01)
        await sender.shutdown()
    assert scopes == ["a"]
    await storage.shutdown()


async def test_beside_another_extension() -> None:
    """The headers of the other come first; what it signs is asked of it."""
    token = BearerTokenAuth(settings("other"), BearerTokenAuthConfig.model_validate({"token": "t"}))
    made = await started([{"key": "X-A", "value": "1"}], token)
    assert isinstance(made, HeaderEditor | ClientAuthenticator)
    assert not hasattr(made, "sign")
    assert with_credentials({"X": "y"}, made) == {"X": "y", "Authorization": "Bearer t", "X-A": "1"}
    assert with_credentials({"X": "y"}, token) == {"X": "y", "Authorization": "Bearer t"}
    assert with_credentials({"X": "y"}, None) == {"X": "y"}
    keys = {"region": "r", "access_key_id": "a", "secret_access_key": "s"}
    signer = await started([{"key": "X-A", "value": "1"}], Sigv4Auth(settings("other"), Sigv4AuthConfig(**keys)))
    assert isinstance(signer, RequestSigner)
    assert "Authorization" in signer.sign("POST", "https://x/", {}, b"")


async def test_faults() -> None:
    """Settings that do not fit each other, or are not supported, are refused by name."""
    for header, why in (
        ({"key": "a"}, "set one of value, value_file, from_context, from_attribute"),
        ({"key": "a", "value": "1", "value_file": "f"}, "set one of"),
        ({"key": "a", "value": "1", "from_context": "f"}, "set one of"),
        ({"key": "a", "action": "delete", "value": "1"}, "takes no value"),
        ({"key": "a", "action": "delete", "default_value": "1"}, "takes no value"),
        ({"key": "a", "value": "1", "default_value": "2"}, "default_value stands in"),
        ({"key": "a", "from_attribute": "raw"}, "only subject or username is kept with points, not raw"),
    ):
        with pytest.raises(ValidationError, match=why):
            HeadersSetterConfig.model_validate({"headers": [header]})
    with pytest.raises(ValidationError, match="at least 1"):
        HeadersSetterConfig.model_validate({"headers": []})
    config = HeadersSetterConfig.model_validate({"headers": [{"key": "a", "value": "1"}], "additional_auth": "gone"})
    made = HeadersSetter(settings("x"), config)
    with pytest.raises(ConfigError, match=r"'gone' is not in service\.extensions"):
        await made.start(Host())
    with pytest.raises(ConfigError, match=r"headers\.0\.value_file"):
        await started([{"key": "a", "value_file": "/nowhere/x"}])
