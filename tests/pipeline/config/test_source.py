"""YAML with places: types, repeats, bombs, merging."""

from __future__ import annotations

import pytest

from headrace.pipeline.config.faults import ConfigFaults
from headrace.pipeline.config.source import MAX_VALUES, merge, read


def fault(text: str) -> str:
    with pytest.raises(ConfigFaults) as caught:
        read(text, "f.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"), ("on", "on"), ("true", True), ("False", False), ("", None), ("~", None), ("null", None),
        ("10", 10), ("0x1F", 31), ("1.5", 1.5), ("1e3", 1000.0), (".inf", float("inf")), ("010", 10),
        ("2024-01-01", "2024-01-01"), ("1m30s", "1m30s"), ("'10'", "10"), ("12:30:45", "12:30:45"),
    ],
)  # fmt: skip
def test_scalars(text: str, value: object) -> None:
    """The core schema: no yes, no dates, no sexagesimal numbers."""
    found = read(f"key: {text}", "f.yaml").value["key"]
    assert found == value
    assert type(found) is type(value)


def test_places() -> None:
    """Every value knows where it stands."""
    document = read("a:\n  - b: 1\n    c: 2\n", "f.yaml")
    assert str(document.place(("a",))) == "f.yaml:1:1"
    assert str(document.place(("a", 0, "c"))) == "f.yaml:3:5"
    assert str(document.place(("a", 0, "c", "deeper"))) == "f.yaml:3:5"


def test_merge_keys_of_yaml() -> None:
    """``<<`` brings defaults; what stands beside it is stronger."""
    found = read("base: &b {x: 1, y: 2}\nuse:\n  <<: *b\n  y: 3\n", "f.yaml").value
    assert found["use"] == {"x": 1, "y": 3}


def test_repeated_keys() -> None:
    """The second one is named."""
    assert fault("a: 1\nb:\n  c: 1\n  c: 2\n") == "f.yaml:4:3: b::c: stands there twice"


def test_bombs() -> None:
    """Aliases of aliases end at a bound."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [" + ", ".join([f"*a{i - 1}"] * 10) + "]" for i in range(1, 9)]
    assert f"more than {MAX_VALUES} values" in fault("\n".join(lines))
    assert "more than" in fault("x" * (5 << 20))


def test_what_is_no_yaml() -> None:
    """The place comes from the parser."""
    assert fault("a: [1,\nb: }").startswith("f.yaml:2:")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: \0", "f.yaml: no YAML: unacceptable character #x0000: special characters are not allowed"),
        ("a: !!int x", "f.yaml:1:4: a: is no value of the kind int: 'x'"),
        ("a: !!float x", "f.yaml:1:4: a: is no value of the kind float: 'x'"),
        ("a: !!bool x", "f.yaml:1:4: a: is no value of the kind bool: 'x'"),
        ("a: !!timestamp x", "f.yaml:1:4: a: is no value of the kind timestamp: 'x'"),
        ("a: " + "1" * 5000, f"f.yaml:1:4: a: is no value of the kind int: '{'1' * 40}'"),
        ("!!binary aGk=: 1", "f.yaml:1:1: a key must be text"),
    ],
)
def test_values_that_cannot_be_read(text: str, why: str) -> None:
    """Characters, tags and numbers that the parser gives up on have their place, too."""
    assert fault(text) == why


def test_merge() -> None:
    """Mappings merge, everything else is replaced, places follow."""
    under = read("a: {x: 1, l: [1, 2]}\nb: 1\n", "one.yaml")
    over = read("a:\n  l: [3]\n  z: 2\n", "two.yaml")
    merged = merge(under, over)
    assert merged.value == {"a": {"x": 1, "l": [3], "z": 2}, "b": 1}
    assert str(merged.place(("a", "l", 0))) == "two.yaml:2:7"
    assert str(merged.place(("a", "x"))) == "one.yaml:1:5"
    assert str(merged.place(("b",))) == "one.yaml:2:1"
