"""Relabelling: each action, validation, and the published table of cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from headrace.pipeline.relabel import RelabelConfig, Relabeler

CASES = Path(__file__).parents[3] / "shared" / "conformance" / "relabel" / "relabel_cases.json"


def apply(labels: dict[str, str], *rules: dict[str, Any]) -> dict[str, str] | None:
    found = Relabeler([RelabelConfig(**rule) for rule in rules]).apply(labels)
    return None if found is None else dict(found)


@pytest.mark.conformance("relabel")
@pytest.mark.skipif(not CASES.is_file(), reason="no conformance cases here")
@pytest.mark.parametrize("case", json.loads(CASES.read_text()) if CASES.is_file() else [])
def test_published_case(case: dict[str, Any]) -> None:
    """The labels after the rules, or none."""
    assert apply(case["input"], *case["relabel_configs"]) == (None if case["drop"] else case["output"])


LABELS = {"__name__": "m", "a": "x1", "b": "Y", "meta_zone": "z"}


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ({"source_labels": ["a"], "regex": "x(.)", "target_label": "n", "replacement": "v$1"}, {"n": "v1"}),
        ({"source_labels": ["a"], "regex": "no", "target_label": "n"}, {}),
        ({"source_labels": ["a"], "regex": "x.", "target_label": "a", "replacement": ""}, {"a": None}),
        ({"target_label": "n", "replacement": "constant"}, {"n": "constant"}),
        ({"source_labels": ["a"], "regex": "(x)1", "target_label": "t_$1", "replacement": "v"}, {"t_x": "v"}),
        ({"source_labels": ["a", "b"], "separator": "-", "target_label": "n"}, {"n": "x1-Y"}),
        ({"source_labels": ["b"], "target_label": "b", "action": "lowercase"}, {"b": "y"}),
        ({"source_labels": ["a"], "target_label": "n", "action": "UPPERCASE"}, {"n": "X1"}),
        ({"regex": "meta_(.+)", "action": "labelmap"}, {"zone": "z"}),
        ({"regex": "meta_.+", "action": "labeldrop"}, {"meta_zone": None}),
        ({"regex": "__name__|a", "action": "labelkeep"}, {"b": None, "meta_zone": None}),
        ({"source_labels": ["a"], "target_label": "n", "modulus": 8, "action": "hashmod"}, {"n": "5"}),
        ({"source_labels": ["a"], "regex": "x.", "action": "keep"}, {}),
        ({"source_labels": ["a"], "regex": "x", "action": "drop"}, {}),
        ({"source_labels": ["a"], "target_label": "b", "action": "dropequal"}, {}),
    ],
)
def test_actions(rule: dict[str, Any], changes: dict[str, str | None]) -> None:
    """What is not named stays."""
    expected = {name: value for name, value in {**LABELS, **changes}.items() if value is not None}
    if rule.get("action") == "hashmod":
        import hashlib

        expected["n"] = str(int(hashlib.md5(b"x1").hexdigest(), 16) % 2**64 % 8)
    assert apply(LABELS, rule) == expected


@pytest.mark.parametrize(
    "rule",
    [
        {"source_labels": ["a"], "regex": "x", "action": "keep"},
        {"source_labels": ["a"], "regex": "x.", "action": "drop"},
        {"source_labels": ["a"], "target_label": "b", "action": "keepequal"},
        {"source_labels": ["none"], "target_label": "other", "action": "dropequal"},
    ],
)
def test_drops(rule: dict[str, Any]) -> None:
    """The set is dropped."""
    assert apply(LABELS, rule) is None


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ({"action": "hashmod", "target_label": "x"}, "requires non-zero modulus"),
        ({"action": "replace"}, "replace action requires 'target_label' value"),
        ({"action": "labeldrop", "regex": "a", "target_label": "b"}, "labeldrop action requires only 'regex'"),
        (
            {"action": "keepequal", "source_labels": ["a"], "target_label": "b", "regex": "c"},
            "keepequal action requires only 'source_labels' and 'target_label'",
        ),
        ({"action": "explode"}, "action"),
        ({"target_label": "a", "regex": "("}, "missing closing )"),
        ({"target_label": "a", "sourcelabels": ["b"]}, "sourcelabels"),
    ],
)
def test_validation(rule: dict[str, Any], why: str) -> None:
    """A rule that cannot mean anything is refused."""
    with pytest.raises(ValidationError, match="(?s).*" + why.replace("(", "\\(").replace(")", "\\)")):
        RelabelConfig(**rule)


def test_more_values_than_are_remembered() -> None:
    """Memory of results is bounded; results stay right."""
    relabeler = Relabeler([RelabelConfig(source_labels=("a",), target_label="b", replacement="<$1>")])
    for i in range(25_000):
        assert dict(relabeler.apply({"a": str(i)}) or ())["b"] == f"<{i}>"
