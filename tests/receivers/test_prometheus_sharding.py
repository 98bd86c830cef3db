"""Targets shared out over several daemons: each is scraped, by as many as are asked for, and few move."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from pydantic import ValidationError

from headrace.pipeline.relabel import Relabeler
from headrace.pipeline.targets import TargetsRegistry
from headrace.receivers.prometheus.config import PrometheusConfig
from headrace.receivers.prometheus.job import jobs_of
from headrace.receivers.prometheus.population import Populator
from headrace.receivers.prometheus.receiver import PrometheusReceiver
from headrace.receivers.prometheus.sharding import ShardingConfig, owners
from scrape_lab import ScrapeLab

KEYS = [f"http://node-{i}:9100/metrics" for i in range(3000)]
MEMBERS = ["a", "b", "c"]


def test_every_target_has_its_owners_and_each_member_about_as_many() -> None:
    """Three members with two copies: two thirds of all targets each."""
    counts = Counter(owner for key in KEYS for owner in owners(key, MEMBERS, 2))
    assert sum(counts.values()) == 2 * len(KEYS)
    assert all(1900 < count < 2100 for count in counts.values())


def test_the_order_of_members_does_not_matter() -> None:
    """Daemons agree however their lists are sorted."""
    assert [owners(key, MEMBERS) for key in KEYS] == [owners(key, MEMBERS[::-1]) for key in KEYS]


def test_a_new_member_gets_its_share_and_nothing_else_moves() -> None:
    """Whatever has another owner than before has the new one."""
    before, after = ([owners(key, members)[0] for key in KEYS] for members in (MEMBERS, [*MEMBERS, "d"]))
    moved = [new for old, new in zip(before, after, strict=True) if old != new]
    assert set(moved) == {"d"}
    assert 600 < len(moved) < 900


def test_the_owner_of_a_target_is_what_it_was() -> None:
    """Daemons of two versions agree as well: these owners are part of the format."""
    assert [owners(key, MEMBERS)[0] for key in KEYS[:12]] == list("cbbaaaabacac")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"members": ["a", "b"], "member": "c"}, "member: 'c' is not among the members a, b"),
        ({"members": ["a", "a"], "member": "a"}, "a name occurs twice"),
        ({"members": [], "member": "a"}, "at least 1 item"),
        ({"members": ["a"], "member": "a", "copies": 2}, "there are only 1 members"),
        ({"members": ["a"], "member": "a", "copies": 0}, "greater than or equal to 1"),
        ({"members": ["a"]}, "member"),
    ],
)
def test_settings_that_are_refused(options: dict[str, Any], why: str) -> None:
    """The message says what does not fit."""
    with pytest.raises(ValidationError) as caught:
        ShardingConfig.model_validate(options)
    assert why in str(caught.value)


def _population(**options: Any) -> tuple[set[str], int]:
    """Return the URLs of one daemon's targets, and how many targets it drops."""
    sharding = options.pop("sharding", None)
    job = {"job_name": "j", "static_configs": [{"targets": [f"node-{i}:9100" for i in range(90)]}], **options}
    config = PrometheusConfig.model_validate({"config": {"scrape_configs": [job]}, "sharding": sharding})
    [one] = jobs_of(config)
    groups = [group.group("") for group in one.config.static_configs]
    found = Populator(one, Relabeler(one.config.relabel_configs), config.sharding).populate(groups)
    return {target.url for target in found.targets}, len(found.dropped)


def test_daemons_scrape_what_is_theirs() -> None:
    """Together they have all targets, each once; the others' are dropped."""
    parts = [_population(sharding={"members": MEMBERS, "member": one}) for one in MEMBERS]
    assert sum(len(urls) for urls, _ in parts) == 90
    assert len(set().union(*(urls for urls, _ in parts))) == 90
    assert all(len(urls) + dropped == 90 for urls, dropped in parts)


def test_hashmod_does_it_by_rules() -> None:
    """Prometheus' way: a number by address, and the daemons keep their own."""
    parts = []
    for number in range(3):
        rules = [
            {"source_labels": ["__address__"], "modulus": 3, "target_label": "__tmp_hash", "action": "hashmod"},
            {"source_labels": ["__tmp_hash"], "regex": str(number), "action": "keep"},
        ]
        parts.append(_population(relabel_configs=rules)[0])
    assert sum(map(len, parts)) == len(set().union(*parts)) == 90
    assert all(20 <= len(part) <= 40 for part in parts)


async def test_the_receiver_scrapes_its_own_targets_only() -> None:
    """A daemon that is not the target's owner counts it as dropped."""
    lab = ScrapeLab()
    await lab.start()
    [owner] = owners(f"http://{lab.address}/metrics", MEMBERS)
    job = {"job_name": "j", "scrape_interval": "1d", "static_configs": [{"targets": [lab.address]}]}
    try:
        for member in MEMBERS:
            config = {"config": {"scrape_configs": [job]}, "sharding": {"members": MEMBERS, "member": member}}
            receiver = PrometheusReceiver(lab.settings, PrometheusConfig.model_validate(config), lab.sink)
            await receiver.start(lab.host)
            registry = lab.host.service("targets", TargetsRegistry)
            found = registry.targets()
            assert len(found.active) == (member == owner)
            assert found.dropped_counts == {"j": int(member != owner)}
            await asyncio.wait_for(receiver.shutdown(), 20)
    finally:
        await lab.close()
