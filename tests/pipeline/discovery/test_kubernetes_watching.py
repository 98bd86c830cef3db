"""Following a cluster: lists, watches, bookmarks, old versions, refusals, and connections that break."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from discovery_lab import DiscoveryLab
from headrace.pipeline.discovery import polling
from headrace.pipeline.discovery.kubernetes import KubernetesDiscovery, KubernetesSdConfig
from kubernetes_api import KubernetesApi

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "_FIRST_RETRY_S", 0.01)
    monkeypatch.setattr("headrace.pipeline.discovery.kubernetes.watching._LONGEST_PAUSE_S", 0.02)


@pytest.fixture
async def lab() -> DiscoveryLab:
    return DiscoveryLab()


@pytest.fixture
async def api() -> AsyncIterator[KubernetesApi]:
    made = await KubernetesApi().start()
    yield made
    await made.close()


def discovery(lab: DiscoveryLab, api: KubernetesApi, **options: Any) -> KubernetesDiscovery:
    given = {"api_server": api.url, "role": "service", **options}
    return KubernetesDiscovery(lab.settings, KubernetesSdConfig.model_validate(given))


def service(api: KubernetesApi, name: str, namespace: str = "default", port: int = 80, **metadata: Any) -> None:
    api.put("services", name, namespace, metadata=metadata, spec={"type": "ClusterIP", "ports": [{"port": port}]})


def names(lab: DiscoveryLab) -> list[str]:
    return [address.partition(".")[0] for address in lab.addresses()]


async def test_changes_are_followed(lab: DiscoveryLab, api: KubernetesApi) -> None:
    """What was there is listed once; what comes, changes and goes is seen by one watch."""
    service(api, "a")
    service(api, "b")
    async with lab.running(discovery(lab, api)):
        await lab.until(lambda: names(lab) == ["a", "b"], "listed")
        await lab.until(lambda: api.watching("services") == 1, "watched")
        service(api, "c")
        service(api, "a", port=81)
        api.delete("services", "b", "default")
        await lab.until(lambda: lab.addresses() == ["a.default.svc:81", "c.default.svc:80"], "followed")
    assert api.count("services", watch=False) == 1
    assert api.count("services", watch=True) == 1
    [query] = [query for _, query in api.requests if "watch" in query]
    assert query["allowWatchBookmarks"] == "true"
    assert 240 <= int(query["timeoutSeconds"]) <= 480
    assert lab.failures() == 0


async def test_long_lists_come_in_pages(lab: DiscoveryLab, api: KubernetesApi) -> None:
    """The watch begins at the version of the list, so that nothing between is missed."""
    api.page_size = 7
    for i in range(20):
        service(api, f"s{i:02}")
    async with lab.running(discovery(lab, api)):
        await lab.until(lambda: len(names(lab)) == 20, "listed")
        await lab.until(lambda: api.watching("services") == 1, "watched")
    assert [query.get("limit") for _, query in api.requests if "watch" not in query] == ["500"] * 3


async def test_a_list_that_ages_between_pages_is_asked_for_whole(lab: DiscoveryLab, api: KubernetesApi) -> None:
    """410 for a continue token: the list is begun again, in one piece."""
    api.page_size = 1
    for name in "abc":
        service(api, name)
    pages: dict[str, Any] = api._pages

    class Forgetful(dict[str, Any]):
        def __contains__(self, _token: object) -> bool:
            return False

    api._pages = Forgetful(pages)
    async with lab.running(discovery(lab, api)):
        await lab.until(lambda: names(lab) == ["a", "b", "c"], "listed")
    limits = [query.get("limit") for _, query in api.requests if "watch" not in query]
    assert limits == ["500", "500", None]


async def test_a_watch_goes_on_where_the_last_one_ended(lab: DiscoveryLab, api: KubernetesApi) -> None:
    """From the version of the last event or bookmark; nothing is listed again, and nothing is missed."""
    service(api, "a")
    async with lab.running(discovery(lab, api)):
        await lab.until(lambda: api.watching("services") == 1, "watched")
        service(api, "b")
        await lab.until(lambda: names(lab) == ["a", "b"], "followed")
        api.put("pods", "other", "default")
        api.bookmark("services")
        api.end_watches()
        await lab.until(lambda: api.count("services", watch=True) == 2, "watched again")
        service(api, "c")
        await lab.until(lambda: names(lab) == ["a", "b", "c"], "followed")
    versions = [query["resourceVersion"] for _, query in api.requests if "watch" in query]
    assert versions == ["101", "103"]
    assert api.count("services", watch=False) == 1


async def test_a_cut_connection_is_made_again(lab: DiscoveryLab, api: KubernetesApi) -> None:
    """It is counted, targets stay, and changes meanwhile are not missed."""
    service(api, "a")
    async with lab.running(discovery(lab, api)):
        await lab.until(lambda: api.watching("services") == 1, "watched")
        api.end_watches(brutally=True)
        service(api, "b")
        await lab.until(lambda: names(lab) == ["a", "b"], "followed")
    assert lab.failures("connection") >= 1
    assert api.count("services", watch=False) == 1


@pytest.mark.parametrize("within", [False, True])
async def test_an_old_version_leads_to_a_new_list(lab: DiscoveryLab, api: KubernetesApi, within: bool) -> None:
    """410 as the answer or as an event: what went meanwhile goes, what came comes, and that is no failure."""
    service(api, "a")
    service(api, "b")
    async with lab.running(discovery(lab, api)):
        await lab.until(lambda: api.watching("services") == 1, "watched")
        api.refuse["services"] = (503, "away")
        if not within:
            api.end_watches()
            await lab.until(lambda: lab.failures("http_status") > 0, "cut off")
        watches, api._watches = api._watches, set()
        api.delete("services", "a", "default")
        service(api, "c")
        api._watches = watches
        api.forget()
        del api.refuse["services"]
        if within:
            api.fail_watches("services", 410, "too old resource version")
        await lab.until(lambda: names(lab) == ["b", "c"], "listed again")
        await lab.until(lambda: api.watching("services") == 1, "watched again")
    assert api.count("services", watch=False) == 2
    assert lab.failures() == lab.failures("http_status")


@pytest.mark.parametrize(
    ("status", "reason"),
    [((403, "services is forbidden"), "forbidden"), ((401, "Unauthorized"), "unauthorized"),
     ((404, "not here"), "not_found"), ((429, "slow down"), "throttled"), ((500, "etcd"), "http_status")],
)  # fmt: skip
async def test_refusals_are_counted_and_asked_again(
    lab: DiscoveryLab, api: KubernetesApi, status: tuple[int, str], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Before the first list and after it; the message of the server is told once, and targets stay."""
    api.refuse["services"] = status
    async with lab.running(discovery(lab, api)):
        await lab.until(lambda: lab.failures(reason) > 2, "counted")
        assert lab.published == 0
        assert caplog.text.count(status[1]) == 1
        service(api, "a")
        del api.refuse["services"]
        await lab.until(lambda: names(lab) == ["a"], "listed")
        await lab.until(lambda: api.watching("services") == 1, "watched")
        api.refuse["services"] = status
        before = lab.failures(reason)
        api.end_watches()
        await lab.until(lambda: lab.failures(reason) > before, "counted again")
        assert names(lab) == ["a"]
        service(api, "b")
        del api.refuse["services"]
        await lab.until(lambda: names(lab) == ["a", "b"], "followed again")


async def test_retry_after_is_kept(lab: DiscoveryLab, api: KubernetesApi) -> None:
    """A server that names a time is left alone for that time."""
    api.refuse["services"] = (429, "busy")
    api.headers = {"Retry-After": "3600"}
    async with lab.running(discovery(lab, api)):
        await lab.until(lambda: lab.failures("throttled") == 1, "refused")
        await asyncio.sleep(0.2)
    assert len(api.requests) == 1


@pytest.mark.parametrize(
    "line", [b"{\n", b"[]\n", b'{"type": "ADDED"}\n', b'{"type": "ERROR", "object": {"code": 500}}\n', b'"x"']
)
async def test_events_that_are_none_end_the_watch(lab: DiscoveryLab, api: KubernetesApi, line: bytes) -> None:
    """They are counted, and the next watch goes on from the last good version."""
    service(api, "a")
    async with lab.running(discovery(lab, api)):
        await lab.until(lambda: api.watching("services") == 1, "watched")
        api.raw("services", line)
        api.end_watches()
        await lab.until(lambda: lab.failures() > 0, "counted")
        service(api, "b")
        await lab.until(lambda: names(lab) == ["a", "b"], "followed")
    assert api.count("services", watch=False) == 1


async def test_an_object_that_is_not_as_it_should_be_stands_alone(lab: DiscoveryLab, api: KubernetesApi) -> None:
    """Others go on, and it keeps its targets until it is well again."""
    service(api, "a")
    async with lab.running(discovery(lab, api)):
        await lab.until(lambda: api.watching("services") == 1, "watched")
        api.put("services", "a", "default", spec={"ports": 7})
        api.put("services", "z", "default", spec=[])
        service(api, "b")
        await lab.until(lambda: names(lab) == ["a", "b"], "the other is there")
        assert lab.failures("object") >= 1
        api.raw("services", b'{"type": "ADDED", "object": {"metadata": {}}}\n')
        api.delete("services", "z", "default")
        service(api, "a", port=81)
        await lab.until(lambda: lab.addresses()[0] == "a.default.svc:81", "well again")
        api.delete("services", "a", "default")
        await lab.until(lambda: names(lab) == ["b"], "gone")


async def test_namespaces_are_independent(lab: DiscoveryLab, api: KubernetesApi) -> None:
    """Only those named are asked for, each by itself: one that is forbidden does not hold up the other."""
    service(api, "a", "one")
    service(api, "b", "two")
    service(api, "c", "three")
    found = discovery(lab, api, namespaces={"names": ["one", "two", "one"]})
    async with lab.running(found):
        await lab.until(lambda: names(lab) == ["a", "b"], "listed")
        service(api, "d", "three")
        service(api, "e", "two")
        await lab.until(lambda: names(lab) == ["a", "b", "e"], "followed")
    listed = sorted(path for path, query in api.requests if "watch" not in query)
    assert listed == ["/api/v1/namespaces/one/services", "/api/v1/namespaces/two/services"]


async def test_selectors_are_left_to_the_server(lab: DiscoveryLab, api: KubernetesApi) -> None:
    """Lists and watches have them; an object that ceases to fit goes."""
    service(api, "a", labels={"app": "web"})
    service(api, "b", labels={"app": "db"})
    selectors = [{"role": "service", "label": "app=web", "field": "metadata.namespace=default"}]
    async with lab.running(discovery(lab, api, selectors=selectors)):
        await lab.until(lambda: names(lab) == ["a"], "listed")
        await lab.until(lambda: api.watching("services") == 1, "watched")
        service(api, "b", labels={"app": "web"})
        service(api, "a", labels={"app": "db"})
        await lab.until(lambda: names(lab) == ["b"], "followed")
    for _, query in api.requests:
        assert (query["labelSelector"], query["fieldSelector"]) == ("app=web", "metadata.namespace=default")


async def test_what_vanished_while_it_was_broken_goes(lab: DiscoveryLab, api: KubernetesApi) -> None:
    """A discovery that is run again withdraws what is not there any more."""
    service(api, "a")
    service(api, "b")
    found = discovery(lab, api)
    async with lab.running(found):
        await lab.until(lambda: names(lab) == ["a", "b"], "listed")
    api.delete("services", "a", "default")
    async with lab.running(found):
        await lab.until(lambda: names(lab) == ["b"], "withdrawn")


async def test_a_thousand_changes(lab: DiscoveryLab, api: KubernetesApi) -> None:
    """With watches that end, connections that break and versions that age, the targets are those of the cluster."""
    import random

    order = random.Random(7)
    there: set[str] = set()
    async with lab.running(discovery(lab, api)):
        await lab.until(lambda: api.watching("services") == 1, "watched")
        for step in range(1000):
            name = f"s{order.randrange(40)}"
            if name in there and order.random() < 0.5:
                api.delete("services", name, "default")
                there.discard(name)
            else:
                service(api, name, port=order.randrange(1, 9))
                there.add(name)
            if step % 50 == 20:
                api.end_watches(brutally=order.random() < 0.5)
            if step % 200 == 120:
                api.forget()
            if step % 10 == 0:
                await asyncio.sleep(0)
        expected = sorted(f"{key[2]}.default.svc:{one['spec']['ports'][0]['port']}" for key, one in api.objects.items())
        await lab.until(lambda: lab.addresses() == expected, "the same")
