"""A real node-exporter, scraped over HTTP and HTTPS."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import trustme
import yaml
from prometheus_client.parser import text_string_to_metric_families

from running import free_port
from scrape_lab import REPORT, ScrapeLab

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from running import Programs

pytestmark = pytest.mark.peer


@pytest.fixture
async def lab() -> AsyncIterator[ScrapeLab]:
    lab = ScrapeLab()
    lab.clock.now_ns = time.time_ns()
    yield lab
    await lab.close()


async def names(url: str) -> set[str]:
    """Return the series of a page as prometheus_client reads it."""
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        text = await answer.text()
    found = set()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = {name: value for name, value in sorted(sample.labels.items()) if value}
            if "quantile" in labels:
                labels["quantile"] = str(float(labels["quantile"]))
            found.add(f"{sample.name}{labels}")
    return found


async def test_the_same_series_as_prometheus_client_reads(lab: ScrapeLab, programs: Programs, peers: Path) -> None:
    """All series that are there before and after the scrape, and none that was never there."""
    port = free_port()
    exporter = programs.start(
        "node-exporter", [peers / "prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{port}"]
    )
    url = f"http://127.0.0.1:{port}/metrics"
    exporter.wait_http(url)
    lab.address = f"127.0.0.1:{port}"
    scraper = await lab.scraper()
    before = await names(url)
    await scraper.scrape(time.time_ns())
    after = await names(url)

    assert scraper.status.error == ""
    batch = lab.sink.batches[-1]
    found = {}
    for i, value in zip(batch.series.tolist(), batch.value.tolist(), strict=True):
        labels = dict(batch.table.series(i).labels)
        assert labels.pop("instance") == lab.address
        assert labels.pop("job") == "test"
        found[f"{labels.pop('__name__')}{labels}"] = value
    scraped = {name for name in found if name.removesuffix("{}") not in REPORT}
    assert len(before) > 300
    assert before & after <= scraped <= before | after
    assert found["scrape_samples_scraped{}"] == len(scraped)
    assert found["scrape_series_added{}"] == len(scraped)
    assert found["up{}"] == 1.0
    types = {one.family: one.type.text for one in batch.metadata}
    assert types["node_load1"] == "gauge"
    assert types["node_cpu_seconds_total"] == "counter"

    await scraper.scrape(time.time_ns())
    again = {str(batch.table.series(i)) for i in lab.sink.batches[-1].series.tolist()}
    assert len(again) >= len(before & after)


async def test_https_and_mutual_tls(lab: ScrapeLab, programs: Programs, peers: Path, tmp_path: Path) -> None:
    """The exporter's own TLS and basic auth; a wrong authority or password fails with a reason."""
    authority = trustme.CA()
    other = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    other.cert_pem.write_to_path(str(tmp_path / "other.pem"))
    for name in ("server", "client"):
        certificate = authority.issue_cert("127.0.0.1" if name == "server" else "scraper")
        certificate.private_key_pem.write_to_path(str(tmp_path / f"{name}.key"))
        certificate.cert_chain_pems[0].write_to_path(str(tmp_path / f"{name}.pem"))
    web: dict[str, Any] = {
        "tls_server_config": {
            "cert_file": str(tmp_path / "server.pem"), "key_file": str(tmp_path / "server.key"),
            "client_ca_file": str(tmp_path / "ca.pem"), "client_auth_type": "RequireAndVerifyClientCert",
        }
    }  # fmt: skip
    (tmp_path / "web.yml").write_text(yaml.safe_dump(web))
    port = free_port()
    exporter = programs.start(
        "node-exporter",
        [peers / "prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{port}",
         f"--web.config.file={tmp_path / 'web.yml'}"],
    )  # fmt: skip
    exporter.wait_log("Listening on")
    lab.address = f"127.0.0.1:{port}"
    mutual = {"cert_file": str(tmp_path / "client.pem"), "key_file": str(tmp_path / "client.key")}
    good = {"ca_file": str(tmp_path / "ca.pem"), **mutual}

    async def error(tls: dict[str, Any]) -> str:
        scraper = await lab.scraper(scheme="https", tls_config=tls)
        await scraper.scrape(time.time_ns())
        return scraper.status.error

    assert await error(good) == ""
    assert "certificate" in (await error({**good, "ca_file": str(tmp_path / "other.pem")})).lower()
    assert await error({**mutual, "insecure_skip_verify": True}) == ""
    assert await error({**good, "server_name": "elsewhere"}) != ""
    assert await error({"ca_file": str(tmp_path / "ca.pem")}) != ""
