"""A daemon scrapes what it finds: over HTTP and in a cluster, while targets come, change and go."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from kubernetes_api import KubernetesApi
from running import HEADRACE, free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from running import Program, Programs

_CONFIG = """
receivers:
  prometheus:
    config:
      global: {{scrape_interval: 500ms, scrape_timeout: 400ms}}
      scrape_configs:
        - job_name: web
          http_sd_configs: [{{url: "{web}/sd", refresh_interval: 200ms, http_headers: {{x-key: {{secrets: [hush]}}}}}}]
          relabel_configs:
            - {{source_labels: [rack], regex: dark, action: drop}}
            - {{source_labels: [__meta_url], target_label: found}}
        - job_name: cluster
          kubernetes_sd_configs:
            - role: pod
              api_server: "{cluster}"
              authorization: {{credentials: hush}}
              namespaces: {{names: [shop]}}
          relabel_configs:
            - {{source_labels: [__meta_kubernetes_pod_phase], regex: Running, action: keep}}
            - {{source_labels: [__meta_kubernetes_pod_label_app], target_label: app}}
            - {{source_labels: [__meta_kubernetes_pod_name], target_label: pod}}
exporters:
  store: {{endpoint: "127.0.0.1:{port}", directory: {directory}}}
service:
  telemetry: {{metrics: {{readers: [{{pull: {{exporter: {{prometheus: {{port: {metrics}}}}}}}}}]}}}}
  pipelines: {{metrics: {{receivers: [prometheus], exporters: [store]}}}}
"""


class Web:
    """Answers with target groups under ``/sd`` and with a page everywhere else.

    Attributes:
        groups: The answer.
        broken: Whether it answers 503 instead.
        scrapes: How often each path was scraped.
        keys: Values of a header that asks for target groups.
    """

    def __init__(self) -> None:
        self.groups: list[dict[str, Any]] = []
        self.broken = False
        self.scrapes: dict[str, int] = {}
        self.keys: set[str | None] = set()
        self._runner: web.AppRunner | None = None
        self.address = ""

    async def start(self) -> Web:
        app = web.Application()
        app.router.add_get("/sd", self._discover)
        app.router.add_get("/{path:.*}", self._page)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.address = f"127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _discover(self, request: web.Request) -> web.Response:
        self.keys.add(request.headers.get("x-key"))
        if self.broken:
            return web.Response(status=503)
        return web.json_response(self.groups)

    async def _page(self, request: web.Request) -> web.Response:
        self.scrapes[request.path] = self.scrapes.get(request.path, 0) + 1
        return web.Response(text=f"scraped {self.scrapes[request.path]}\n", content_type="text/plain")


@pytest.fixture
async def servers() -> AsyncIterator[tuple[Web, KubernetesApi]]:
    targets, cluster = await Web().start(), await KubernetesApi().start()
    cluster.token = "hush"
    yield targets, cluster
    await cluster.close()
    await targets.close()


class Daemon:
    """The daemon, asked over its API."""

    def __init__(self, program: Program, port: int, session: aiohttp.ClientSession) -> None:
        self.program = program
        self.url = f"http://127.0.0.1:{port}"
        self._session = session

    async def ask(self, path: str, **query: str) -> Any:
        async with self._session.get(f"{self.url}/api/v1/{path}", params=query) as answer:
            return (await answer.json())["data"]

    async def active(self, pool: str) -> dict[str, dict[str, Any]]:
        """Return the targets of a job by path."""
        found = (await self.ask("targets", scrapePool=pool))["activeTargets"]
        return {"/" + one["scrapeUrl"].split("/", 3)[3]: one for one in found}

    async def values(self, query: str) -> dict[str, str]:
        """Return the values of an instant query by their labels."""
        found = (await self.ask("query", query=query, time=str(time.time())))["result"]
        return {json.dumps(one["metric"], sort_keys=True): one["value"][1] for one in found}

    async def until(self, check: Callable[[], Awaitable[bool]], what: str) -> None:
        """Wait until what `check` returns, once awaited, is true."""
        try:
            async with asyncio.timeout(60):
                while not await check():
                    assert self.program.process.poll() is None, self.program.log_tail()
                    await asyncio.sleep(0.05)
        except TimeoutError:
            pytest.fail(f"not within 60 s: {what}\n{self.program.log_tail()}")


def pod(cluster: KubernetesApi, name: str, address: str, phase: str = "Running") -> None:
    host, _, port = address.partition(":")
    cluster.put(
        "pods", name, "shop",
        metadata={"labels": {"app": "till"}, "annotations": {"path": f"/{name}"}, "uid": f"uid-{name}"},
        spec={"nodeName": "n", "containers": [{"name": "c", "image": "i", "ports": [{"containerPort": int(port)}]}]},
        status={"podIP": host, "hostIP": "10.0.0.1", "phase": phase},
    )  # fmt: skip


async def run(programs: Programs, folder: Path, servers: tuple[Web, KubernetesApi]) -> tuple[Program, int]:
    port = free_port()
    config = folder / "headrace.yaml"
    text = _CONFIG.format(
        web=f"http://{servers[0].address}", cluster=servers[1].url, port=port, metrics=free_port(),
        directory=folder / "data",
    )  # fmt: skip
    config.write_text(text)
    program = programs.start("headrace", [HEADRACE, "run", "--config", config])
    await asyncio.to_thread(program.wait_http, f"http://127.0.0.1:{port}/-/ready", 240)
    return program, port


async def test_targets_of_a_server(programs: Programs, tmp_path: Path, servers: tuple[Web, KubernetesApi]) -> None:
    """They are scraped while others come and go; the API shows what was found and what was dropped."""
    targets, _ = servers

    def group(*racks: str) -> list[dict[str, Any]]:
        return [{"targets": [targets.address], "labels": {"rack": r, "__metrics_path__": f"/{r}"}} for r in racks]

    targets.groups = group("one", "two", "dark")
    program, port = await run(programs, tmp_path, servers)
    async with aiohttp.ClientSession() as session:
        daemon = Daemon(program, port, session)

        async def paths(*expected: str) -> bool:
            found = await daemon.active("web")
            return sorted(found) == sorted(expected) and all(one["health"] == "up" for one in found.values())

        await daemon.until(lambda: paths("/one", "/two"), "found and scraped")
        one = (await daemon.active("web"))["/one"]
        assert one["discoveredLabels"] == {
            "__address__": targets.address, "__meta_url": f"http://{targets.address}/sd", "__metrics_path__": "/one",
            "__scheme__": "http", "__scrape_interval__": "500ms", "__scrape_timeout__": "400ms", "job": "web",
            "rack": "one",
        }  # fmt: skip
        labels = {"instance": targets.address, "job": "web", "rack": "one", "found": f"http://{targets.address}/sd"}
        assert one["labels"] == labels
        found = await daemon.ask("targets", state="dropped", scrapePool="web")
        assert [dropped["discoveredLabels"]["rack"] for dropped in found["droppedTargets"]] == ["dark"]
        assert found["droppedTargetCounts"]["web"] == 1

        targets.groups = group("two", "three")
        await daemon.until(lambda: paths("/two", "/three"), "one went, one came")
        targets.broken = True
        before = dict(targets.scrapes)
        await asyncio.sleep(1.2)
        assert await paths("/two", "/three"), "a server that is away takes no targets"
        assert targets.scrapes["/two"] > before["/two"]
        assert "/dark" not in targets.scrapes

        async def gone() -> bool:
            return not await daemon.values('scraped{rack="one"}') and bool(await daemon.values('up{rack="two"}'))

        await daemon.until(gone, "the series of the one that went are marked as stale")
        series = await daemon.ask("series", **{"match[]": "scraped"})
        assert sorted(one["rack"] for one in series) == ["one", "three", "two"]
    assert targets.keys == {"hush"}
    assert "hush" not in program.log_text()
    assert program.stop() == 0


async def test_pods_of_a_cluster(programs: Programs, tmp_path: Path, servers: tuple[Web, KubernetesApi]) -> None:
    """They are scraped as they come up, and no more when they are gone, also after the API server was away."""
    targets, cluster = servers
    pod(cluster, "a", targets.address)
    pod(cluster, "b", targets.address, "Pending")
    cluster.put("pods", "elsewhere", "other", status={"podIP": "10.9.9.9", "phase": "Running"})
    program, port = await run(programs, tmp_path, servers)
    async with aiohttp.ClientSession() as session:
        daemon = Daemon(program, port, session)

        async def pods(*expected: str) -> bool:
            found = (await daemon.ask("targets", scrapePool="cluster"))["activeTargets"]
            up = [one["labels"]["pod"] for one in found if one["health"] == "up"]
            return sorted(up) == sorted(expected) and len(found) == len(up)

        await daemon.until(lambda: pods("a"), "the one that runs")
        [target] = (await daemon.ask("targets", scrapePool="cluster"))["activeTargets"]
        assert target["labels"] == {"app": "till", "instance": targets.address, "job": "cluster", "pod": "a"}
        discovered = target["discoveredLabels"]
        assert discovered["__meta_kubernetes_namespace"] == "shop"
        assert discovered["__meta_kubernetes_pod_annotation_path"] == "/a"
        assert discovered["__meta_kubernetes_pod_container_port_number"] == targets.address.partition(":")[2]
        dropped = (await daemon.ask("targets", state="dropped", scrapePool="cluster"))["droppedTargets"]
        assert [one["discoveredLabels"]["__meta_kubernetes_pod_name"] for one in dropped] == ["b"]

        pod(cluster, "b", targets.address)
        await daemon.until(lambda: pods("a", "b"), "the other came up")
        cluster.refuse["pods"] = (403, "pods is forbidden")
        cluster.end_watches(brutally=True)
        cluster.delete("pods", "a", "shop")
        pod(cluster, "c", targets.address)
        cluster.forget()
        await asyncio.sleep(0.6)
        assert await pods("a", "b"), "nobody is taken away while nothing is known"
        cluster.refuse.clear()
        await daemon.until(lambda: pods("b", "c"), "what changed meanwhile")
        running = await daemon.values('up{job="cluster"}')
        assert json.dumps({"__name__": "up", "app": "till", "instance": targets.address, "job": "cluster", "pod": "b"},
                          sort_keys=True) in running  # fmt: skip
    assert "hush" not in program.log_text()
    assert program.stop() == 0
