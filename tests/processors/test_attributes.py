"""The processors that edit attributes: attributes, resource, groupbyattrs, resourcedetection, redaction."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, ClassVar

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from headrace.pipeline.chain import SeriesChain, Stage
from headrace.pipeline.identity import Form, Kind, MetricType, Resource, Scope, Series
from headrace.pipeline.series_view import SeriesView
from headrace.processors import attributes, groupbyattrs, redaction, resource, resourcedetection
from headrace.testing.batches import make_batch, make_settings, rows
from headrace.testing.processors import ProcessorContract

MODULES = {
    module.FACTORY.name: module.FACTORY for module in (attributes, groupbyattrs, redaction, resource, resourcedetection)
}
RESOURCE = Resource((("host.name", "h1"), ("service.name", "shop")))


def point(name: str = "m", resource: Resource | None = RESOURCE, **labels: str) -> Series:
    """Make a series; an attribute ``n`` is an int."""
    types = (("n", "int"),) if "n" in labels else ()
    made = Series.of({"__name__": name, **labels}).labels
    return Series(made, Form.OTLP, Kind(MetricType.GAUGE), "", resource, Scope("lib", "1.0"), types)


def make(name: str, text: str) -> Any:
    factory = MODULES[name]
    return factory.create(make_settings(name), factory.config(**yaml.safe_load(text)))


def view(name: str, text: str, series: Series) -> SeriesView:
    admitted = make(name, text).admit(series)
    assert admitted is not None
    return SeriesView.of(admitted)


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("{key: env, value: prod, action: insert}", {"a": "x1", "n": 7, "env": "prod"}),
        ("{key: a, value: y, action: insert}", {"a": "x1", "n": 7}),
        ("{key: a, value: y, action: update}", {"a": "y", "n": 7}),
        ("{key: env, value: y, action: update}", {"a": "x1", "n": 7}),
        ("{key: a, value: 5, action: upsert}", {"a": 5, "n": 7}),
        ("{key: b, from_attribute: n, action: upsert}", {"a": "x1", "n": 7, "b": 7}),
        ("{key: b, from_attribute: none, action: upsert}", {"a": "x1", "n": 7}),
        ("{key: b, from_attribute: none, default_value: d, action: insert}", {"a": "x1", "n": 7, "b": "d"}),
        ("{key: a, action: delete}", {"n": 7}),
        ("{pattern: '^[an]$', action: delete}", {}),
        ("{key: a, action: hash}", {"a": hashlib.sha256(b"x1").hexdigest(), "n": 7}),
        ("{key: n, action: hash}", {"a": "x1", "n": hashlib.sha256(b"7").hexdigest()}),
        (
            "{key: a, pattern: '(?P<letter>[a-z])(?P<digit>[0-9])', action: extract}",
            {"a": "x1", "n": 7, "letter": "x", "digit": "1"},
        ),
        ("{key: n, converted_type: string, action: convert}", {"a": "x1", "n": "7"}),
        ("{key: n, converted_type: double, action: convert}", {"a": "x1", "n": 7.0}),
        ("{key: a, converted_type: int, action: convert}", {"a": "x1", "n": 7}),
    ],
)
def test_actions(action: str, expected: dict[str, Any]) -> None:
    """Each does to the attributes of a point, and of a resource, what the Collector's does."""
    series = point(a="x1", n="7")
    found = view("attributes", f"actions: [{action}]", series).attributes
    assert found == expected
    assert [type(found[key]) for key in expected] == [type(value) for value in expected.values()]
    of_resource = point(resource=Resource((("a", "x1"), ("n", 7))))
    of_resource_found = view("resource", f"attributes: [{action}]", of_resource).resource
    assert sorted(of_resource_found.items()) == sorted(expected.items())
    assert [type(of_resource_found[key]) for key in expected] == [type(value) for value in expected.values()]


@pytest.mark.parametrize(
    ("match", "changed"),
    [
        ("include: {match_type: strict, metric_names: [m]}", True),
        ("include: {match_type: strict, metric_names: [other]}", False),
        ("include: {match_type: regexp, metric_names: ['^m']}", True),
        ("exclude: {match_type: strict, metric_names: [m]}", False),
        ("include: {match_type: strict, attributes: [{key: n, value: 7}]}", True),
        ("include: {match_type: strict, attributes: [{key: n}, {key: none}]}", False),
        ("include: {match_type: regexp, resources: [{key: host.name, value: 'h[0-9]'}]}", True),
        ("include: {match_type: strict, libraries: [{name: lib, version: '2.0'}]}", False),
        ("include: {match_type: strict, libraries: [{name: lib}]}", True),
    ],
)
def test_include_and_exclude(match: str, changed: bool) -> None:
    """Series that do not fit are the same object as before."""
    series = point(n="7")
    admitted = make("attributes", f"{{actions: [{{key: e, value: v, action: insert}}], {match}}}").admit(series)
    assert (admitted is not series) is changed


def test_series_that_become_one_keep_their_points() -> None:
    """No point is lost by it: both are points of one series, in the sender's order."""
    settings = make_settings("attributes")
    config = attributes.AttributesConfig(**yaml.safe_load("actions: [{key: pod, action: delete}]"))
    chain = SeriesChain([Stage(attributes.AttributesProcessor(settings, config), settings.drops)])
    batch = make_batch([point(pod="a"), point(pod="b"), point(pod="a")], value=[1.0, 2.0, 3.0])
    chain.decide(batch, chain.undecided(batch))
    out = chain.process(batch)
    assert [value for _, _, value in rows(out)] == [1.0, 2.0, 3.0]
    assert len(np.unique(out.series)) == 1
    assert settings.drops.by_reason() == {}


def test_scraped_series_have_job_and_instance_as_resource() -> None:
    """They read as service.name and service.instance.id, and are written back to the labels."""
    series = Series.of(__name__="up", job="node", instance="h:1")
    text = "attributes: [{key: service.name, value: web, action: update}, {key: env, value: prod, action: insert}]"
    admitted = make("resource", text).admit(series)
    assert admitted.labels == Series.of(__name__="up", job="web", instance="h:1").labels
    assert dict(admitted.resource.attributes) == {"env": "prod", "service.instance.id": "h:1", "service.name": "web"}
    assert make("resource", "attributes: [{key: none, action: delete}]").admit(series) is series
    again = make("resource", "attributes: [{key: env, action: delete}]").admit(admitted)
    assert "env" not in dict(again.resource.attributes)


def test_groupbyattrs() -> None:
    """The attributes are gone from the point and are the resource's; without keys nothing changes."""
    found = view("groupbyattrs", "keys: [host.name, zone]", point().set({"host.name": "h2", "a": "b"}))
    assert found.attributes == {"a": "b"}
    assert found.resource == {"host.name": "h2", "service.name": "shop"}
    series = point(a="b")
    assert make("groupbyattrs", "{}").admit(series) is series


def test_resourcedetection() -> None:
    """The first detector has its way; override says who wins against the resource."""
    environment = {"OTEL_RESOURCE_ATTRIBUTES": "host.name=from%20env, team = a ,broken"}
    for override, host in ((True, "from env"), (False, "h1")):
        config = resourcedetection.ResourceDetectionConfig(detectors=("env", "system"), override=override)
        processor = resourcedetection.ResourceDetectionProcessor(
            make_settings("resourcedetection"), config, environment
        )
        admitted = processor.admit(point())
        assert admitted is not None
        found = SeriesView.of(admitted).resource
        assert found == {"host.name": host, "service.name": "shop", "team": "a", "os.type": "linux"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", {}),
        ("{allowed_keys: [a]}", {"a": "x1"}),
        ("{allow_all_keys: true}", {"a": "x1", "n": 7, "card": "no 4111 5111"}),
        ("{allow_all_keys: true, blocked_values: ['4[0-9]+', '5[0-9]+']}", {"a": "x1", "n": 7, "card": "no **** ****"}),
        (
            "{allow_all_keys: true, blocked_values: ['4[0-9]+'], allowed_values: ['^no']}",
            {"a": "x1", "n": 7, "card": "no 4111 5111"},
        ),
        ("{allow_all_keys: true, blocked_key_patterns: ['^c']}", {"a": "x1", "n": 7, "card": "****"}),
        ("{allow_all_keys: true, blocked_values: ['7']}", {"a": "x1", "n": 7, "card": "no 4111 5111"}),
        (
            "{allow_all_keys: true, blocked_values: ['7'], redact_all_types: true}",
            {"a": "x1", "n": "****", "card": "no 4111 5111"},
        ),
        ("{ignored_keys: [a], ignored_key_patterns: ['^n']}", {"a": "x1", "n": 7}),
        (
            "{allowed_keys: [card], blocked_values: ['no .*'], hash_function: md5}",
            {"card": hashlib.md5(b"no 4111 5111").hexdigest()},
        ),
        (
            "{allowed_keys: [card], blocked_values: ['no .*'], hash_function: sha3}",
            {"card": hashlib.sha3_256(b"no 4111 5111").hexdigest()},
        ),
        (
            "{allowed_keys: [card], blocked_values: ['no .*'], hash_function: hmac-sha256, hmac_key: k}",
            {"card": hmac.new(b"k", b"no 4111 5111", "sha256").hexdigest()},
        ),
        (
            "{allowed_keys: [card], blocked_values: ['4'], summary: info}",
            {"card": "no ****111 5111", "redaction.redacted.count": 2, "redaction.masked.count": 1},
        ),
        (
            "{allowed_keys: [card], summary: debug}",
            {"card": "no 4111 5111", "redaction.redacted.keys": "a,n", "redaction.redacted.count": 2},
        ),
    ],
)
def test_redaction(text: str, expected: dict[str, Any]) -> None:
    """What is not allowed is gone, what is blocked is masked."""
    series = point(resource=None, a="x1", n="7", card="no 4111 5111")
    assert view("redaction", text, series).attributes == expected


def test_redaction_of_resources_and_buckets() -> None:
    """Resources are redacted too; labels that tell buckets apart stay."""
    assert view("redaction", "{}", point()).resource == {}
    bucket = Series.of(__name__="h_bucket", le="1.0", pod="x")
    assert make("redaction", "{}").admit(bucket) == Series.of(__name__="h_bucket", le="1.0")


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("attributes", "{actions: []}", "actions"),
        ("attributes", "{actions: [{key: a, action: insert}]}", "insert needs value, from_attribute or default_value"),
        (
            "attributes",
            "{actions: [{key: a, action: insert, from_context: metadata.x}]}",
            "not supported: from_context",
        ),
        ("attributes", "{actions: [{key: a, action: extract, pattern: '(x)'}]}", "groups all have names"),
        ("attributes", "{actions: [{key: a, action: delete, value: x}]}", "delete does not take value"),
        ("attributes", "{actions: [{action: delete}]}", "key is needed"),
        ("attributes", "{actions: [{key: a, action: convert}]}", "convert needs converted_type"),
        (
            "attributes",
            "{actions: [{key: a, action: delete}], include: {match_type: strict, services: [a]}}",
            "not supported: services",
        ),
        (
            "attributes",
            "{actions: [{key: a, action: delete}], include: {match_type: regexp, metric_names: ['(']}}",
            "missing closing",
        ),
        ("resourcedetection", "{detectors: [env, ec2]}", "not supported: ec2"),
        ("resourcedetection", "{gcp: {resource_attributes: {a: {enabled: true}}}}", "not supported: gcp"),
        ("resourcedetection", "{system: {hostname_sources: [dns]}}", "dns is not supported"),
        ("resourcedetection", "{system: {resource_attributes: {host.ip: {enabled: true}}}}", "not supported: host.ip"),
        ("redaction", "{hash_function: hmac-sha512}", "needs hmac_key"),
        ("redaction", "{url_sanitizer: {enabled: true}}", "not supported: url_sanitizer"),
        ("redaction", "{blocked_values: ['[']}", "missing closing"),
    ],
)
def test_refusals(name: str, text: str, why: str) -> None:
    """What is wrong or not supported is refused by name."""
    with pytest.raises(ValidationError, match=why):
        make(name, text)


class TestAttributes(ProcessorContract):
    """``attributes``."""

    factory = attributes.FACTORY
    config: ClassVar[dict[str, Any]] = {"actions": [{"key": "team", "value": "x", "action": "insert"}]}


class TestResource(ProcessorContract):
    """``resource``."""

    factory = resource.FACTORY
    config: ClassVar[dict[str, Any]] = {"attributes": [{"key": "team", "value": "x", "action": "insert"}]}


class TestGroupByAttrs(ProcessorContract):
    """``groupbyattrs``."""

    factory = groupbyattrs.FACTORY
    config: ClassVar[dict[str, Any]] = {"keys": ["host"]}


class TestResourceDetection(ProcessorContract):
    """``resourcedetection``."""

    factory = resourcedetection.FACTORY
    config: ClassVar[dict[str, Any]] = {"detectors": ["system"]}


class TestRedaction(ProcessorContract):
    """``redaction``."""

    factory = redaction.FACTORY
