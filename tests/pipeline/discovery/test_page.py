"""The examples of docs/discovery.md, and of discovery in docs/plugins.md, work."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from discovery_lab import DiscoveryLab
from headrace.pipeline.discovery import DiscoveryFactory
from headrace.receivers.prometheus.config import PrometheusConfig

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "discovery.md").read_text()
BLOCKS = dict(re.findall(r"```\w+\n# (rack[\w.]+)\n(.*?)```", (DOCS / "plugins.md").read_text(), re.DOTALL))


def test_the_configuration_loads() -> None:
    """As it stands."""
    [text] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    content = yaml.safe_load(text)
    PrometheusConfig.model_validate(content["receivers"]["prometheus"])


async def test_a_kind_of_your_own_finds_targets() -> None:
    """And counts where there are none."""
    names: dict[str, Any] = {"__name__": "rack_discovery"}
    exec(compile(BLOCKS["rack_discovery.py"], "rack_discovery.py", "exec", dont_inherit=True), names)
    factory = names["FACTORY"]
    assert isinstance(factory, DiscoveryFactory)
    lab = DiscoveryLab()
    async with lab.running(factory.create(lab.settings, factory.config.model_validate({"hosts": ["a", "b"]}))):
        await lab.until(lambda: lab.addresses() == ["a:9100", "b:9100"], "found")
    async with lab.running(factory.create(lab.settings, factory.config.model_validate({"hosts": []}))):
        await lab.until(lambda: lab.failures("empty") == 1, "counted")


def test_every_reason_is_explained() -> None:
    """Those that our discoveries count by."""
    sources = Path(__file__).parents[3].joinpath("headrace", "pipeline", "discovery").rglob("*.py")
    text = "\n".join(path.read_text() for path in sources)
    reasons = set(re.findall(r'(?:failed|DiscoveryFailed|ApiFailed|super\(\).__init__)\(\s*"(\w+)"', text))
    reasons |= set(re.findall(r'HTTPStatus\.\w+: "(\w+)"', text)) - {"expired"}
    assert {"file", "lookup", "object", "timeout", "forbidden"} <= reasons
    assert [reason for reason in sorted(reasons - {"expired"}) if f"`{reason}`" not in PAGE] == []
